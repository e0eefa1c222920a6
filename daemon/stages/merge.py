"""Topics to one: an alias with several topics gets an adapter merged of their live versions, checked and released like any other.

The gateway gives it the conversations that name things of more than one topic; those that name one topic's go to that topic's own version.
Where the merged version is refused, such conversations go to the topic that is named most, as before.
"""

import importlib.metadata
import logging

from daemon.config import Settings
from daemon.stages.base import MERGE, MERGED, finish_published, require_same_base, serving_adapter
from daemon.stages.check import LoadProblem, check
from daemon.stages.promote import promote
from daemon.teacher import Teacher
from registry import Adapter, AdapterState, Alias, CheckRun, Registry

log = logging.getLogger(__name__)


def merges_due(registry: Registry) -> dict[str, list[str]]:
    """By alias, the versions that are to be merged for it: of every alias with several topics whose newest merged version is of others."""
    due = {}
    for alias in registry.read.aliases():
        parts = _parts(registry, alias) if len(alias.topics) > 1 and alias.name not in alias.topics else []
        if len(parts) > 1 and _unsettled(registry, alias, [part.name for part in parts]):
            due[alias.name] = [part.name for part in parts]
    return due


def merge(
    registry: Registry, teacher: Teacher, settings: Settings, alias_name: str, *, actor: str, load_problem: LoadProblem = lambda _: None
) -> CheckRun | None:
    """Merges, checks, and releases what passed. None where there is nothing to merge, or it was merged already."""
    alias = registry.read.alias(alias_name)
    parts = _parts(registry, alias)
    names = [part.name for part in parts]
    if len(parts) < 2 or not _unsettled(registry, alias, names):
        return None
    finish_published(registry)
    newest = registry.read.latest_adapter(alias_name)
    unjudged = newest is not None and newest.settings.get(MERGED) == names and newest.state == AdapterState.CHECKING
    adapter = newest if newest is not None and unjudged else _make(registry, teacher, settings, alias_name, parts)
    run = registry.read.newest_check(adapter.name) if adapter.state == AdapterState.PASSED else None
    run = run or check(registry, teacher, settings, adapter.name, load_problem=load_problem)
    if run.verdict == "passed":
        promote(registry, adapter.name, actor=actor)
    else:
        log.warning("%s was refused: %s", adapter.name, " ".join(run.reasons), extra={"action": "refused", "adapter": adapter.name})
    return run


def _make(registry: Registry, teacher: Teacher, settings: Settings, alias: str, parts: list[Adapter]) -> Adapter:
    for part in parts:
        require_same_base(teacher, part, settings)
    folders = [registry.artifacts.verify(part) for part in parts]
    carried = sorted({d.id for part in parts for d in registry.read.live_definitions(part.topic)})
    adapter = registry.write.begin_adapter(
        alias, parent=None, method=MERGE, base_model=settings.model, base_digest=teacher.base_digest, rank=settings.learn.merged_rank,
        definitions=(), rehearsed=carried, settings={MERGED: [part.name for part in parts]},
    )  # fmt: skip
    with registry.artifacts.making(adapter.name) as out:
        teacher.progress(0.1, f"merging {', '.join(part.name for part in parts)}")
        report = teacher.merge(adapters=folders, out=out, rank_max=settings.learn.merged_rank)
        manifest = {
            "method": MERGE,
            "merged": [{"adapter": part.name, "digest": part.digest} for part in parts],
            "base_model": settings.model,
            "base_revision": settings.revision,
            "base_digest": adapter.base_digest,
            "rehearsed": carried,
            "report": report,
            "versions": {name: importlib.metadata.version(name) for name in ("lorefeed", "torch", "transformers", "peft")},
        }
        digest = registry.artifacts.publish(out, adapter_name=adapter.name, manifest=manifest, private_key=settings.private_key)
    return registry.write.finish_learning(adapter.name, digest=digest)


def _parts(registry: Registry, alias: Alias) -> list[Adapter]:
    """The version that each topic of the alias serves."""
    serving = (serving_adapter(registry, topic) for topic in alias.topics)
    return [adapter for adapter in serving if adapter is not None]


def _unsettled(registry: Registry, alias: Alias, names: list[str]) -> bool:
    """Whether these were not merged and judged yet, or passed and are not served."""
    newest = registry.read.latest_adapter(alias.name)
    if newest is None or newest.settings.get(MERGED) != names:
        return True
    return newest.state in {AdapterState.LEARNING, AdapterState.CHECKING, AdapterState.PASSED}
