"""One entry of a feed, whatever its format, and the rules that every format shares: identity, text, order, what counts as news.

The formats' readers fill `Entry` and leave judgement to the functions here.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from .encoding import clean_line, clean_text
from .page import html_to_text, without_title

#: Entries remembered beyond those that the feed shows now, so that one which drops out and returns is not news.
REMEMBERED = 2000
#: An address that joining gives back as it is: host and path are there, no part of it is empty, and none is one that only some schemes have.
_WHOLE = re.compile(r"https?://[a-zA-Z0-9.:-]+/[^\s?#;]*(?:\?[^\s#;]+)?")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a feed says about one entry. `external_id` is empty when the feed gives none."""

    external_id: str
    url: str | None
    title: str | None
    text: str
    published_at: datetime | None
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ParsedFeed:
    title: str | None
    format: str
    entries: tuple[Entry, ...]
    problems: tuple[str, ...] = ()


def entry_text(content: str, *, is_html: bool) -> str:
    """Plain text of an entry's content. A problem with its encoding cannot arise: it comes out of a decoded feed."""
    if is_html and ("<" in content or "&" in content):
        return html_to_text(content).text
    # HTML without a tag is text whose line breaks mean nothing; most titles are, and no parser need be asked.
    return clean_text(" ".join(content.split()) if is_html else content)


def web_url(link: Any) -> str | None:
    """The link if it is one that a person can follow in a browser; feeds also carry javascript:, urn: and mailto: here."""
    text = clean_line(str(link), limit=2000) if link else ""
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return text if parts.scheme.lower() in ("http", "https") and parts.netloc else None


def joined(base_url: str, link: str) -> str:
    """The link made absolute; empty when it is empty or no address."""
    if _WHOLE.fullmatch(link):
        return link  # urljoin would take it apart and put it together again
    try:
        return urljoin(base_url, link) if link else ""
    except ValueError:
        return ""


def settle(entries: Iterable[Entry]) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """Entries with an identity and a text, oldest first when all are dated; and a sentence for each that has none."""
    kept: list[Entry] = []
    problems: list[str] = []
    for number, entry in enumerate(entries, start=1):
        text = without_title(entry.text, entry.title) or entry.title or ""
        if not text:
            problems.append(f"Entry {number} ({entry.url or entry.external_id or 'without id'}) has no text.")
            continue
        kept.append(replace(entry, text=text, external_id=_identity(entry, text)))
    kept = _told_apart(kept)
    return _oldest_first(kept), tuple(problems)


def news(entries: Iterable[Entry], seen: Mapping[str, Any]) -> tuple[tuple[Entry, ...], dict[str, list[str]]]:
    """The entries that are new or changed against `seen`, and what to remember: id -> digests of its present contents."""
    fresh: list[Entry] = []
    present: dict[str, list[str]] = {}
    for entry in entries:
        key, digest = _short(entry.external_id), _short(entry.title or "", entry.text)
        if digest in present.get(key, ()):
            continue  # the same entry twice in one feed
        if digest not in seen.get(key, ()):
            fresh.append(entry)
        present.setdefault(key, []).append(digest)
    earlier = [(key, digests) for key, digests in seen.items() if key not in present]
    return tuple(fresh), dict(earlier[-REMEMBERED:]) | present


def without(entry: Entry, seen: dict[str, list[str]]) -> dict[str, list[str]]:
    """`seen` as if this entry's present text had never been: it will be news once more."""
    key, digest = _short(entry.external_id), _short(entry.title or "", entry.text)
    left = [one for one in seen.get(key, []) if one != digest]
    return {**{one: digests for one, digests in seen.items() if one != key}, **({key: left} if left else {})}


def _identity(entry: Entry, text: str) -> str:
    given = entry.external_id.strip() or entry.url or ""
    if not given:
        return "sha256:" + hashlib.sha256(f"{entry.title or ''}\n{text}".encode()).hexdigest()[:32]
    return given if len(given) <= 500 else "sha256:" + hashlib.sha256(given.encode()).hexdigest()


def _told_apart(entries: list[Entry]) -> list[Entry]:
    """Entries that share an id but lead to different pages are different entries of a careless feed, not revisions of one."""
    pages = Counter(one_id for one_id, _ in {(entry.external_id, entry.url or "") for entry in entries})
    return [
        replace(entry, external_id=f"{entry.external_id}#{_short(entry.url or '')}") if pages[entry.external_id] > 1 else entry
        for entry in entries
    ]


def _oldest_first(entries: list[Entry]) -> tuple[Entry, ...]:
    """By date when all have one, so that a later version of an entry comes after the earlier; otherwise in the feed's own order."""
    dated = [(at, entry) for entry in reversed(entries) if (at := _when(entry)) is not None]  # reversed: feeds run newest first
    return tuple(entry for _, entry in sorted(dated, key=lambda pair: pair[0])) if len(dated) == len(entries) else tuple(entries)


def _when(entry: Entry) -> datetime | None:
    return entry.changed_at or entry.published_at


def _short(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
