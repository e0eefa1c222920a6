"""A feed as a source: fetched by the guarded client, read by the reader of its format, compared with what was seen before.

The cursor holds the server's validators, the digest of the last body and what was seen. Nothing here schedules or stores.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from .article import AGAIN_S, FullTexts
from .base import Document, FetchSettings, Poll
from .discovery import discovered_feeds, looks_like_html
from .encoding import clean_line
from .entry import Entry, ParsedFeed, news, settle, without
from .errors import NotAFeed, SourceError
from .http import Fetched, Validators, fetch, shown_address
from .jsonfeed import looks_like_json, parse_json_feed
from .rhythm import remembered_rhythm, rhythm_of
from .xmlfeed import parse_xml_feed

#: One feed is read at a time: of threads that read at once each works as long, and all lose time in handing Python to each other.
_READING = threading.Lock()
#: Nobody waits longer than this for a feed that is slow to read.
_PATIENCE_S = 2.0


class FeedSource:
    """A feed at an http(s) address."""

    kind = "feed"

    def __init__(self, location: str, settings: FetchSettings | None = None) -> None:
        self.location = location
        self._settings = settings or FetchSettings()

    def poll(self, cursor: dict[str, Any]) -> Poll:
        got = fetch(self.location, self._settings, validators=_validators(cursor))
        digest = hashlib.sha256(got.body).hexdigest()
        if (got.unchanged or digest == cursor.get("body")) and not cursor.get("waiting"):
            return Poll(
                (),
                _cursor(cursor, got),
                got.next_after_s,
                unchanged=True,
                moved_to=got.moved_to,
                title=cursor.get("title"),
                rhythm=rhythm_of(cursor),
            )
        if got.unchanged:  # articles are still to be fetched, and the feed's own bytes are needed for that
            got = replace(fetch(self.location, self._settings), moved_to=got.moved_to)
            digest = hashlib.sha256(got.body).hexdigest()
        got, feed = self._feed_of(got, first_time="body" not in cursor)
        entries, problems = settle(feed.entries)
        fresh, seen = news(entries, _seen(cursor))
        told: list[str] = []
        origin = _origin(got, feed, digest)
        reader = FullTexts(self._settings) if self._settings.full_text else None
        documents: list[Document] = []
        waiting = 0
        for entry in fresh:
            given = _document(entry, origin)
            document = given if reader is None else reader.completed(given, told)
            if document is None:
                seen = without(entry, seen)  # comes again at the next poll
                waiting += 1
            else:
                documents.append(document)
        return Poll(
            documents=tuple(documents),
            cursor=_cursor(cursor, got)
            | {"body": digest, "seen": seen, "title": feed.title, "waiting": waiting}
            | remembered_rhythm(entries, cursor),
            next_after_s=got.next_after_s if not waiting else AGAIN_S,
            problems=(*feed.problems, *problems, *told),
            unchanged=not fresh,
            moved_to=got.moved_to,
            title=feed.title,
            rhythm=rhythm_of(remembered_rhythm(entries, cursor)),
            unfinished=waiting > 0,
        )

    def _feed_of(self, got: Fetched, *, first_time: bool) -> tuple[Fetched, ParsedFeed]:
        """The parsed feed. A page given in a feed's place is followed to the feed it announces, once, when nothing is known of it yet."""
        shown = shown_address(self.location)
        try:
            return got, _read(got, shown)
        except NotAFeed as err:
            announced = discovered_feeds(got.body, got.url, limit=1) if first_time and looks_like_html(got.body) else ()
            if not announced:
                raise
            page = err
        try:
            found = fetch(announced[0], self._settings)
            feed = _read(found, shown_address(announced[0]))
        except SourceError as err:
            raise page from err  # its hint names what the page announces; the next poll tries it again
        return replace(found, moved_to=found.moved_to or announced[0]), feed


def parse_feed(body: bytes, location: str, *, base_url: str, content_type: str = "") -> ParsedFeed:
    """Whatever can be read of a feed's bytes; NotAFeed when they are something else."""
    if not body.strip():
        raise NotAFeed(location, "the server sent nothing, not even an empty feed")
    if looks_like_json(body, content_type):
        return parse_json_feed(body, location, base_url=base_url)
    return parse_xml_feed(body, location, base_url=base_url, content_type=content_type)


def _read(got: Fetched, shown: str) -> ParsedFeed:
    alone = _READING.acquire(timeout=_PATIENCE_S)
    try:
        return parse_feed(got.body, shown, base_url=got.url, content_type=got.content_type)
    finally:
        if alone:
            _READING.release()


def _document(entry: Entry, origin: dict[str, Any]) -> Document:
    return Document(entry.external_id, entry.url, entry.title, entry.text, entry.published_at, dict(origin))


def _origin(got: Fetched, feed: ParsedFeed, digest: str) -> dict[str, Any]:
    return {
        "fetched_from": got.url,
        "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": got.status,
        "content_type": clean_line(got.content_type, limit=200),
        "etag": got.validators.etag,
        "last_modified": got.validators.last_modified,
        "format": feed.format,
        "body_sha256": digest,
    }


def _validators(cursor: dict[str, Any]) -> Validators | None:
    url = cursor.get("url")
    return Validators(url, cursor.get("etag"), cursor.get("last_modified")) if isinstance(url, str) else None


def _seen(cursor: dict[str, Any]) -> dict[str, list[str]]:
    seen = cursor.get("seen")
    return seen if isinstance(seen, dict) else {}


def _cursor(cursor: dict[str, Any], got: Fetched) -> dict[str, Any]:
    """The old cursor with this answer's validators: seen entries stay, a validator the server no longer sends goes."""
    return cursor | {"url": got.validators.url, "etag": got.validators.etag, "last_modified": got.validators.last_modified}
