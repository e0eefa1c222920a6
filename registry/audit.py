"""The audit log's chain: every event carries a digest of itself and of the event before it, so that none can be altered, taken out or put in
between without a break. Knows rows as plain values only.

Whoever can write the file could write the whole chain anew; so keep a head somewhere else (`lorefeed audit verify` prints it, every backup has
it) and have it looked for: it must still be in the chain.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

NOTHING = ""
"What the first event follows."

LAST_ROWS = "SELECT * FROM (SELECT id, at, actor, action, object, detail, digest FROM event ORDER BY id DESC LIMIT ?) ORDER BY id"
ROWS = "SELECT id, at, actor, action, object, detail, digest FROM event ORDER BY id"


@dataclass(frozen=True, slots=True)
class AuditReport:
    """`head` is the newest event's digest. `broken` names the first event that does not fit; `missing` is a head that is not in the chain."""

    events: int
    head: str
    broken: int | None = None
    missing: str | None = None

    @property
    def whole(self) -> bool:
        return self.broken is None and self.missing is None


def link(before: str, *, at: str, actor: str, action: str, object: str, detail: Mapping[str, Any]) -> str:
    """The digest of an event that follows the one with digest `before`. `at` is the instant as it stands in the row."""
    said = json.dumps([before, at, actor, action, object, detail], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(said.encode()).hexdigest()


def verify(
    rows: Iterable[tuple[int, str, str, str, str, str, str]], *, known_head: str | None = None, before: str = NOTHING
) -> AuditReport:
    """Goes through the chain, from what follows `before`. `known_head` is a head that somebody kept; it must be one of the digests."""
    count, seen = 0, known_head is None
    for number, at, actor, action, about, detail, digest in rows:
        expected = link(before, at=at, actor=actor, action=action, object=about, detail=json.loads(detail))
        if digest != expected:
            return AuditReport(count, before, broken=number)
        before, count = digest, count + 1
        seen = seen or digest == known_head
    return AuditReport(count, before, missing=None if seen else known_head)


def verify_file(connection: sqlite3.Connection, *, known_head: str | None = None) -> AuditReport:
    return verify(connection.execute(ROWS), known_head=known_head)


def chain_what_there_is(connection: sqlite3.Connection) -> None:
    """For the migration that brings the chain: the events so far are taken as they are."""
    before = NOTHING
    for number, at, actor, action, about, detail, _ in connection.execute(ROWS).fetchall():
        before = link(before, at=at, actor=actor, action=action, object=about, detail=json.loads(detail))
        connection.execute("UPDATE event SET digest = ? WHERE id = ?", (before, number))
