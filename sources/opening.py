"""Which kind of source a location is, and the source for it."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from .base import FetchSettings, Source
from .errors import AddressRefused
from .feed import FeedSource
from .folder import FolderSource


def open_source(location: str, *, kind: str | None = None, settings: FetchSettings | None = None) -> Source:
    """The source for a location; nothing is fetched yet."""
    settings = settings or FetchSettings()
    match kind or detect_kind(location):
        case "folder":
            return FolderSource(location, settings)
        case "feed":
            return FeedSource(location, settings)
        case other:
            raise AddressRefused(location, f"there is no kind of source called {other!r}", hint="Use one of: feed, folder.")


def detect_kind(location: str) -> str:
    """`feed` for http(s) addresses, `folder` for what is, or is written like, a path on this machine."""
    scheme = urlsplit(location).scheme.lower()
    if scheme in ("http", "https"):
        return "feed"
    if scheme == "file" or location.startswith(("/", "./", "../", "~")) or location in (".", "..") or Path(location).is_dir():
        return "folder"
    if scheme and "://" in location:
        raise AddressRefused(
            location, f"addresses of the form {scheme}:// are not fetched", hint="Give an http or https address, or a folder."
        )
    raise AddressRefused(
        location,
        "this is neither an http address nor a folder that exists",
        hint=f"Write https://{location} for a feed, or .{os.sep}{location} for a folder.",
    )
