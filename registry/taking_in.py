"""What a poll brought, into the tables. In plain statements: rows as objects would cost more than reading the feed does.

Called inside the caller's write transaction.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session

from registry.driver import driver_of
from registry.identity import text_digest
from registry.models import instant
from registry.records import Document, NewDocument
from registry.rows import batches
from registry.states import DocumentState

_FEED = "SELECT id, name, topic, location, error_count FROM feed WHERE id = ?"
_POLLED = (
    "UPDATE feed SET cursor = ?, error_count = 0, last_error = NULL, last_checked_at = ?, last_success_at = ?, next_check_at = ?, location = ?"
    " WHERE id = ?"
)
_KNOWN = "SELECT digest, title FROM document WHERE feed_id = ? AND digest IN (SELECT value FROM json_each(?))"
_NEWEST = (
    "SELECT external_id, max(id) FROM document WHERE feed_id = ? AND external_id IN (SELECT value FROM json_each(?)) GROUP BY external_id"
)
_INSERT = (
    "INSERT INTO document (id, feed_id, external_id, url, title, text, digest, published_at, fetched_at, fetch, revises, state, problem)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class PolledFeed:
    """What a poll asks of its feed's row, which may carry a long cursor."""

    id: int
    name: str
    topic: str
    location: str
    error_count: int


def polled_feed(session: Session, feed_id: int) -> PolledFeed | None:
    found = driver_of(session).execute(_FEED, (feed_id,)).fetchone()
    return None if found is None else PolledFeed(*found)


def record_success(
    session: Session, feed: PolledFeed, *, cursor: Mapping[str, Any], now: datetime, next_check_at: datetime, location: str
) -> None:
    facts = (json.dumps(dict(cursor)), instant(now), instant(now), instant(next_check_at), location, feed.id)
    driver_of(session).execute(_POLLED, facts)


def digests_of(documents: Sequence[NewDocument]) -> list[str]:
    """What `take_in` asks for; apart from it, because hashing needs no lock."""
    return [text_digest(document.text) for document in documents]


def take_in(session: Session, documents: Sequence[NewDocument], feed: PolledFeed, *, digests: Sequence[str]) -> list[Document]:
    """Writes what is new of the feed, in order, and returns it."""
    connection = driver_of(session)
    known: dict[str, str | None] = dict(_found(connection, _KNOWN, feed, digests))
    titled = _titled(documents, digests, known)
    known |= dict(_found(connection, _KNOWN, feed, titled.values()))
    newest: dict[str, int] = dict(_found(connection, _NEWEST, feed, (document.external_id for document in documents)))
    # Nobody else is writing now, so the numbers that SQLite would give can be given here; a second version in one poll needs the first's.
    (number,) = connection.execute("SELECT coalesce(max(id), 0) FROM document").fetchone()
    taken: list[Document] = []
    for place, (document, digest) in enumerate(zip(documents, digests, strict=True)):
        if digest in known and known[digest] != document.title:
            digest = titled[place]  # the same words under another title are about another thing
        if digest in known:
            continue
        known[digest] = document.title
        number += 1
        taken.append(_taken(document, number, digest, feed=feed, revises=newest.get(document.external_id)))
        newest[document.external_id] = number
    if taken:
        fetches = _Written()
        connection.executemany(_INSERT, [_columns(document, fetches) for document in taken])
    return taken


def _titled(documents: Sequence[NewDocument], digests: Sequence[str], known: Mapping[str, str | None]) -> dict[int, str]:
    """The digest of title and text, by place, of every document whose text alone does not tell it from another."""
    times = Counter(digests)
    told: dict[int, str] = {}
    unclear = {place for place, digest in enumerate(digests) if digest in known or times[digest] > 1}
    while unclear:
        told |= {place: text_digest(f"{documents[place].title or ''}\n{documents[place].text}") for place in unclear}
        # A text can be another's title and text, word for word.
        unclear = {place for place, digest in enumerate(digests) if place not in told and digest in set(told.values())}
    return told


def _found(connection: sqlite3.Connection, statement: str, feed: PolledFeed, wanted: Iterable[str]) -> list[Any]:
    return [row for some in batches(wanted) for row in connection.execute(statement, (feed.id, json.dumps(some)))]


def _taken(document: NewDocument, number: int, digest: str, *, feed: PolledFeed, revises: int | None) -> Document:
    return Document(
        id=number,
        feed_id=feed.id,
        feed=feed.name,
        topic=feed.topic,
        external_id=document.external_id,
        url=document.url,
        title=document.title,
        text=document.text,
        digest=digest,
        published_at=document.published_at,
        fetched_at=document.fetched_at,
        fetch=dict(document.fetch),
        revises=revises,
        state=DocumentState.NEW,
        problem=document.problem,
    )


class _Written:
    """How a document was fetched, as text: the same for all that one poll brought, so it is written out once."""

    def __init__(self) -> None:
        self._last: tuple[dict[str, Any], str] | None = None

    def text(self, fetch: dict[str, Any]) -> str:
        if self._last is None or self._last[0] != fetch:
            self._last = (fetch, json.dumps(fetch))
        return self._last[1]


def _columns(d: Document, fetches: _Written) -> tuple[Any, ...]:
    published = None if d.published_at is None else instant(d.published_at)
    return (
        d.id, d.feed_id, d.external_id, d.url, d.title, d.text, d.digest, published, instant(d.fetched_at), fetches.text(d.fetch), d.revises,
        d.state.value, d.problem,
    )  # fmt: skip
