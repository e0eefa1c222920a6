"""Which kind of source a location is, and the source for it.

Others can add kinds: a package that declares an entry point in the group `lorefeed.sources` names a kind and what opens it, a callable
that takes the location and the FetchSettings and gives a Source. `sources.contract` holds the tests that such a source must pass.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from .base import FetchSettings, Source
from .errors import AddressRefused, SourceError
from .feed import FeedSource
from .files import SUFFIXES
from .folder import FileSource, FolderSource
from .sitemap import SitemapSource, named_like_sitemap
from .webpage import PageSource

GROUP = "lorefeed.sources"
Opener = Callable[[str, FetchSettings], Source]
_OURS: Mapping[str, Opener] = {"feed": FeedSource, "folder": FolderSource, "file": FileSource, "page": PageSource, "sitemap": SitemapSource}


def open_source(location: str, *, kind: str | None = None, settings: FetchSettings | None = None) -> Source:
    """The source for a location; nothing is fetched yet. A package's own kind may be as broken as it likes: the error names it."""
    settings = settings or FetchSettings()
    kind = kind or detect_kind(location)
    if kind in _OURS:
        return _OURS[kind](location, settings)
    added = {entry.name: entry for entry in entry_points(group=GROUP)}
    if kind not in added:
        known = ", ".join(sorted({*_OURS, *added}))
        raise AddressRefused(location, f"there is no kind of source called {kind!r}", hint=f"Use one of: {known}.")
    try:
        source = added[kind].load()(location, settings)
    except SourceError:
        raise
    except Exception as err:  # somebody else's code, at its import or in its constructor
        hint = f"Repair or remove the package that provides {added[kind].value}."
        raise AddressRefused(location, f"the kind {kind!r} cannot be opened ({type(err).__name__}: {err})", hint=hint) from err
    if not isinstance(source, Source):
        raise AddressRefused(location, f"what opens the kind {kind!r} gives no source: it must have kind, location and poll")
    return source


def kinds() -> tuple[str, ...]:
    """Every kind that can be opened here, ours first."""
    return (*_OURS, *sorted({entry.name for entry in entry_points(group=GROUP)} - set(_OURS)))


def detect_kind(location: str) -> str:
    """`feed` or `sitemap` for http(s) addresses, `folder` or `file` for what is, or is written like, a path on this machine.

    A scheme that names an added kind is that kind: `irc://host/channel` where a package provides `irc`.
    """
    scheme = urlsplit(location).scheme.lower()
    if scheme in ("http", "https"):
        return "sitemap" if named_like_sitemap(location) else "feed"
    path = Path(location.removeprefix("file://")).expanduser()
    if path.is_file() or (path.suffix.lower() in SUFFIXES and not path.is_dir() and _is_path(location, scheme)):
        return "file"
    if _is_path(location, scheme) or path.is_dir():
        return "folder"
    if scheme and scheme in kinds():
        return scheme
    if scheme and "://" in location:
        raise AddressRefused(
            location, f"addresses of the form {scheme}:// are not fetched", hint="Give an http or https address, or a folder."
        )
    raise AddressRefused(
        location,
        "this is neither an http address nor a folder that exists",
        hint=f"Write https://{location} for a feed, or .{os.sep}{location} for a folder.",
    )


def _is_path(location: str, scheme: str) -> bool:
    return scheme == "file" or location.startswith(("/", "./", "../", "~")) or location in (".", "..")
