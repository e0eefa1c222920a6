"""Learns a topic again without what was forgotten. Base weights never change, so this is exact: what remains is learnt on top of a version
that never had the forgotten definitions in training.

The new version is checked like any other, and asked for what was forgotten. If its check refuses it twice, the topic goes back to the clean
version as it is: what was forgotten goes in any case, and what else is lost is held for an operator.
"""

import logging
from dataclasses import dataclass
from typing import Any

from daemon.carriers import give_up_carriers
from daemon.config import Settings
from daemon.stages.base import carried_forgotten
from daemon.stages.check import WITHOUT, LoadProblem, check
from daemon.stages.distill import make_version
from daemon.stages.promote import promote
from daemon.teacher import Teacher
from registry import Adapter, AdapterState, CheckRun, Definition, Registry

log = logging.getLogger(__name__)

TRIES = 2  # the second one is gentler, or longer where it is the rest that it does not know well enough
# What remains was learnt in the company of what was forgotten, and over several versions perhaps: in fewer steps it would be known less well.
LONGER = 2


@dataclass(frozen=True, slots=True)
class Relearned:
    """`before` carried the `forgotten` definitions; `adapter` is served now (None: the base model). `run`: the check of the version that was
    learnt without them, None where nothing had to be learnt. `held`: definitions that were lost with the versions that carried them."""

    before: str
    forgotten: tuple[int, ...]
    adapter: str | None
    run: CheckRun | None
    held: tuple[int, ...] = ()

    @property
    def summary(self) -> dict[str, Any]:
        """As scripts and job rows read it."""
        run = self.run
        check = None if run is None else {"adapter": run.adapter, "verdict": run.verdict, "reasons": run.reasons, "metrics": run.metrics}
        return {"before": self.before, "definitions": self.forgotten, "adapter": self.adapter, "check": check, "held": self.held}


def relearn(
    registry: Registry, teacher: Teacher, settings: Settings, topic: str, *, actor: str, load_problem: LoadProblem = lambda _: None
) -> Relearned | None:
    """Replaces the version that the topic serves if it had something forgotten in training; None if it had not."""
    found = carried_forgotten(registry, topic)
    if found is None:
        return None
    serving, forgotten = found
    clean = registry.read.clean_ancestor(serving.name)
    kept = registry.read.carried(clean.name) if clean else set()
    live = registry.read.live_definitions(topic)
    lost = [d for d in live if d.id not in kept]
    run = None
    if lost:
        teacher.progress(0.0, f"learning {topic} without what was forgotten")
        rehearsed = [d for d in live if d.id in kept]
        run = _passing(registry, teacher, settings, topic, clean, lost, rehearsed, forgotten, load_problem=load_problem)
    why = f"without definition{'s' if len(forgotten) > 1 else ''} {', '.join(map(str, forgotten))}, forgotten"
    if run is not None and run.verdict == "passed":
        promote(registry, run.adapter, actor=actor, reason=why)
        adapter: str | None = run.adapter
    else:
        release = registry.write.rollback(topic, to=None, actor=actor, reason=why)  # passes over versions that carry it
        adapter = release.to_adapter
    _move_others(registry, topic, adapter if run is not None and run.verdict == "passed" else None, actor=actor, why=why)
    give_up_carriers(registry, forgotten, actor=actor)
    held = tuple(d.id for d in registry.read.definitions(ids=[d.id for d in lost]) if d.state == "held")
    log.info(
        "%s serves %s instead of %s, %s", topic, adapter or "the base model", serving.name, why,
        extra={"action": "relearnt", "topic": topic, "adapter": adapter, "definitions": forgotten},
    )  # fmt: skip
    return Relearned(serving.name, tuple(forgotten), adapter, run, held)


def _move_others(registry: Registry, topic: str, released: str | None, *, actor: str, why: str) -> None:
    """Aliases of other names that serve a version of the topic which may not be served any more."""
    for alias in registry.read.aliases():
        if alias.adapter is not None and alias.adapter.startswith(f"{topic}@") and registry.read.forgotten_in(alias.adapter):
            if released is not None:
                registry.write.promote(alias.name, released, actor=actor, reason=why)
            else:
                registry.write.rollback(alias.name, to=None, actor=actor, reason=why)


def _passing(
    registry: Registry,
    teacher: Teacher,
    settings: Settings,
    topic: str,
    parent: Adapter | None,
    new: list[Definition],
    rehearsed: list[Definition],
    forgotten: list[int],
    *,
    load_problem: LoadProblem,
) -> CheckRun:
    """The check of a version without the forgotten definitions: of one that a killed daemon left, or of a new one, or of a second try."""
    tried = [registry.read.adapter(a.name) for a in registry.read.bare_adapters(topic) if a.settings.get(WITHOUT) == forgotten]
    tries = [a for a in tried if set(a.definitions) == {d.id for d in new}]
    made = next((a for a in tries if a.state == AdapterState.PASSED), None)
    run = registry.read.newest_check(made.name) if made else None
    refused = [a for a in tries if a.state == AdapterState.REFUSED and a.digest is not None]
    while run is None or (run.verdict == "refused" and len(refused) < TRIES):
        if len(refused) >= TRIES:  # a daemon was killed between the second refusal and going back
            run = registry.read.newest_check(refused[0].name)
            assert run is not None
            break
        before = run or (registry.read.newest_check(refused[0].name) if refused else None)
        short = before is not None and bool(before.metrics["kept"]["reason"])
        made = make_version(
            registry, teacher, settings, topic, parent=parent, new=new, live=rehearsed, refused=refused[0] if refused and not short else None,
            longer=LONGER * (2 if short else 1), facts={WITHOUT: forgotten},
        )  # fmt: skip
        run = check(registry, teacher, settings, made.name, load_problem=load_problem)
        if run.verdict == "refused":
            refused.insert(0, registry.read.adapter(made.name))
    return run
