"""Definitions to transfer sets: what the model says and answers about an entity when it has the definition, and the probes held out of that."""

import logging

from daemon.config import Settings
from daemon.endpoint import Endpoint
from daemon.stages.novelty import as_told
from daemon.stages.report import StageReport
from daemon.teacher import Teacher
from registry import Definition, NewProbe, NewTransferExample, Registry

log = logging.getLogger(__name__)

AT_ONCE = 12


def elicit(registry: Registry, teacher: Teacher, settings: Settings, topic: str) -> StageReport:
    """Makes the transfer set of every waiting definition that has none yet. Where nothing names the entity, the definition is held."""
    waiting = registry.read.definitions(topic=topic, state="waiting")
    have = {e.definition_id for e in registry.read.transfer_set([d.id for d in waiting])}
    lacking = [d for d in waiting if d.id not in have]
    examples = probes = held = 0
    for start in range(0, len(lacking), AT_ONCE):
        part = lacking[start : start + AT_ONCE]
        teacher.progress(0.0, f"writing about {', '.join(d.entity for d in part[:3])}{' and others' if len(part) > 3 else ''}")
        drawn = _draw(teacher, part, settings)
        for definition in part:
            made, asked = drawn[definition.id]
            if not made:
                held += 1
                registry.write.move_definitions(
                    [definition.id],
                    "held",
                    reason="The model wrote nothing that names the entity, so there is nothing to learn from.",
                    actor="daemon",
                )
                continue
            registry.write.save_probes(definition.id, asked)
            registry.write.save_transfer_set(definition.id, made)
            examples, probes = examples + len(made), probes + len(asked)
    return StageReport("elicit", {"definitions": len(lacking), "examples": examples, "probes": probes, "held": held})


def _draw(teacher: Teacher, part: list[Definition], settings: Settings) -> dict[int, tuple[list[NewTransferExample], list[NewProbe]]]:
    plan = {"samples": settings.elicit.samples, "seed": part[0].id}
    told = [as_told(d) for d in part]
    if settings.elicit.endpoint is not None:
        with Endpoint.of(settings.elicit) as endpoint:
            given = {d.id: endpoint.examples(d.entity, d.text, samples=settings.elicit.samples) for d in part}
        answer, generator = teacher.hold_out(told, examples=given, plan=plan), f"endpoint:{settings.elicit.endpoint_model}"
    else:
        answer = teacher.elicit(told, plan=plan)
        generator = answer["generator"]
    return {
        int(id_): (
            [NewTransferExample(form=e["form"], prompt=e["prompt"], text=e["text"], generator=generator) for e in made["examples"]],
            [NewProbe(kind=p["kind"], prompt=p["prompt"], target=p["target"], chat=p["chat"], origin=generator) for p in made["probes"]],
        )
        for id_, made in answer["definitions"].items()
    }
