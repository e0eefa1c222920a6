"""Does one claimed job: keeps its lease and progress, and writes down what became of it. What a job does is in jobs.py."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from daemon.config import Settings
from daemon.errors import Stopped
from daemon.jobs import (
    EXTRACT,
    HANDLERS,
    LEARN,
    PLAIN_ERRORS,
    POLL,
    RECONCILE,
    Handlers,
    Work,
    describe,
    learning_work,
    pending_documents,
    rest_feed,
    retry_delay_s,
)
from daemon.warm import Teachers
from registry import Job, JobState, LeaseLost, Registry, RegistryError

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 0.5

Json = dict[str, Any]


def run_job(
    registry: Registry,
    settings: Settings,
    job: Job,
    *,
    owner: str,
    stop: threading.Event,
    teachers: Teachers | None = None,
    handlers: Handlers = HANDLERS,
) -> Job:
    """Does one claimed job and returns its row as it ended. Raises only when the registry itself cannot be written."""
    subject, started = f"{job.kind} {job.payload.get('feed') or job.payload.get('topic') or ''}".strip(), time.monotonic()
    log.debug("Job %d begins: %s", job.id, subject, extra={"action": "job_began", "job": job.id, "kind": job.kind})
    crew = teachers or Teachers(settings, stop=stop)
    work = Work(registry, settings, job, _ProgressRow(registry, job.id), stop, crew)
    before = _pending(registry, job)
    try:
        with _lease_kept(registry, job, owner=owner, lease_s=settings.daemon.lease_s):
            result = handlers[job.kind](work)
        ended = registry.write.complete(job.id, owner, {**result, **_moved(before, _pending(registry, job))})
    except Stopped:
        ended = registry.write.give_back(job.id, owner)
        log.info("Job %d (%s) goes back to the queue", job.id, subject, extra={"action": "job_given_back", "job": job.id})
    except LeaseLost as err:
        log.warning("%s; its result is dropped", err, extra={"action": "lease_lost", "job": job.id})
        return registry.read.job(job.id)
    except Exception as err:
        ended = _failed(registry, job, err, owner=owner, subject=subject)
    except BaseException:  # Ctrl-C: the job is somebody else's again
        registry.write.give_back(job.id, owner)
        raise
    finally:
        if teachers is None:
            crew.close()
    if ended.state is JobState.DONE:
        facts = {"action": "job_done", "job": job.id, "kind": job.kind, "duration_s": round(time.monotonic() - started, 3)}
        log.log(logging.DEBUG if job.kind in (RECONCILE, POLL) else logging.INFO, "Done: %s (job %d)", subject, job.id, extra=facts)
    return ended


def adopt_orphans(registry: Registry) -> list[Job]:
    """Jobs that a killed daemon still holds, queued again with that attempt counted. Only the holder of the daemon's lock may do this."""
    now, adopted = datetime.now(UTC), []
    for job in registry.read.jobs(JobState.RUNNING):
        error = "The daemon was killed while this ran"
        ended = registry.write.fail(job.id, job.lease_owner or "", error, retry_at=now)
        if ended.state is JobState.FAILED and job.kind == POLL:
            # A page that crashes the parser would take the daemon down again and again.
            rest_feed(registry, str(job.payload["feed"]), error=f"{error}, {ended.attempts} times")
        adopted.append(ended)
    return adopted


def _failed(registry: Registry, job: Job, error: Exception, *, owner: str, subject: str) -> Job:
    delay_s = retry_delay_s(error, job.attempts)
    retry_at = None if delay_s is None else datetime.now(UTC) + timedelta(seconds=delay_s)
    ended = registry.write.fail(job.id, owner, describe(error), retry_at=retry_at)
    facts = {"action": "job_failed", "job": job.id, "kind": job.kind, "attempt": job.attempts, "retry_s": delay_s}
    what = "is given up" if ended.state is JobState.FAILED else f"is tried again in {delay_s:.0f} s"
    unexpected = None if isinstance(error, PLAIN_ERRORS) else error
    log.error("Job %d (%s) failed and %s: %s", job.id, subject, what, describe(error), extra=facts, exc_info=unexpected)
    return ended


def _pending(registry: Registry, job: Job) -> set[int]:
    if job.kind == LEARN:
        return learning_work(registry, str(job.payload["topic"]))
    return set(pending_documents(registry)) if job.kind == EXTRACT else set()


def _moved(before: set[int], after: set[int]) -> Json:
    """What the job left undone, and whether it did anything: work that comes to nothing is not begun again at once."""
    return {"left": sorted(after), "progressed": not before <= after}


class _ProgressRow:
    """Progress as a row that others can read, written seldom enough to cost nothing."""

    def __init__(self, registry: Registry, job_id: int) -> None:
        self._registry, self._job_id = registry, job_id
        self._next_at = 0.0

    def __call__(self, fraction: float, text: str) -> None:
        now = time.monotonic()
        if now < self._next_at and fraction < 1.0:
            return
        self._next_at = now + PROGRESS_EVERY_S
        try:
            self._registry.write.progress(self._job_id, fraction, text)
        except RegistryError as err:
            log.warning("Progress of job %d was not written: %s", self._job_id, err, extra={"job": self._job_id})


@contextmanager
def _lease_kept(registry: Registry, job: Job, *, owner: str, lease_s: float) -> Iterator[None]:
    """Renews the lease while the block runs, from a thread of its own: the work may be silent for long."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(lease_s / 3):
            try:
                registry.write.renew(job.id, owner, lease_s)
            except LeaseLost:
                return  # the end of the job says so; there is nothing left to renew
            except RegistryError as err:
                log.warning("The lease of job %d was not renewed: %s", job.id, err, extra={"job": job.id})

    keeper = threading.Thread(target=keep, name=f"lease-{job.id}", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
