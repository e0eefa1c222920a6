"""The service: workers that do jobs, a ticker that says what is due, one orderly end. And the same work once, in the foreground."""

import logging
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from daemon.config import Settings
from daemon.jobs import CANARY, EXTRACT, GC, HANDLERS, LEARN, MERGE, NOTIFY, POLL, RECONCILE, Handlers
from daemon.runner import adopt_orphans, run_job
from daemon.scheduler import Ticker, enqueue_due
from daemon.sdnotify import Notifier
from daemon.signals import end_signals
from daemon.warm import Teachers
from registry import FeedState, Job, JobState, Registry, RegistryBusy, RegistryError, RegistryNotWritten

log = logging.getLogger(__name__)

# Learning has one worker to itself: it takes long, and two would want two base models in memory. Polling has several: a host may hang.
CREWS: dict[str, tuple[str, ...]] = {
    "intake": (EXTRACT, RECONCILE, GC),
    "learning": (LEARN, MERGE),
    "canary": (CANARY,),
    "notify": (NOTIFY,),
}
STOP_WITHIN_S = 7.0
REPORT_EVERY_S = 5.0
REST_AFTER_TROUBLE_S = 2.0
TURN_WITHIN_S = 120.0


def run_daemon(
    home: Path, settings: Settings, *, handlers: Handlers = HANDLERS, stop: threading.Event | None = None, warm: bool = True
) -> int:
    """Works until SIGTERM, SIGINT or `stop`. Raises AlreadyRunning if another daemon has this home. `warm`: start workers ahead."""
    notifier = Notifier.of()
    over = stop or threading.Event()
    with Registry.open(home) as registry, registry.lock_daemon(), end_signals(over):
        _put_right_in_time(registry, over)
        service = Service(registry, settings, handlers=handlers, stop=over, warm=warm)
        service.start()
        log.info("The daemon works on %s", home, extra={"action": "started", "home": str(home)})
        notifier.tell("READY=1", f"MAINPID={os.getpid()}", "STATUS=Started")
        pause_s = min(REPORT_EVERY_S, notifier.watchdog_s / 3 if notifier.watchdog_s else REPORT_EVERY_S)
        while not over.wait(pause_s):
            notifier.tell(*service.signs_of_life())
        notifier.tell("STOPPING=1", "STATUS=Stopping")
        service.finish()
        log.info("The daemon has stopped", extra={"action": "stopped"})
    return 0


class Service:
    """The threads of the daemon. The registry's lock is held by whoever makes one."""

    def __init__(self, registry: Registry, settings: Settings, *, handlers: Handlers, stop: threading.Event, warm: bool) -> None:
        self._registry, self._settings, self._handlers, self._stop = registry, settings, handlers, stop
        self._teachers = Teachers(settings, stop=stop)
        self._crews = crews_of(settings)
        self._bells = {crew: threading.Event() for crew in self._crews}
        self._ticker = Ticker(registry, settings, ring=self.ring, warm=self._teachers.warm if warm else lambda: None)
        # daemon threads: one that hangs in a fetch must not keep the process alive after its job was given back
        self._workers = [threading.Thread(target=self._work, args=(crew,), name=crew, daemon=True) for crew in self._crews]
        self._ticks_seen = 0

    def start(self) -> None:
        for worker in self._workers:
            worker.start()
        self._ticker.start()

    def ring(self) -> None:
        """There is something to do: no worker needs to wait for its next look."""
        for bell in self._bells.values():
            bell.set()

    def signs_of_life(self) -> list[str]:
        """What to tell the service manager. The watchdog is fed only if the registry answers, the ticker ticks and every worker lives."""
        self._teachers.cool()
        self._ticker.look_at_clock()
        try:
            status = f"STATUS={self._status()}"
        except RegistryError as err:
            log.error("The registry does not answer: %s Try: %s", err, err.hint, extra={"action": "registry_silent"})
            return [f"STATUS=The registry does not answer: {err}"]
        ticks, before = self._ticker.ticks, self._ticks_seen
        self._ticks_seen = ticks
        alive = ticks > before and all(worker.is_alive() for worker in self._workers)
        return [status, "WATCHDOG=1"] if alive else [status]

    def finish(self) -> None:
        """Stops the ticker, lets what runs come to its end or to a safe point, and gives back what does not within `STOP_WITHIN_S`."""
        self._stop.set()
        self.ring()
        deadline = time.monotonic() + STOP_WITHIN_S
        self._ticker.stop()
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        self._teachers.close()
        owners = {_owner(worker.name) for worker in self._workers if worker.is_alive()}
        for job in self._registry.read.jobs(JobState.RUNNING) if owners else ():
            if job.lease_owner in owners:
                self._registry.write.give_back(job.id, job.lease_owner)
                log.warning("Job %d (%s) did not end in time and goes back to the queue", job.id, job.kind, extra={"job": job.id})

    def _work(self, crew: str) -> None:
        bell = self._bells[crew]
        while not self._stop.is_set():
            bell.clear()  # before looking: what is queued after this look rings again
            try:
                if self._do_one(crew):
                    continue
            except RegistryError as err:
                log.error("The registry does not answer: %s Try: %s", err, err.hint, extra={"action": "registry_silent"})
                self._stop.wait(REST_AFTER_TROUBLE_S)
            except Exception:
                log.exception("A fault of Lorefeed's own in the %s worker", crew, extra={"action": "worker_fault"})
                self._stop.wait(REST_AFTER_TROUBLE_S)
            # Jobs that wait for their time announce themselves to nobody, so it is looked for them now and then.
            bell.wait(self._settings.daemon.tick_s)

    def _do_one(self, crew: str) -> bool:
        if LEARN in self._crews[crew] and self._ticker.learning_waits is not None:
            return False  # the job stays queued; the ticker says why
        owner, registry, settings = _owner(crew), self._registry, self._settings
        job = registry.write.claim(owner, lease_s=settings.daemon.lease_s, kinds=self._crews[crew])
        if job is None:
            return False
        ended = run_job(registry, settings, job, owner=owner, stop=self._stop, teachers=self._teachers, handlers=self._handlers)
        if not self._stop.is_set():
            self._ticker.follow(ended)
        return True

    def _status(self) -> str:
        counts = self._registry.read.counts()
        feeds = f"{counts.feeds['total']} feeds, {counts.feeds['failing']} failing"
        running = [f"{job.key} {job.progress:.0%}" for job in self._registry.read.jobs(JobState.RUNNING)]
        why = self._ticker.learning_waits
        waits = "" if why is None else f"; learning waits: {why}"
        return f"{feeds}; {', '.join(running) or 'idle'}{waits}"


