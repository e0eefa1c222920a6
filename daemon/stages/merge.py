"""Topics to one: an alias with several topics gets one adapter that knows what their live versions do, checked and released like any other.

The gateway gives it the conversations that name things of more than one topic; those that name one topic's go to that topic's own version.
It learns all that they know from the base, or is merged of them where `learn.merged_by` says so and the check takes it. Where it is refused, such
conversations go to the topic that is named most.
"""

import importlib.metadata
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from daemon.config import Settings
from daemon.stages.base import MERGE, MERGED, finish_published, require_same_base, serving_adapter
from daemon.stages.check import LoadProblem, check
from daemon.stages.distill import RETRAIN, articles_of, examples_of, rank_of, train_plan, with_method
from daemon.stages.promote import promote
from daemon.teacher import Teacher
from registry import Adapter, AdapterState, Alias, CheckRun, Definition, Registry

log = logging.getLogger(__name__)

WAY = "way"  # in a merged adapter's settings: how it was made
FIRST_WAY = "sum"  # of those that do not say it


def merges_due(registry: Registry, settings: Settings) -> dict[str, list[str]]:
    """By alias, the versions that are to be merged for it: of every alias with several topics whose newest merged version is of others."""
    due = {}
    for alias in registry.read.aliases():
        parts = _parts(registry, alias) if len(alias.topics) > 1 and alias.name not in alias.topics else []
        names = [part.name for part in parts]
        if len(parts) > 1 and _ways_left(registry, settings, alias.name, names):
            due[alias.name] = names
    return due


def merge(
    registry: Registry, teacher: Teacher, settings: Settings, alias_name: str, *, actor: str, load_problem: LoadProblem = lambda _: None
) -> CheckRun | None:
    """Merges, checks, and releases what passed. None where there is nothing to merge, or it was merged already."""
    parts = _parts(registry, registry.read.alias(alias_name))
    names = [part.name for part in parts]
    if len(parts) < 2:
        return None
    finish_published(registry)
    run = None
    for way in _ways_left(registry, settings, alias_name, names):
        newest = registry.read.latest_adapter(alias_name)
        begun = newest is not None and _is_of(newest, names) and newest.state in {AdapterState.CHECKING, AdapterState.PASSED}
        adapter = newest if newest is not None and begun else _make(registry, teacher, settings, alias_name, parts, way)
        run = registry.read.newest_check(adapter.name) if adapter.state == AdapterState.PASSED else None
        run = run or check(registry, teacher, settings, adapter.name, load_problem=load_problem)
        if run.verdict == "passed":
            promote(registry, adapter.name, actor=actor)
            return run
        log.warning("%s was refused: %s", adapter.name, " ".join(run.reasons), extra={"action": "refused", "adapter": adapter.name})
    return run


def _make(registry: Registry, teacher: Teacher, settings: Settings, alias: str, parts: list[Adapter], way: str) -> Adapter:
    for part in parts:
        require_same_base(teacher, part, settings)
    folders = [registry.artifacts.verify(part) for part in parts]
    live = {d.id: d for part in parts for d in registry.read.live_definitions(part.topic)}
    # more directions than it takes to tell so many apart are more ways to move what was known
    rank = rank_of(train_plan(settings, warm=False, gentler=False), len(live)) if way == RETRAIN else settings.learn.merged_rank
    adapter = registry.write.begin_adapter(
        alias, parent=None, method=MERGE, base_model=settings.model, base_digest=teacher.base_digest, rank=rank,
        definitions=(), rehearsed=sorted(live), settings={MERGED: [part.name for part in parts], WAY: way},
    )  # fmt: skip
    with registry.artifacts.making(adapter.name) as out:
        teacher.progress(0.1, f"merging {', '.join(part.name for part in parts)}")
        if way == RETRAIN:
            report = _retrained(registry, teacher, settings, list(live.values()), rank, out)
        else:
            report = teacher.merge(adapters=folders, out=out, rank_max=rank, way=way)
        manifest = {
            "method": MERGE,
            "merged": [{"adapter": part.name, "digest": part.digest} for part in parts],
            "way": way,
            "base_model": settings.model,
            "base_revision": settings.revision,
            "base_digest": adapter.base_digest,
            "rehearsed": sorted(live),
            "report": report,
            "versions": {name: importlib.metadata.version(name) for name in ("lorefeed", "torch", "transformers", "peft")},
        }
        digest = registry.artifacts.publish(out, adapter_name=adapter.name, manifest=manifest, private_key=settings.private_key)
    return registry.write.finish_learning(adapter.name, digest=digest)


def _retrained(
    registry: Registry, teacher: Teacher, settings: Settings, live: Sequence[Definition], rank: int, out: Path
) -> dict[str, Any]:
    settings = with_method(teacher, settings)
    return teacher.learn(
        out=out, parent=None, base_name=settings.served_name, examples=examples_of(registry, live), method=settings.learn.method,
        plan=train_plan(settings, warm=False, gentler=False) | {"rank": rank},
        articles=articles_of(registry, live) if settings.learn.method == "split" else (),
    )  # fmt: skip


def _parts(registry: Registry, alias: Alias) -> list[Adapter]:
    """The version that each topic of the alias serves."""
    serving = (serving_adapter(registry, topic) for topic in alias.topics)
    return [adapter for adapter in serving if adapter is not None]


def _ways_left(registry: Registry, settings: Settings, alias: str, names: list[str]) -> list[str]:
    """The ways of merging these that were neither refused yet nor came to a version that is or was served; the wanted one first."""
    wanted = list(dict.fromkeys((settings.learn.merged_by, RETRAIN)))
    newest = registry.read.latest_adapter(alias)
    if newest is None or not _is_of(newest, names):
        return wanted
    if newest.state not in {AdapterState.LEARNING, AdapterState.CHECKING, AdapterState.PASSED, AdapterState.REFUSED}:
        return []
    made = [a for a in registry.read.bare_adapters(alias) if _is_of(a, names) and a.state == AdapterState.REFUSED and a.digest is not None]
    refused = {a.settings.get(WAY, FIRST_WAY) for a in made}
    return [way for way in wanted if way not in refused]


def _is_of(adapter: Adapter, names: list[str]) -> bool:
    return adapter.settings.get(MERGED) == names
