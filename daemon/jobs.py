"""What each kind of job is: how it is asked for, what it does, and how long to wait after an error.

When a job is due is decided in scheduler.py; holding it, and what becomes of it, is in runner.py.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from daemon.config import Settings
from daemon.errors import BaseChanged, ConfigError, DaemonError, NothingWaiting, Stopped, WorkerFailed
from daemon.notify import NotTold, begin, tell, to_tell
from daemon.pipeline import learn_topic
from daemon.serving.client import EngineClient
from daemon.serving.errors import AdapterNotResident, AdapterRefused, EngineDown, EngineFailed, ServingError
from daemon.serving.reconcile import load_verified, reconcile
from daemon.serving.turns import REASON, is_asleep, wake_forgotten
from daemon.serving_jobs import ask_served, finish_collecting, reconcile_settings
from daemon.stages.base import carried_forgotten
from daemon.stages.extract import extract
from daemon.stages.ingest import poll_feed
from daemon.stages.merge import merge
from daemon.stages.report import StageReport
from daemon.teacher import Progress, Teacher
from daemon.warm import Teachers
from registry import (
    Adapter,
    ArtifactNotWritten,
    Definition,
    DefinitionState,
    DocumentState,
    FeedState,
    Job,
    NotThere,
    Registry,
    RegistryBusy,
    RegistryError,
    RegistryNotWritten,
)
from sources import SourceError, backoff_s

log = logging.getLogger(__name__)

POLL, EXTRACT, LEARN, RECONCILE, CANARY, GC, NOTIFY, MERGE = "poll", "extract", "learn", "reconcile", "canary", "gc", "notify", "merge"
_ALWAYS = 1_000_000  # attempts: what is told is told, however long nobody listens
LOOKED_AT = 100  # unread documents that are told apart: more only say that there is work
PLAIN_ERRORS = (DaemonError, RegistryError, ServingError, SourceError)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Work:
    """What a handler gets: the job, and everything it may use. `stop` is set when the service shuts down."""

    registry: Registry
    settings: Settings
    job: Job
    progress: Progress
    stop: threading.Event
    teachers: Teachers


Handler = Callable[[Work], Json]
Handlers = Mapping[str, Handler]


# Asking for a job


def key_of(kind: str, name: str = "all") -> str:
    """Names the thing that a job is about. The queue holds one unfinished job a key, whatever its kind, so the kind is part of it."""
    return f"{kind}:{name}"


def enqueue_poll(registry: Registry, feed: str) -> Job | None:
    """A poll that somebody waits for; it goes before those that are merely due."""
    return registry.write.enqueue(POLL, key=key_of(POLL, feed), payload={"feed": feed}, before_others=True)


def enqueue_polls(registry: Registry, feeds: Iterable[str]) -> list[Job]:
    return registry.write.enqueue_all(POLL, {key_of(POLL, feed): {"feed": feed} for feed in feeds})


def enqueue_extract(registry: Registry) -> Job | None:
    return registry.write.enqueue(EXTRACT, key=key_of(EXTRACT), payload={"pending": pending_documents(registry)})


def enqueue_learn(registry: Registry, topic: str, *, before_others: bool = False) -> Job | None:
    payload = {"topic": topic, "pending": sorted(learning_work(registry, topic))}
    return registry.write.enqueue(LEARN, key=key_of(LEARN, topic), payload=payload, before_others=before_others)


def enqueue_merge(registry: Registry, alias: str, versions: list[str]) -> Job | None:
    return registry.write.enqueue(MERGE, key=key_of(MERGE, alias), payload={"alias": alias, "versions": versions})


def enqueue_reconcile(registry: Registry) -> Job | None:
    return registry.write.enqueue(RECONCILE, key=key_of(RECONCILE, "engine"), payload={})


def enqueue_canary(registry: Registry) -> Job | None:
    return registry.write.enqueue(CANARY, key=key_of(CANARY), payload={})


def enqueue_gc(registry: Registry) -> Job | None:
    return registry.write.enqueue(GC, key=key_of(GC), payload={})


def enqueue_notify(registry: Registry, settings: Settings) -> Job | None:
    """If the operator's webhook has something to be told."""
    if settings.notify.url is None:
        return None
    begin(registry)
    events, _ = to_tell(registry, settings.notify)
    return registry.write.enqueue(NOTIFY, key=key_of(NOTIFY), payload={}, max_attempts=_ALWAYS) if events else None


