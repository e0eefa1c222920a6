"""The whole flow, in order: what arrives is ingested and extracted; what is new in a topic is elicited, distilled, checked, promoted, reconciled.

Each step asks the registry what there is to do, so the flow goes on where a kill left it, and does nothing the second time.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from daemon.config import Settings
from daemon.relearn import TRIES, Relearned, relearn
from daemon.stages.base import finish_published, serving_adapter
from daemon.stages.check import LoadProblem, check
from daemon.stages.distill import RETRAIN, distill, next_batch, parent_of_next
from daemon.stages.elicit import elicit
from daemon.stages.extract import extract
from daemon.stages.ingest import ingest
from daemon.stages.novelty import assess
from daemon.stages.promote import promote
from daemon.stages.report import StageReport
from daemon.teacher import Progress, Teacher, silent
from registry import Adapter, CheckRun, Definition, DefinitionState, Registry

log = logging.getLogger(__name__)

TRIES_IF_FORGETFUL = 4  # each draws it further back towards its parent, which costs no more than a check


@dataclass(frozen=True, slots=True)
class LearnReport:
    """What one round of learning came to. `attempts` are the versions made, `reasons` why the last one was refused, `forgotten` what became of
    a version that carried what an operator had forgotten."""

    topic: str
    adapter: str | None = None
    verdict: str | None = None
    reasons: tuple[str, ...] = ()
    known: int = 0
    review: int = 0
    learned: int = 0
    released: bool = False
    attempts: tuple[str, ...] = ()
    forgotten: Relearned | None = None


@dataclass(frozen=True, slots=True)
class LearnPlan:
    """What the next learning would take: definitions to be judged for novelty, those that wait, those an operator must decide."""

    topic: str
    found: tuple[Definition, ...]
    waiting: tuple[Definition, ...]
    review: tuple[Definition, ...]
    rehearsed: int


def take_in(registry: Registry, settings: Settings, *, now: datetime) -> list[StageReport]:
    """Feeds to definitions."""
    return [ingest(registry, settings, now=now), extract(registry, settings)]


def learn_topic(
    registry: Registry,
    teacher: Teacher,
    settings: Settings,
    topic: str,
    *,
    progress: Progress = silent,
    actor: str = "daemon",
    reconcile: Callable[[], None] = lambda: None,
    load_problem: LoadProblem = lambda _: None,
) -> LearnReport:
    """Definitions to a released version, or to a refusal with its reasons."""
    _settle_unfinished(registry, teacher, settings, topic, actor=actor, load_problem=load_problem)
    rebuilt = relearn(registry, teacher, settings, topic, actor=actor, load_problem=load_problem)
    if rebuilt is not None:
        reconcile()
    teacher.progress = _within(progress, 0.0, 0.1)
    judged = assess(registry, teacher, settings, topic)
    teacher.progress = _within(progress, 0.1, 0.3)
    elicit(registry, teacher, settings, topic)
    report = LearnReport(
        topic,
        adapter=rebuilt.adapter if rebuilt else None,
        forgotten=rebuilt,
        known=judged.counts.get("known", 0),
        review=judged.counts.get("review", 0),
    )
    while batch := next_batch(registry, settings, topic):
        refused = _refused(registry, settings, topic, {d.id for d in batch})
        if len(refused) >= (TRIES_IF_FORGETFUL if _only_forgets(registry, refused) else TRIES):
            report = _give_up(registry, report, batch, actor=actor)
            continue
        teacher.progress = _within(progress, 0.3, 0.8)
        adapter = distill(registry, teacher, settings, topic, refused=refused[0] if refused else None)
        teacher.progress = _within(progress, 0.8, 1.0)
        run = check(registry, teacher, settings, adapter.name, load_problem=load_problem)
        report = replace(report, adapter=adapter.name, verdict=run.verdict, reasons=run.reasons, attempts=(*report.attempts, adapter.name))
        if run.verdict == "passed" and not registry.read.forgotten_in(adapter.name):
            promote(registry, adapter.name, actor=actor)
            reconcile()
            report = replace(report, learned=report.learned + len(adapter.definitions), released=True)
    return report


def check_adapter(
    registry: Registry, teacher: Teacher, settings: Settings, name: str, *, load_problem: LoadProblem = lambda _: None
) -> CheckRun:
    """Measures a version again, whatever its state; only a version that awaits its verdict changes state."""
    return check(registry, teacher, settings, name, load_problem=load_problem)


def plan_topic(registry: Registry, topic: str) -> LearnPlan:
    by_state = {state: tuple(registry.read.definitions(topic=topic, state=state)) for state in ("found", "waiting", "review")}
    live = registry.pages.count_definitions().get((topic, DefinitionState.LEARNED), 0)
    return LearnPlan(topic, by_state["found"], by_state["waiting"], by_state["review"], live)


def _settle_unfinished(
    registry: Registry, teacher: Teacher, settings: Settings, topic: str, *, actor: str, load_problem: LoadProblem
) -> None:
    """A version that was left between training and release is judged, and released if it is still the newest."""
    finish_published(registry)
    for adapter in reversed(registry.read.bare_adapters(topic)):
        if adapter.state == "checking":
            check(registry, teacher, settings, adapter.name, load_problem=load_problem)
    newest = registry.read.latest_adapter(topic)
    served = serving_adapter(registry, topic)
    followed = newest is not None and (newest.settings.get("strategy") == RETRAIN or newest.parent == (served.name if served else None))
    whole = newest is not None and newest.state == "passed" and followed
    if newest is not None and whole and not registry.read.forgotten_in(newest.name):
        promote(registry, newest.name, actor=actor, reason="finished after a restart")


def _refused(registry: Registry, settings: Settings, topic: str, waiting: set[int]) -> list[Adapter]:
    """The versions with exactly these definitions, on top of what the next one builds on, that were refused already, newest first."""
    below = parent_of_next(registry, settings, topic)
    parent = below.name if below else None
    tried = [a.name for a in registry.read.bare_adapters(topic) if a.state == "refused" and a.digest is not None and a.parent == parent]
    return [a for a in map(registry.read.adapter, tried) if set(a.definitions) == waiting]


def _only_forgets(registry: Registry, refused: list[Adapter]) -> bool:
    """Whether all that was found against the newest of them is that it forgets. Nearer to its parent it will forget less."""
    run = registry.read.newest_check(refused[0].name) if refused else None
    return run is not None and {name for name, measure in run.metrics.items() if measure["reason"]} == {"kept"}


def _give_up(registry: Registry, report: LearnReport, batch: list[Definition], *, actor: str) -> LearnReport:
    """The definitions are set aside with the last verdict's reasons, so that the next round is not spoilt by them too."""
    wanted = {d.id for d in batch}
    tried = (a.name for a in registry.read.bare_adapters(report.topic) if a.state == "refused" and a.digest)
    last = next(a for a in map(registry.read.adapter, tried) if set(a.definitions) == wanted)
    run = registry.read.newest_check(last.name)
    reasons = run.reasons if run is not None else ()
    registry.write.move_definitions(sorted(wanted), "refused", reason=f"{last.name} was refused: {' '.join(reasons)}", actor=actor)
    log.warning("Refused %s: %s", last.name, " ".join(reasons), extra={"action": "refused", "adapter": last.name})
    return replace(report, adapter=last.name, verdict="refused", reasons=reasons)


def _within(progress: Progress, low: float, high: float) -> Progress:
    return lambda fraction, text: progress(low + (high - low) * fraction, text)
