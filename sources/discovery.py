"""Feeds that a web page announces, so that a person who gave the page's address can be told the feed's."""

from __future__ import annotations

import re

from .entry import joined, web_url
from .page import parse_html

_FEED_TYPES = ("application/rss+xml", "application/atom+xml", "application/rdf+xml", "application/feed+json", "application/json")
_SEARCHED_BYTES = 512 * 1024


def looks_like_html(body: bytes) -> bool:
    return re.search(rb"<\s*(?:!doctype\s+html|html|head|body)[\s>]", body[:4096], flags=re.IGNORECASE) is not None


def discovered_feeds(body: bytes, base_url: str, *, limit: int = 5) -> tuple[str, ...]:
    """Addresses from <link rel="alternate">, in the page's order."""
    tree = parse_html(body[:_SEARCHED_BYTES].decode("utf-8", "replace"))
    if tree is None:
        return ()
    found: dict[str, None] = {}
    for link in tree.iter("link"):
        rel = str(link.get("rel") or "").lower().split()
        kind = str(link.get("type") or "").split(";")[0].strip().lower()
        if "alternate" in rel and kind in _FEED_TYPES and (url := web_url(joined(base_url, str(link.get("href") or "")))):
            found[url] = None
    return tuple(found)[:limit]
