"""What is due, decided by the registry's columns at every tick. Enqueues jobs and does none; APScheduler's memory decides nothing."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from daemon.config import Settings
from daemon.jobs import (
    EXTRACT,
    LEARN,
    MERGE,
    POLL,
    enqueue_canary,
    enqueue_extract,
    enqueue_gc,
    enqueue_learn,
    enqueue_merge,
    enqueue_notify,
    enqueue_poll,
    enqueue_polls,
    enqueue_reconcile,
    key_of,
    pending_definitions,
    pending_documents,
    to_relearn,
)
from daemon.quiet import LEARNING, why_not_now
from daemon.stages.merge import merges_due
from daemon.steady import Ticks
from daemon.watchers import Watchers
from daemon.watermarks import Watermarks
from registry import Definition, Job, JobState, Registry, RegistryError, delete_set_aside, passed

log = logging.getLogger(__name__)

TRIED_AGAIN_AFTER = timedelta(hours=1)  # work that failed for good or came to nothing, while nothing about it changes
DONE_KEPT = timedelta(hours=6)  # rows of finished jobs; failed ones stay for a person to see
PRUNE_EVERY_S = 600.0
IDLE_TEXTS_ROUNDS = 20  # of two thousand documents, each time something is pruned
COLLECT_EVERY_S = 3600.0
WARM_AHEAD_S = 30.0  # a worker that would wait longer than this only holds memory


@dataclass(frozen=True, slots=True)
class Due:
    """What one look at the registry found: the jobs it queued, and the topics that will be due when their definitions have settled."""

    queued: tuple[Job, ...] = ()
    settling: tuple[str, ...] = ()


def enqueue_due(
    registry: Registry, settings: Settings, now: datetime, *, settle_s: float | None = None, since: datetime | None = None
) -> Due:
    """Queues a job for every feed, document and topic that is due. What was tried before `since` counts as not tried."""
    busy = registry.read.unfinished_jobs()
    due = [name for name in registry.read.feeds_due_names(now) if key_of(POLL, name) not in busy]
    jobs: list[Job | None] = [*enqueue_polls(registry, due)]
    history = _History(registry, since)
    if key_of(EXTRACT) not in busy and (unread := pending_documents(registry)) and not history.rests(key_of(EXTRACT), set(unread), now):
        jobs.append(enqueue_extract(registry))
    settling = []
    waiting = _by_topic(pending_definitions(registry))
    relearning = to_relearn(registry)
    for topic in _most_urgent_first((*relearning, *waiting), settings.learn.first):
        definitions = waiting.get(topic, [])
        key = key_of(LEARN, topic)
        if key in busy or history.rests(key, {*(d.id for d in definitions), *relearning.get(topic, ())}, now):
            continue
        once = settle_s is not None
        settled = _settled(definitions, now, settle_s=settle_s if settle_s is not None else settings.learn.settle_s)
        if topic in relearning or (settled and (once or _enough(definitions, now, settings))):
            jobs.append(enqueue_learn(registry, topic, before_others=topic in settings.learn.first))
        else:
            settling.append(topic)
    for alias, versions in merges_due(registry, settings).items():
        key = key_of(MERGE, alias)
        # what its topics are about to learn would make it old at once
        if key not in busy and not any(key_of(LEARN, topic) in busy for topic in registry.read.alias(alias).topics):
            failed = history.failed_on(key, versions, now)
            jobs.append(None if failed else enqueue_merge(registry, alias, versions))
    return Due(tuple(job for job in jobs if job is not None), tuple(settling))


def _most_urgent_first(topics: Sequence[str], first: Sequence[str]) -> list[str]:
    return sorted(dict.fromkeys(topics), key=lambda topic: first.index(topic) if topic in first else len(first))


def _by_topic(definitions: Sequence[Definition]) -> dict[str, list[Definition]]:
    topics: dict[str, list[Definition]] = {}
    for definition in definitions:
        topics.setdefault(definition.topic, []).append(definition)
    return topics


def _enough(definitions: Sequence[Definition], now: datetime, settings: Settings) -> bool:
    """So many that a version is worth making, or one that has waited long enough for others."""
    longest = max(passed(d.created_at, now) for d in definitions)
    return len(definitions) >= settings.learn.wait_for or longest >= timedelta(seconds=settings.learn.wait_at_most_s)


def _settled(definitions: Sequence[Definition], now: datetime, *, settle_s: float) -> bool:
    return not definitions or min(passed(d.created_at, now) for d in definitions) >= timedelta(seconds=settle_s)


class _History:
    """The last end of a job. Asked for by its key, because the ends of a busy day are thousands, most of them polls."""

    def __init__(self, registry: Registry, since: datetime | None) -> None:
        self._registry, self._since = registry, since

    def rests(self, key: str, pending: set[int], now: datetime) -> bool:
        """Whether the last try at just this work failed or changed nothing, so that another one at once would only spin."""
        last = self._registry.read.last_ended(key, since=self._since)
        if last is None or last.finished_at is None or passed(last.finished_at, now) >= TRIED_AGAIN_AFTER:
            return False
        if last.state is JobState.FAILED:
            return pending <= set(last.payload.get("pending", ()))
        result = last.result or {}
        return not result.get("progressed", True) and pending <= set(result.get("left", ()))

    def failed_on(self, key: str, versions: list[str], now: datetime) -> bool:
        """Whether merging just these was given up a short while ago."""
        last = self._registry.read.last_ended(key, since=self._since)
        if last is None or last.finished_at is None or passed(last.finished_at, now) >= TRIED_AGAIN_AFTER:
            return False
        return last.state is JobState.FAILED and last.payload.get("versions") == versions


class Ticker:
    """APScheduler's part: asks again and again. `ring` wakes the workers when there is a job; `warm` is called while definitions settle."""

    def __init__(
        self, registry: Registry, settings: Settings, *, ring: Callable[[], None], warm: Callable[[], None] = lambda: None
    ) -> None:
        self._registry, self._settings = registry, settings
        self._ring, self._warm = ring, warm
        self._started_at = datetime.now(UTC)
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self._watchers = Watchers(self.folder_changed)
        self.watermarks = Watermarks(registry.home, settings.watermarks)
        self.learning_waits: str | None = None
        "Why nothing new is begun to be learnt, as of the last tick; None: it may be."
        self._texts_looked_at = 0
        self._ticks = Ticks()
        self.ticks = 0
        "How often the registry was asked and answered; the watchdog wants to see it grow."

    def start(self) -> None:
        daemon = self._settings.daemon
        often = ((self.tick, daemon.tick_s), (self._reconcile, daemon.reconcile_s), (self._prune, PRUNE_EVERY_S), *self._serving())
        for what, seconds in often:
            self._ticks.every(seconds, what)
        self._ticks.start()

    def stop(self) -> None:
        self._ticks.stop()
        self._watchers.close()

    def look_at_clock(self) -> None:
        """To be called every few seconds, and not from a tick: a clock that was set back would keep the next one away."""
        self._ticks.look()

    def _watch_room(self) -> None:
        """Learning waits while there is too little room or it is not wanted; that it does, and that it goes on, is written down once each."""
        before = self.learning_waits
        now = self.watermarks.look() or why_not_now(self._registry, self._settings, datetime.now(UTC))
        self.learning_waits = now
        if (now is None) == (before is None):
            return
        action = "learning goes on" if now is None else "learning waits"
        self._registry.write.add_event("lorefeed", action, "service", {"reason": now})
        log.warning("%s%s", action.capitalize(), f": {now}" if now else "", extra={"action": action.replace(" ", "_")})

    def tick(self) -> None:
        """One look at everything. A registry that does not answer is said and asked again; the watchdog sees that no tick was counted."""
        try:
            self._watchers.follow(
                self._registry.read.feeds(kind="folder")
            )  # not all: thousands have long cursors, and this is every second
            self._watch_room()
            self.enqueue()
            if enqueue_notify(self._registry, self._settings):
                self._ring()
        except RegistryError as err:
            log.error("The registry does not answer: %s Try: %s", err, err.hint, extra={"action": "tick_failed"})
            return
        self.ticks += 1

    def enqueue(self) -> None:
        """Queues what is due now."""
        self._poll_changed()
        now = datetime.now(UTC)
        self._started_at = min(self._started_at, now)  # by a clock that was set back since, what is tried now would count as not tried
        due = enqueue_due(self._registry, self._settings, now, since=self._started_at)
        soon = due.settling and self._settings.learn.settle_s <= WARM_AHEAD_S
        if soon or any(job.kind == LEARN for job in due.queued):
            self._warm()
        if due.queued:
            self._ring()

    def follow(self, ended: Job) -> None:
        """What the end of a job is the beginning of. After a poll that is reading alone: with thousands due, the ticks look for polls."""
        if ended.kind != POLL:
            self.enqueue()
            return
        self._poll_changed()
        brought = (ended.result or {}).get("counts", {}).get("documents", 0)
        if brought and enqueue_extract(self._registry) is not None:
            self._ring()

    def folder_changed(self, feed: str) -> None:
        """Called from a watcher's thread. What cannot be queued now, because that poll is running, is queued by a later tick."""
        with self._lock:
            self._changed.add(feed)
        self._poll_changed()

    def _poll_changed(self) -> None:
        with self._lock:
            changed = list(self._changed)
        for feed in changed:
            # A poll that is still queued will see the change; one that runs may have looked before it.
            running = any(job.key == key_of(POLL, feed) for job in self._registry.read.jobs(JobState.RUNNING))
            if not running:
                with self._lock:
                    self._changed.discard(feed)
                if enqueue_poll(self._registry, feed) is not None:
                    self._ring()

    def _reconcile(self) -> None:
        self._told(lambda: enqueue_reconcile(self._registry))

    def _serving(self) -> list[tuple[Callable[[], None], float]]:
        def ask() -> None:
            self._told(lambda: enqueue_canary(self._registry))

        def collect() -> None:
            self._told(lambda: enqueue_gc(self._registry))

        return [(ask, self._settings.canary.interval_s), (collect, COLLECT_EVERY_S)]

    def _prune(self) -> None:
        now, kept = datetime.now(UTC), self._settings.retention
        failed_before = now - timedelta(days=kept.failed_jobs_days)
        # what learning took is asked for as long as a day
        self._told(lambda: self._registry.write.prune_jobs(now - DONE_KEPT, spared=LEARNING, failed_before=failed_before))
        for folder in delete_set_aside(self._registry.home, before=now - timedelta(days=kept.set_aside_days)):
            log.info("Deleted %s, which a restore had set aside", folder, extra={"action": "set_aside_deleted"})
        if kept.idle_texts_days:
            self._told(lambda: self._give_up_texts(now - timedelta(days=kept.idle_texts_days)))

    def _give_up_texts(self, before: datetime) -> None:
        """Some at a time, so that nobody waits for the registry; what was looked at is not looked at again until the next start."""
        for _ in range(IDLE_TEXTS_ROUNDS):
            number, looked_at = self._registry.write.give_up_texts(before, after=self._texts_looked_at)
            if number:
                log.info(
                    "Gave up the texts of %d documents that taught nothing", number, extra={"action": "texts_given_up", "number": number}
                )
            if looked_at == self._texts_looked_at:
                return
            self._texts_looked_at = looked_at

    def _told(self, what: Callable[[], object]) -> None:
        try:
            if what():
                self._ring()
        except RegistryError as err:
            log.error("The registry does not answer: %s Try: %s", err, err.hint, extra={"action": "tick_failed"})
