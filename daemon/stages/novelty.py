"""Definitions to those worth learning: what the served model knows already is recorded as known and not trained."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from daemon.config import Settings
from daemon.stages.base import answered_by, require_same_base, serving_adapter
from daemon.stages.report import StageReport
from daemon.teacher import Teacher
from registry import Adapter, Definition, DefinitionState, Registry

log = logging.getLogger(__name__)

AT_ONCE = 32
_STANDING = {DefinitionState.LEARNED, DefinitionState.KNOWN, DefinitionState.WAITING, DefinitionState.REVIEW, DefinitionState.HELD}


def assess(registry: Registry, teacher: Teacher, settings: Settings, topic: str) -> StageReport:
    """Measures every definition of the topic whose novelty is unknown, against what the topic's alias would answer about it."""
    found = registry.read.definitions(topic=topic, state="found")
    counts: dict[str, int] = {}
    if found:
        served = serving_adapter(registry, topic)
        require_same_base(teacher, served, settings)
        limit = limit_of(teacher, settings)
        for part, version in by_who_answers(registry, found, served):
            folder = registry.artifacts.verify(version) if version else None
            for start in range(0, len(part), AT_ONCE):
                some = part[start : start + AT_ONCE]
                novelty, too_long = teacher.novelty([as_told(d) for d in some], adapter=folder)
                for definition in some:
                    state, reason = decide(registry, definition, novelty.get(definition.id), too_long.get(definition.id), limit)
                    registry.write.set_novelty(
                        definition.id,
                        novelty=novelty.get(definition.id),
                        model_digest=version.digest if version else teacher.base_digest,
                        state=state,
                        reason=reason,
                    )
                    counts[state] = counts.get(state, 0) + 1
                    if state is DefinitionState.WAITING:
                        _retire_unlearnt(registry, definition)
    return StageReport("novelty", counts)


def by_who_answers(
    registry: Registry, found: Sequence[Definition], served: Adapter | None
) -> list[tuple[list[Definition], Adapter | None]]:
    """The definitions whose entity the alias gives to the served version, and those that the base answers for.

    An adapter answers boldly about what it has never heard of, so that new things look known to it; but nobody will ask it about them.
    """
    if served is None:
        return [(list(found), None)]
    is_given = answered_by(registry, served)
    given = [any(is_given(name) for name in (d.entity, *d.aliases)) for d in found]
    parts = [
        ([d for d, one in zip(found, given, strict=True) if one is wanted], version) for wanted, version in ((True, served), (False, None))
    ]
    return [(part, version) for part, version in parts if part]


def _retire_unlearnt(registry: Registry, newer: Definition) -> None:
    """An older definition of the same entity that was never learnt gives way at once; a learnt one does when the newer one is released."""
    if newer.supersedes is None:
        return
    older = registry.read.definition(newer.supersedes)
    if older.state in {DefinitionState.FOUND, DefinitionState.WAITING}:
        reason = f"Definition {newer.id} of the same source took its place before it was learnt."
        registry.write.move_definitions([older.id], DefinitionState.SUPERSEDED, reason=reason, actor="daemon")


@dataclass(frozen=True, slots=True)
class Limit:
    """Nats a token below which a definition is known, and where the number comes from."""

    threshold: float
    source: str


def limit_of(teacher: Teacher, settings: Settings) -> Limit:
    if settings.novelty.threshold is not None:
        return Limit(settings.novelty.threshold, "novelty.threshold")
    threshold, told_apart = teacher.calibrate()
    log.info("new is what exceeds %.3f nats a token; measured on the model, it tells new from known in %.0f%%", threshold, 100 * told_apart)
    return Limit(threshold, "measured on this model")


def decide(
    registry: Registry, definition: Definition, novelty: float | None, too_long: str | None, limit: Limit
) -> tuple[DefinitionState, str | None]:
    """What becomes of a definition, and why. An operator decides what a feed under review says, and what contradicts another source."""
    if novelty is None:
        return DefinitionState.HELD, too_long
    if novelty < limit.threshold:
        reason = f"The model says the same without it: {novelty:.3f} nats a token, new is from {limit.threshold:.3f} ({limit.source})."
        return DefinitionState.KNOWN, reason
    same_name = (d for d in registry.read.definitions(topic=definition.topic, state=DefinitionState.FORGOTTEN))
    forgotten = next((d for d in same_name if d.entity_key == definition.entity_key), None)
    if forgotten is not None:
        return (
            DefinitionState.REVIEW,
            f"{forgotten.entity} was forgotten ({forgotten.reason}); an operator decides whether it may come back.",
        )
    if definition.supersedes is not None:
        older = registry.read.definition(definition.supersedes)
        if older.feed != definition.feed and older.state in _STANDING:
            return DefinitionState.REVIEW, f"{definition.feed} contradicts {older.feed}, which says: {older.text}"
    if registry.read.feed(definition.feed).trust == "review":
        return DefinitionState.REVIEW, f"What {definition.feed} says waits for an operator (trust = review)."
    return DefinitionState.WAITING, None


def as_told(definition: Definition) -> dict[str, Any]:
    return {"id": definition.id, "entity": definition.entity, "definition": definition.text}
