"""The door to the registry: opens a home directory and holds what reads, what writes and what keeps the folders."""

from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from registry import audit, health
from registry.artifacts import Artifacts
from registry.audit import AuditReport
from registry.db import Database
from registry.lock import locked
from registry.mend import Mending, mendings
from registry.pages import Pages
from registry.queries import Queries
from registry.records import Finding
from registry.served import ServedView
from registry.store import Store
from registry.store_base import Clock, utc_now


class Registry:
    """The only truth: rows in home/registry.sqlite3, adapter folders in home/artifacts/."""

    def __init__(self, home: Path, *, clock: Clock = utc_now) -> None:
        self.home = home
        self._clock = clock
        self._database = Database(home)
        self.artifacts = Artifacts(home / "artifacts")
        self.read = Queries(self._database)
        self.pages = Pages(self._database)
        self.write = Store(self._database, self.artifacts, clock=clock)

    @classmethod
    def open(cls, home: Path, *, clock: Clock = utc_now) -> Self:
        """Opens the registry in `home`, making or migrating it as needed."""
        return cls(Path(home), clock=clock)

    def recover(self, now: datetime | None = None) -> list[str]:
        """Finishes or discards what a dead process left half done; to be called once, at start. A sentence for each thing."""
        return health.recover(self.read, self.write, self.artifacts, now or self._clock())

    def finish_published(self) -> list[str]:
        """Takes in what was published while its row could not be written; to be called before anything else is made. A sentence for each."""
        return health.finish_published(self.read, self.write, self.artifacts)

    def doctor(self) -> list[Finding]:
        """What does not agree, with what to do about it. Nothing is changed."""
        return health.doctor(self._database, self.read, self.artifacts, self._clock())

    def mendings(self, *, actor: str) -> list[Mending]:
        """What of that can be put right, as offers. Hold lock_daemon() around this and the doing: what a daemon makes is nobody's to mend."""
        return mendings(self.read, self.write, self.artifacts, self._clock(), actor=actor)

    def audit(self, *, known_head: str | None = None) -> AuditReport:
        """Goes through the whole audit log. `known_head` is a head that somebody kept elsewhere."""
        with self._database.reading() as session:
            rows = session.connection().exec_driver_sql(audit.ROWS)
            return audit.verify((tuple(row) for row in rows), known_head=known_head)

    def audit_tail(self, length: int) -> AuditReport:
        """Whether the newest events follow from each other, which takes no longer when the log grows."""
        with self._database.reading() as session:
            rows = [tuple(row) for row in session.connection().exec_driver_sql(audit.LAST_ROWS, (length + 1,))]
        if len(rows) <= length:
            return audit.verify(rows)
        return audit.verify(rows[1:], before=rows[0][-1])

    def served(self) -> ServedView:
        """What is served at this moment, cheap enough to be asked for every request; close it."""
        return ServedView(self.home)

    def lock_daemon(self) -> AbstractContextManager[None]:
        """Held while a daemon works on this home; raises AlreadyRunning if another one does."""
        return locked(self.home / "daemon.lock")

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
