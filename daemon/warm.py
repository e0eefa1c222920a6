"""Hands a learning job its worker process, which may have been started ahead so that torch and the model load while definitions settle."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from daemon.config import Settings
from daemon.serving.turns import Turn
from daemon.teacher import Progress, Teacher, silent

log = logging.getLogger(__name__)

KEPT_WARM_S = 60.0


class Teachers:
    """One learning worker at a time, warm or at work: two loaded base models would take twice the memory."""

    def __init__(self, settings: Settings, *, stop: threading.Event) -> None:
        self._settings, self._stop = settings, stop
        self._lock = threading.Lock()
        self._warm: Teacher | None = None
        self._working: Teacher | None = None
        self._wanted_at = 0.0

    def warm(self) -> None:
        """Something is about to be learnt: start a worker, unless there is one, or the engine would have to sleep for it."""
        if self._settings.engine.sharing == "turns":
            return
        with self._lock:
            self._wanted_at = time.monotonic()
            if self._warm is not None or self._working is not None or self._stop.is_set():
                return
            teacher = self._make()
            try:
                teacher.start()
            except OSError as err:  # no memory, no process left: the job will say so when it comes to that
                log.warning("No learning worker could be started ahead: %s", err, extra={"action": "not_warmed"})
                return
            self._warm = teacher

    def cool(self) -> None:
        """Ends a worker that was started ahead and not wanted for a while."""
        with self._lock:
            if self._warm is not None and time.monotonic() - self._wanted_at > KEPT_WARM_S:
                self._warm.close()
                self._warm = None

    @contextmanager
    def take(self, progress: Progress = silent) -> Iterator[Teacher]:
        """The worker for one job; it ends with the job."""
        with self._lock:
            teacher, self._warm = self._warm or self._make(), None
            self._working = teacher
        teacher.progress = progress
        try:
            yield teacher
        finally:
            with self._lock:
                self._working = None
            teacher.close()

    def close(self) -> None:
        """Ends every worker, one at work as well."""
        with self._lock:
            for teacher in (self._warm, self._working):
                if teacher is not None:
                    teacher.close()
            self._warm = None

    def _make(self) -> Teacher:
        engine = self._settings.engine
        if engine.sharing != "turns":
            return Teacher.of(self._settings, stop=self._stop)
        turn = Turn(self._settings.home, engine.address)
        return Teacher.of(self._settings, begin=turn.begin, end=turn.end, stop=self._stop)
