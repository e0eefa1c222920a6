"""What every part of the store shares: the database, the clock, and writing an event beside a change."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlmodel import Session

from registry.artifacts import Artifacts
from registry.db import Database
from registry.models import EventRow
from registry.records import Event
from registry.rows import event_record

Clock = Callable[[], datetime]
DAEMON = "lorefeed"


def utc_now() -> datetime:
    return datetime.now(UTC)


class StoreBase:
    def __init__(self, database: Database, artifacts: Artifacts, *, clock: Clock = utc_now) -> None:
        self._db = database
        self._artifacts = artifacts
        self._clock = clock

    def add_event(self, actor: str, action: str, object: str, detail: Mapping[str, Any] | None = None) -> Event:
        with self._db.writing() as session:
            row = EventRow(at=self._clock(), actor=actor, action=action, object=object, detail=dict(detail or {}))
            session.add(row)
            session.flush()
            return event_record(row)

    def _note(self, session: Session, actor: str, *, action: str, object: str, **detail: Any) -> None:
        session.add(EventRow(at=self._clock(), actor=actor, action=action, object=object, detail=detail))