def pending_documents(registry: Registry) -> list[int]:
    """The oldest documents that nobody has read."""
    return registry.read.document_ids(DocumentState.NEW, LOOKED_AT)


def pending_definitions(registry: Registry, topic: str | None = None) -> list[Definition]:
    """What learning has still to look at or to take."""
    states = (DefinitionState.FOUND, DefinitionState.WAITING)
    return [d for state in states for d in registry.read.definitions(topic=topic, state=state)]


def to_relearn(registry: Registry) -> dict[str, list[int]]:
    """By topic, the forgotten definitions that the version it serves had in training."""
    carried = {topic: carried_forgotten(registry, topic) for topic in registry.read.tainted_aliases()}
    return {topic: found[1] for topic, found in carried.items() if found is not None}


def learning_work(registry: Registry, topic: str) -> set[int]:
    """The definitions that a round of learning in the topic has something to do with; none: there is nothing to do."""
    return {d.id for d in pending_definitions(registry, topic)} | set(to_relearn(registry).get(topic, ()))


# What each kind does


def do_poll(work: Work) -> Json:
    """Polls one feed. That it could not be read is a value on its row; only a crash of our own is a failed job, and rests the feed too."""
    name = str(work.job.payload["feed"])
    try:
        feed = work.registry.read.feed(name)
    except NotThere:
        return {"note": f"Feed {name} was removed meanwhile"}
    if feed.state is not FeedState.ACTIVE:
        return {"note": f"Feed {name} is {feed.state.value}"}
    try:
        return _told(poll_feed(work.registry, feed, work.settings, now=datetime.now(UTC)))
    except (RegistryError, Stopped):
        raise
    except Exception as err:
        rest_feed(work.registry, name, error=describe(err))
        raise


def do_extract(work: Work) -> Json:
    return _told(extract(work.registry, work.settings))


def do_learn(work: Work) -> Json:
    """One topic's round of learning, with a worker process of its own."""
    topic = str(work.job.payload["topic"])
    with work.teachers.take(work.progress) as teacher, engine_client(work.settings) as client:

        def load_problem(adapter: Adapter) -> str | None:
            _engines_turn(work, teacher)
            return try_in_engine(work.registry, client, adapter, settings=work.settings)

        def bring_in() -> None:
            _engines_turn(work, teacher)
            reconcile_engine(work.registry, client, settings=work.settings)

        try:
            report = learn_topic(
                work.registry,
                teacher,
                work.settings,
                topic,
                progress=work.progress,
                reconcile=bring_in,
                load_problem=load_problem,
            )
        except NothingWaiting as err:
            return {"topic": topic, "note": str(err)}
    return {**asdict(replace(report, forgotten=None)), "forgotten": report.forgotten and report.forgotten.summary}


def do_merge(work: Work) -> Json:
    """The topics of an alias made into one version, by a worker process of its own."""
    alias = str(work.job.payload["alias"])
    with work.teachers.take(work.progress) as teacher, engine_client(work.settings) as client:

        def load_problem(adapter: Adapter) -> str | None:
            _engines_turn(work, teacher)
            return try_in_engine(work.registry, client, adapter, settings=work.settings)

        run = merge(work.registry, teacher, work.settings, alias, actor="daemon", load_problem=load_problem)
        _engines_turn(work, teacher)
        reconcile_engine(work.registry, client, settings=work.settings)
    return {"alias": alias, "adapter": run and run.adapter, "verdict": run and run.verdict, "reasons": run and run.reasons}


def _engines_turn(work: Work, teacher: Teacher) -> None:
    """Where learning and serving take turns, the worker gives the device back before the engine is asked; it starts again if there is more to do."""
    if work.settings.engine.sharing == "turns":
        teacher.close()


