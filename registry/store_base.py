"""What every part of the store shares: the database, the clock, and writing an event beside a change."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlmodel import Session

from registry import audit
from registry.artifacts import Artifacts
from registry.db import Database
from registry.models import instant
from registry.records import Event

Clock = Callable[[], datetime]
DAEMON = "lorefeed"
_HEAD = "audit_head"
_NEWEST = "SELECT digest FROM event ORDER BY id DESC LIMIT 1"
_INSERT = "INSERT INTO event (at, actor, action, object, detail, digest) VALUES (?, ?, ?, ?, ?, ?) RETURNING id"


def utc_now() -> datetime:
    return datetime.now(UTC)


class StoreBase:
    def __init__(self, database: Database, artifacts: Artifacts, *, clock: Clock = utc_now) -> None:
        self._db = database
        self._artifacts = artifacts
        self._clock = clock

    def add_event(self, actor: str, action: str, object: str, detail: Mapping[str, Any] | None = None) -> Event:
        with self._db.writing() as session:
            return self._event(session, actor, action=action, object=object, detail=dict(detail or {}))

    def _note(self, session: Session, actor: str, *, action: str, object: str, **detail: Any) -> None:
        self._event(session, actor, action=action, object=object, detail=detail)

    def _event(self, session: Session, actor: str, *, action: str, object: str, detail: dict[str, Any]) -> Event:
        """Writes the next event of the chain. The write transaction holds the lock, so nobody else is adding one.

        In plain statements, which leave rows that are half made and wait in the session alone: a poll in which a feed has something to
        report must not cost twice another.
        """
        connection = session.connection()
        if _HEAD not in session.info:
            session.info[_HEAD] = connection.exec_driver_sql(_NEWEST).scalar() or audit.NOTHING
        now = self._clock().astimezone(UTC)
        at = instant(now)
        digest = audit.link(session.info[_HEAD], at=at, actor=actor, action=action, object=object, detail=detail)
        session.info[_HEAD] = digest
        number = connection.exec_driver_sql(_INSERT, (at, actor, action, object, json.dumps(detail), digest)).scalar_one()
        return Event(id=number, at=now, actor=actor, action=action, object=object, detail=detail, digest=digest)