def crews_of(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Each worker by name with the kinds of jobs it takes."""
    return {**CREWS, **{f"polling-{number}": (POLL,) for number in range(1, settings.sources.pollers + 1)}}


def run_once(home: Path, settings: Settings, *, handlers: Handlers = HANDLERS) -> int:
    """Does everything that is due, and what follows from it, without waiting for definitions to settle. 0, or 1 if a job failed."""
    with Registry.open(home) as registry, registry.lock_daemon():
        _put_right(registry)
        started_at, stop = datetime.now(UTC), threading.Event()
        ended: list[Job] = []
        while True:
            enqueue_due(registry, settings, datetime.now(UTC), settle_s=0.0, since=started_at)
            job = _claim_in_order(registry, settings, (POLL,))
            if job is None and (wait_s := _next_turn_s(registry, ended)) is not None:
                time.sleep(wait_s)
                continue
            job = job or _claim_in_order(registry, settings, (EXTRACT, LEARN, MERGE))
            if job is None:
                break
            ended.append(run_job(registry, settings, job, owner=_owner("once"), stop=stop, handlers=handlers))
        for line in _report(registry, ended):
            sys.stderr.write(line + "\n")
    return 1 if any(_went_wrong(job) for job in ended) else 0


def _claim_in_order(registry: Registry, settings: Settings, kinds: Sequence[str]) -> Job | None:
    """Everything is fetched before it is read, and read before it is learnt, so that a topic is learnt as one."""
    for kind in kinds:
        job = registry.write.claim(_owner("once"), lease_s=settings.daemon.lease_s, kinds=(kind,))
        if job is not None:
            return job
    return None


def _next_turn_s(registry: Registry, ended: Collection[Job]) -> float | None:
    """Until a feed may be polled whose host was busy with another one; None if there is none, or it would have to be waited for too long."""
    last = {str(job.payload["feed"]): _count(job, "postponed") for job in ended if job.kind == POLL}
    now = datetime.now(UTC)
    waits = [(f.next_check_at - now).total_seconds() for f in registry.read.feeds() if last.get(f.name)] if any(last.values()) else []
    return max(0.1, min(waits)) if waits and min(waits) < TURN_WITHIN_S else None


def _put_right_in_time(registry: Registry, over: threading.Event) -> None:
    """As soon as the registry can be written: a daemon that ended because the disk is full would only be started again and again."""
    while not over.is_set():
        try:
            _put_right(registry)
            return
        except (RegistryBusy, RegistryNotWritten) as err:
            log.error("The registry cannot be written: %s Try: %s", err, err.hint, extra={"action": "registry_silent"})
            over.wait(REST_AFTER_TROUBLE_S)


def _put_right(registry: Registry) -> None:
    """What a killed daemon left. Its jobs first: while we hold the lock, nobody else can be at work on them."""
    for job in adopt_orphans(registry):
        log.warning("Job %d (%s) was left by a killed daemon and is %s now", job.id, job.kind, job.state.value, extra={"job": job.id})
    for sentence in registry.recover():
        log.warning("%s", sentence, extra={"action": "recovered"})


def _report(registry: Registry, ended: Collection[Job]) -> Iterator[str]:
    done = Counter(job.kind for job in ended if not _went_wrong(job))
    documents = sum(_count(job, "documents") for job in ended if job.kind == POLL)
    definitions = sum(_count(job, "definitions") for job in ended if job.kind == EXTRACT)
    yield f"{done[POLL]} polls brought {documents} new documents, in which {definitions} new definitions were found."
    for job in ended:
        result = job.result or {}
        if job.kind == LEARN and not _went_wrong(job):
            yield f"{job.payload['topic']}: {_learnt(result)}"
        if _went_wrong(job):
            yield f"Failed: {job.key}: {job.last_error}"
    for feed in registry.read.feeds():
        if feed.error_count and feed.state is not FeedState.RETIRED:
            yield f"Feed {feed.name} cannot be read (for the {feed.error_count}. time): {feed.last_error}"


def _learnt(result: dict[str, object]) -> str:
    known = f"{result.get('known', 0)} definitions known already, {result.get('review', 0)} wait for an operator"
    if not result.get("adapter"):
        return f"nothing learnt; {known}"
    reasons = result.get("reasons")
    why = f": {' '.join(str(r) for r in reasons)}" if isinstance(reasons, list | tuple) and reasons else ""
    return f"{result['adapter']} {result.get('verdict')}{why}; {result.get('learned', 0)} definitions learnt, {known}"


def _count(job: Job, name: str) -> int:
    return int((job.result or {}).get("counts", {}).get(name, 0))


def _went_wrong(job: Job) -> bool:
    """Failed for good, or queued for another try later: either way what was asked for is not done."""
    return job.state in (JobState.FAILED, JobState.QUEUED)


def _owner(crew: str) -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{crew}"
