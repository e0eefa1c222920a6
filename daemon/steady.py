"""Ticks that go on whatever becomes of the wall clock, which is all that APScheduler looks at: set back by an hour, it would wait for an hour;
set on by a year, it would first count every second of it.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

log = logging.getLogger(__name__)

NOTICED_S = 1.0  # a smaller step is an ordinary correction


class Every(BaseTrigger):  # type: ignore[misc]
    """So long after the last time, counted from now: what was missed is not made up for."""

    def __init__(self, seconds: float) -> None:
        self._interval = timedelta(seconds=seconds)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        return now if previous is None else now + self._interval


class Ticks:
    """Calls functions again and again, each in a thread and never twice at a time. Somebody has to call `look` every few seconds."""

    def __init__(self, *, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._scheduler: Any = BackgroundScheduler(timezone=UTC)
        self._wall, self._steady = wall, steady
        self._apart = wall() - steady()

    def every(self, seconds: float, what: Callable[[], object]) -> None:
        """At once, and then again and again."""
        self._scheduler.add_job(what, Every(seconds), max_instances=1, coalesce=True, misfire_grace_time=None)

    def start(self) -> None:
        self._scheduler.start()

    def look(self) -> float:
        """Notices that the wall clock was set: everything is done at once then, and goes on from there. By how many seconds it was."""
        apart = self._wall() - self._steady()
        by_s, self._apart = apart - self._apart, apart
        if abs(by_s) > NOTICED_S:
            log.warning("The clock was set by %+.0f s", by_s, extra={"action": "clock_set", "by_s": round(by_s)})
            for job in self._scheduler.get_jobs():
                job.modify(next_run_time=datetime.now(UTC))
        return by_s

    def stop(self) -> None:
        """Waits for what is being done."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)
