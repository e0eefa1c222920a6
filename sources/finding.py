"""The feeds of a site, found from any page's address: fetched, read and named, so that a person can choose."""

from __future__ import annotations

from dataclasses import dataclass

from .base import FetchSettings
from .discovery import discovered_feeds, looks_like_html
from .errors import NotAFeed, SourceError
from .feed import parse_feed
from .http import PAGES, fetch, shown_address


@dataclass(frozen=True, slots=True)
class FoundFeed:
    """A feed that answers and can be read."""

    location: str
    title: str | None
    format: str


def find_feeds(address: str, settings: FetchSettings) -> list[FoundFeed]:
    """The feed at the address itself, else those that the page there announces; each was fetched and read. Raises for the page only."""
    got = fetch(address, settings, accept=PAGES)
    found: list[FoundFeed] = []
    announced = (got.url,) if not looks_like_html(got.body) else discovered_feeds(got.body, got.url)
    for location in announced:
        try:
            answer = got if location == got.url else fetch(location, settings)
            feed = parse_feed(answer.body, shown_address(location), base_url=answer.url, content_type=answer.content_type)
        except NotAFeed:
            continue
        except SourceError:
            found.append(FoundFeed(location, None, "not reachable now"))
            continue
        found.append(FoundFeed(location, feed.title, feed.format))
    return found