def do_reconcile(work: Work) -> Json:
    if not wake_forgotten(work.settings.home, work.settings.engine.address):
        return {"note": REASON}
    reports = {}
    for url in work.settings.engine.addresses:
        with EngineClient(url) as client:
            reports[url] = reconcile_engine(work.registry, client, settings=work.settings)
    return reports[work.settings.engine.address] | ({"replicas": reports} if len(reports) > 1 else {})


def do_canary(work: Work) -> Json:
    if is_asleep(work.settings.home):
        return {"note": REASON}
    return {"aliases": ask_served(work.registry, work.settings)}


def do_notify(work: Work) -> Json:
    return tell(work.registry, work.settings.notify)


def do_gc(work: Work) -> Json:
    if is_asleep(work.settings.home):
        return {"note": REASON}
    return finish_collecting(work.registry, work.settings)


HANDLERS: Handlers = {
    POLL: do_poll,
    EXTRACT: do_extract,
    LEARN: do_learn,
    MERGE: do_merge,
    RECONCILE: do_reconcile,
    CANARY: do_canary,
    GC: do_gc,
    NOTIFY: do_notify,
}


def engine_client(settings: Settings) -> EngineClient:
    return EngineClient(settings.engine.address)


def reconcile_engine(registry: Registry, client: EngineClient, *, settings: Settings) -> Json:
    """Makes the engine equal to the registry. An engine that is away is no failure: it is asked again soon, and heals when it returns."""
    try:
        report = reconcile(registry, client, settings=reconcile_settings(settings))
    except ServingError as err:
        level = logging.DEBUG if isinstance(err, EngineDown) else logging.WARNING
        log.log(level, "The engine was not reconciled: %s", err, extra={"action": "not_reconciled"})
        return {"problems": [describe(err)]}
    return {"loaded": list(report.loaded), "unloaded": list(report.unloaded), "kept": len(report.kept), "problems": list(report.problems)}


def try_in_engine(registry: Registry, client: EngineClient, adapter: Adapter, *, settings: Settings) -> str | None:
    """Why the engine does not take this adapter; None if it does, or if no engine can be asked. Reconcile unloads what is refused."""
    try:
        load_verified(registry, client, adapter, settings=reconcile_settings(settings))
    except EngineDown:
        return None
    except (AdapterRefused, AdapterNotResident, EngineFailed) as err:
        return str(err)
    return None


def _told(report: StageReport) -> Json:
    return {"stage": report.stage, "counts": dict(report.counts), "problems": list(report.problems)}


def rest_feed(registry: Registry, name: str, *, error: str) -> None:
    """A feed whose poll broke the program waits like one that cannot be reached; else it would be due again at once, for ever."""
    feed = registry.read.feed(name)
    wait_s = backoff_s(feed.error_count + 1, feed.interval_s)
    registry.write.record_poll_failure(feed.id, error=error, next_check_at=datetime.now(UTC) + timedelta(seconds=wait_s))


# What becomes of a job


def retry_delay_s(error: BaseException, attempt: int) -> float | None:
    """How long to wait before the next try after the `attempt`-th one failed, or None if trying again cannot help."""
    doubled = 2.0 ** min(max(attempt - 1, 0), 10)
    match error:
        case RegistryBusy():
            return 2.0 * doubled
        case RegistryNotWritten() | ArtifactNotWritten():
            return 60.0 * doubled  # a full disk: somebody has to make room
        case BaseChanged() | ConfigError() | NothingWaiting():
            return None
        case NotTold():
            return min(10.0 * doubled, 3600.0)
        case WorkerFailed():
            return 10.0 * doubled
        case RegistryError():
            return None  # a state that does not allow it, a damaged or newer file: it will say the same again
        case EngineFailed():
            return 15.0 * doubled
        case ServingError() | OSError() | MemoryError():
            return 30.0 * doubled
        case _:
            return 30.0 if attempt <= 1 else None  # a fault of ours: once more, in case it was the moment


def describe(error: BaseException) -> str:
    """The error as it stands on a row: what happened, and what to try."""
    if not isinstance(error, PLAIN_ERRORS):
        return f"{type(error).__name__}: {error}"
    message = str(error).strip()
    return f"{message if message.endswith(('.', '!', '?')) else message + '.'} Try: {error.hint}"
