"""A sitemap as a source (sitemaps.org): its pages as documents, fetched politely, a bounded number a poll, again when their date changes."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .article import AGAIN_S, ARTICLES_A_POLL, fetch_article
from .base import Document, FetchSettings, Poll
from .entry import joined, web_url
from .errors import Busy, NotAFeed, SourceError, TooLarge
from .http import Fetched, fetch, shown_address
from .xmltree import local_name, parse_xml

#: Addresses that one sitemap may hold (the protocol's own limit), and sitemaps that an index may lead to.
PAGES_MAX = 50_000
MAPS_MAX = 100
_LOOKS = re.compile(rb"<(?:[A-Za-z]+:)?(?:urlset|sitemapindex)[\s>]")
_NAMED = re.compile(r"/[^/?#]*sitemap[^/?#]*\.xml(?:\.gz)?(?:[?#].*)?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Listed:
    """A page, or another sitemap, as a sitemap lists it. `changed` is the lastmod as it stands there; empty when there is none."""

    url: str
    changed: str


def named_like_sitemap(location: str) -> bool:
    return _NAMED.search(location) is not None


class SitemapSource:
    """The pages that a site lists for machines."""

    kind = "sitemap"

    def __init__(self, location: str, settings: FetchSettings | None = None) -> None:
        self.location = location
        self._settings = settings or FetchSettings()

    def poll(self, cursor: dict[str, Any]) -> Poll:
        problems: list[str] = []
        got = fetch(self.location, self._settings)
        pages = self._pages(got, problems)
        known: dict[str, str] = cursor.get("pages") or {}
        wanted = [page for page in pages if known.get(page.url) != page.changed or page.url not in known]
        listed = {page.url for page in pages}
        seen = {url: changed for url, changed in known.items() if url in listed}
        documents: list[Document] = []
        left = len(wanted)
        for page in wanted[:ARTICLES_A_POLL]:
            try:
                documents.append(_document(page, self._settings))
            except Busy:
                break
            except SourceError as err:
                problems.append(f"{shown_address(page.url)}: {err.reason}.")
            seen[page.url] = page.changed
            left -= 1
        return Poll(
            tuple(documents),
            {"pages": seen},
            AGAIN_S if left else got.next_after_s,
            problems=tuple(problems),
            unchanged=not documents and seen == known,
            moved_to=got.moved_to,
            unfinished=left > 0,
        )

    def _pages(self, got: Fetched, problems: list[str]) -> list[Listed]:
        """The pages of a sitemap, or of the sitemaps that an index names, one level deep, as the protocol has it."""
        is_index, listed = read_sitemap(_unpacked(got.body, self._settings, self.location), self.location, base_url=got.url)
        if not is_index:
            return listed[:PAGES_MAX]
        pages: list[Listed] = []
        for one in listed[:MAPS_MAX]:
            try:
                inner = fetch(one.url, self._settings)
                pages += read_sitemap(_unpacked(inner.body, self._settings, one.url), one.url, base_url=inner.url)[1]
            except SourceError as err:
                problems.append(f"The sitemap {shown_address(one.url)} could not be read: {err.reason}.")
        return pages[:PAGES_MAX]


def looks_like_sitemap(body: bytes) -> bool:
    return _LOOKS.search(body[:4096]) is not None


def read_sitemap(body: bytes, location: str, *, base_url: str) -> tuple[bool, list[Listed]]:
    """Whether this is an index of sitemaps, and what it lists; NotAFeed when it is neither."""
    root = parse_xml(body)
    name = local_name(root) if root is not None else ""
    if name not in ("urlset", "sitemapindex"):
        hint = "Give the address of the sitemap itself; robots.txt often names it."
        raise NotAFeed(shown_address(location), "this is no sitemap", hint=hint)
    found: dict[str, Listed] = {}
    for entry in root:
        parts = {local_name(child): (child.text or "").strip() for child in entry}
        if url := web_url(joined(base_url, parts.get("loc", ""))):
            found[url] = Listed(url, parts.get("lastmod", "")[:40])
    return name == "sitemapindex", list(found.values())


def _unpacked(body: bytes, settings: FetchSettings, location: str) -> bytes:
    """A .gz sitemap is a packed file, not a packed answer: unpacked here, with the same cap."""
    if not body.startswith(b"\x1f\x8b"):
        return body
    try:
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        data = unpacker.decompress(body, settings.max_bytes + 1)
    except (zlib.error, gzip.BadGzipFile) as err:
        raise NotAFeed(shown_address(location), "this packed sitemap is damaged") from err
    if len(data) > settings.max_bytes:
        raise TooLarge(shown_address(location), f"unpacked it is larger than the cap of {settings.max_bytes:,} bytes")
    return data


def _document(page: Listed, settings: FetchSettings) -> Document:
    article = fetch_article(page.url, settings)
    origin = {
        "fetched_from": article.got.url,
        "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": article.got.status,
        "content_type": article.got.content_type[:200],
        "format": "sitemap",
        "body_sha256": hashlib.sha256(article.got.body).hexdigest(),
        "note": article.page.problem,
    }
    return Document(page.url, page.url, article.page.title, article.page.text, _date(page.changed), origin)


def _date(value: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
