"""What a feed is called, and whether its location can work: shared by adding one and importing many."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from daemon.commands.place import unique_name

if TYPE_CHECKING:
    from registry import Feed, Registry

DEFAULT_TOPIC = "news"


def workable(location: str, kind: str | None = None) -> tuple[str, str]:
    """The location as it is stored, and its kind; raises a SourceError for one that can never work."""
    from sources import AddressRefused, detect_kind, kinds
    from sources.files import existing_file, existing_folder, folder_path

    kind = kind or detect_kind(location)
    if kind not in kinds():
        raise AddressRefused(location, f"there is no kind of source called {kind!r}", hint=f"Use one of: {', '.join(kinds())}.")
    if kind in ("folder", "file"):
        path = folder_path(location)
        (existing_folder if kind == "folder" else existing_file)(path, location)
        return str(path), kind
    if kind not in ("feed", "page", "sitemap"):
        return location, kind  # a package's own kind of address
    try:
        parts = urlsplit(location)
        sound = bool(parts.hostname) and (parts.port is None or parts.port > 0) and not any(c.isspace() for c in location)
    except ValueError:
        sound = False
    if not sound:
        raise AddressRefused(location, "this is not a whole address", hint="Write it like https://example.org/feed.xml")
    return location, kind


def watched_as(registry: Registry, location: str, topic: str) -> Feed | None:
    """The feed that watches this location for this topic already."""
    return next((f for f in registry.read.feeds() if f.location == location and f.topic == topic and f.state != "retired"), None)


def derived_name(registry: Registry, location: str, kind: str, *, title: str | None = None) -> str:
    """A new name from the feed's title, else from its host, folder or file."""
    own = Path(location).name if kind in ("folder", "file") else (urlsplit(location).hostname or location).removeprefix("www.")
    taken = {feed.name for feed in registry.read.feeds()}
    readable = "".join(c for c in title or own if c.isprintable()).strip()[:80]
    return unique_name(readable or kind, taken.__contains__)


def topic_name(category: str | None) -> str:
    """A category's words as a topic may be called: letters, digits, dots and dashes; the default topic for none."""
    words = re.sub(r"[^A-Za-z0-9._]+", "-", (category or "").strip()).strip("-._").lower()[:64]
    return words or DEFAULT_TOPIC


def shown_location(location: str) -> str:
    from sources.http import shown_address

    return shown_address(location)
