"""JSON Feed 1.0 and 1.1 (jsonfeed.org), read leniently: items that follow the rules are kept, the others become a sentence each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from .encoding import clean_line, decode
from .entry import Entry, ParsedFeed, entry_text, joined, web_url
from .errors import NotAFeed

_VERSION = re.compile(r"jsonfeed\.org/version/([0-9.]{1,8})")
_BARE_VERSION = re.compile(r"(1(?:\.[01])?)")


def looks_like_json(body: bytes, content_type: str) -> bool:
    start = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith(b"{") or ("json" in content_type.lower() and not start.startswith(b"<"))


def parse_json_feed(body: bytes, location: str, *, base_url: str) -> ParsedFeed:
    decoded = decode(body)
    if decoded is None:
        raise NotAFeed(location, "this is binary data, not a JSON Feed")
    try:
        feed = json.loads(decoded.text)
    except (ValueError, RecursionError) as err:  # RecursionError: brackets nested by the thousand
        raise NotAFeed(location, f"this is no valid JSON ({str(err)[:120]})") from err
    version = _version(feed)
    if version is None:
        raise NotAFeed(location, "this is JSON, but not a JSON Feed (its version does not say so)")
    items = feed.get("items")
    if not isinstance(items, list):
        raise NotAFeed(location, "this JSON Feed has no list of items")
    entries: list[Entry] = []
    problems = [f"The feed: {decoded.problem}."] if decoded.problem else []
    for number, item in enumerate(items, start=1):
        if isinstance(item, dict):
            entries.append(_entry(item, base_url))
        else:
            problems.append(f"Item {number} is not an object and was skipped.")
    return ParsedFeed(_line(feed.get("title")), f"json{version}", tuple(entries), tuple(problems))


def _version(feed: Any) -> str | None:
    """The version, of a feed that gives it as an address, as the rules want it, or as a bare number beside a title, as some do."""
    said = str(feed.get("version", "")) if isinstance(feed, dict) else ""
    found = _VERSION.search(said) or (_BARE_VERSION.fullmatch(said) if "title" in feed else None)
    return found.group(1) if found else None


def _entry(item: dict[str, Any], base_url: str) -> Entry:
    link = next(_strings(item, "url", "external_url"), None)
    texts = (entry_text(content, is_html=is_html) for content, is_html in _contents(item))
    published_at, changed_at = _date(item.get("date_published")), _date(item.get("date_modified"))
    return Entry(
        external_id=_id(item.get("id")),
        url=web_url(joined(base_url, link)) if link else None,
        title=_line(item.get("title")),
        text=next((text for text in texts if text), ""),
        published_at=published_at or changed_at,
        changed_at=changed_at,
    )


def _contents(item: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """The item's contents, best first: HTML keeps its paragraphs, and a summary is the last resort."""
    yield from ((text, True) for text in _strings(item, "content_html"))
    yield from ((text, False) for text in _strings(item, "content_text", "summary"))


def _strings(item: dict[str, Any], *keys: str) -> Iterator[str]:
    yield from (value for key in keys if isinstance(value := item.get(key), str) and value.strip())


def _id(value: Any) -> str:
    """Version 1 asks readers to take a number for its digits."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    return clean_line(str(value), limit=2000)


def _line(value: Any) -> str | None:
    return (clean_line(value) or None) if isinstance(value, str) else None


def _date(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    for read in (datetime.fromisoformat, parsedate_to_datetime):  # the second is RSS's form, which some writers keep
        try:
            at = read(value.strip())
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    return None
