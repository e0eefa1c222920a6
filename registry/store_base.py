"""What every part of the store shares: the database, the clock, and writing an event beside a change."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlmodel import Session, col, select

from registry import audit
from registry.artifacts import Artifacts
from registry.db import Database
from registry.models import EventRow
from registry.records import Event
from registry.rows import event_record

Clock = Callable[[], datetime]
DAEMON = "lorefeed"
_HEAD = "audit_head"


def utc_now() -> datetime:
    return datetime.now(UTC)


class StoreBase:
    def __init__(self, database: Database, artifacts: Artifacts, *, clock: Clock = utc_now) -> None:
        self._db = database
        self._artifacts = artifacts
        self._clock = clock

    def add_event(self, actor: str, action: str, object: str, detail: Mapping[str, Any] | None = None) -> Event:
        with self._db.writing() as session:
            row = self._event(session, actor, action=action, object=object, detail=dict(detail or {}))
            session.add(row)
            session.flush()
            return event_record(row)

    def _note(self, session: Session, actor: str, *, action: str, object: str, **detail: Any) -> None:
        session.add(self._event(session, actor, action=action, object=object, detail=detail))

    def _event(self, session: Session, actor: str, *, action: str, object: str, detail: dict[str, Any]) -> EventRow:
        """The next event of the chain. The write transaction holds the lock, so nobody else is adding one."""
        if _HEAD not in session.info:
            with session.no_autoflush:  # rows that are half made may be waiting in the session; no event is
                newest = session.exec(select(EventRow.digest).order_by(col(EventRow.id).desc()).limit(1)).first()
            session.info[_HEAD] = newest or audit.NOTHING
        now = self._clock().astimezone(UTC)
        at = now.isoformat(timespec="microseconds")
        digest = audit.link(session.info[_HEAD], at=at, actor=actor, action=action, object=object, detail=detail)
        session.info[_HEAD] = digest
        return EventRow(at=now, actor=actor, action=action, object=object, detail=detail, digest=digest)
