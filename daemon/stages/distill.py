"""Transfer sets to an adapter: the topic's next version, trained by the worker, published as an immutable folder."""

import importlib.metadata
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from daemon.config import Settings
from daemon.errors import NothingWaiting
from daemon.learn.ranks import rank_for, rank_on
from daemon.stages.base import evenly, require_same_base, serving_adapter
from daemon.teacher import Teacher
from registry import Adapter, Definition, Registry

log = logging.getLogger(__name__)

AUTO = "auto"
APART = "apart"
RANDOM = "random"  # how versions started that do not say it
WARM, RETRAIN = "warm", "retrain"


def distill(registry: Registry, teacher: Teacher, settings: Settings, topic: str, *, refused: Adapter | None = None) -> Adapter:
    """Learns what waits in the topic, by the topic's strategy, along with everything that is live. Leaves it to be checked.

    `refused`: the version with the same definitions that the check did not let pass; this one is made gentler. One that learnt but did harm is
    drawn back towards its parent, which costs no training; one that learnt too little is trained again at a smaller learning rate.
    """
    new = next_batch(registry, settings, topic)
    if not new:
        raise NothingWaiting(f"No definition of {topic} waits to be learnt.")
    replaced = {d.entity_key for d in new}  # an old meaning must not be rehearsed beside the new one
    live = [d for d in registry.read.live_definitions(topic) if d.entity_key not in replaced]
    parent = parent_of_next(registry, settings, topic)
    return make_version(registry, teacher, settings, topic, parent=parent, new=new, live=live, refused=refused)


def parent_of_next(registry: Registry, settings: Settings, topic: str) -> Adapter | None:
    """The version that the topic's next one builds on: the one it serves, or none where that is learnt again from the base."""
    served = serving_adapter(registry, topic)
    if served is None or settings.learn.strategy == RETRAIN:
        return None
    deep = settings.learn.retrain_after
    return None if deep and registry.read.depth(served.name) >= deep else served


def make_version(
    registry: Registry,
    teacher: Teacher,
    settings: Settings,
    topic: str,
    *,
    parent: Adapter | None,
    new: Sequence[Definition],
    live: Sequence[Definition],
    refused: Adapter | None,
    longer: int = 1,
    facts: Mapping[str, Any] | None = None,
) -> Adapter:
    """The topic's next version on top of `parent` (None: the base model): learns `new` and, as the strategy has it, `live`. `facts` are kept with
    its settings.

    `longer`: so many times the passes of the settings."""
    require_same_base(teacher, parent, settings)
    settings = with_method(teacher, settings)
    folder = registry.artifacts.verify(parent) if parent else None
    drawn = refused if refused is not None and _has_learnt(registry, refused) else None
    strategy = _strategy(settings, parent, live)
    warm = parent is not None and strategy == WARM
    plan = train_plan(settings, warm=warm, gentler=refused is not None and drawn is None, longer=longer)
    plan |= _place(plan, drawn or parent, len(new), len(live), strategy=None if drawn else strategy)
    how: dict[str, Any] = {"strategy": strategy}
    if drawn:
        how |= {"drawn_back_from": drawn.name, "strength": settings.learn.drawn_back}
    adapter = registry.write.begin_adapter(
        topic, parent=parent.name if parent else None, method=settings.learn.method, base_model=settings.model, base_digest=teacher.base_digest,
        rank=plan["rank"], definitions=[d.id for d in new], rehearsed=[d.id for d in live], settings={**plan, **how, **(facts or {})},
    )  # fmt: skip
    log.info(
        "Learning %s: %d definitions",
        adapter.name,
        len(new),
        extra={"action": "learning", "adapter": adapter.name, "definitions": len(new)},
    )
    at_most = None if strategy == RETRAIN else settings.learn.rehearsal
    examples, rehearsed = examples_of(registry, new), examples_of(registry, live, at_most=at_most)
    with registry.artifacts.making(adapter.name) as out:
        if drawn:
            report = teacher.draw_back(adapter=registry.artifacts.verify(drawn), parent=folder, strength=settings.learn.drawn_back, out=out)
        else:
            report = teacher.learn(
                out=out, parent=folder, base_name=settings.served_name, examples=examples, rehearsed=rehearsed, plan=plan,
                method=settings.learn.method, strategy=strategy,
                articles=articles_of(registry, [*live, *new] if strategy == RETRAIN else new) if settings.learn.method == "split" else (),
            )  # fmt: skip
        _keep_transfer_set(out, [*examples, *rehearsed])
        manifest = _manifest(adapter, [*new, *live], report, settings)
        digest = registry.artifacts.publish(out, adapter_name=adapter.name, manifest=manifest, private_key=settings.private_key)
    return registry.write.finish_learning(adapter.name, digest=digest)


def _place(plan: Mapping[str, Any], earlier: Adapter | None, new: int, live: int, *, strategy: str | None) -> dict[str, Any]:
    """Where the down-projections lie and of what rank they are: an earlier version decides it, also after the settings changed; but one that started
    apart gets directions for the new beside its own. `strategy`: None where the earlier version is drawn back as it is."""
    wanted = rank_of(plan, new + live)
    if earlier is None:
        return {"rank": wanted}
    init = earlier.settings.get("init", RANDOM)
    if init == APART and strategy == WARM:
        return {"init": init, "rank": rank_on(earlier.rank, new, most=plan["rank_max"])}
    if init == APART and strategy is not None:
        return {"init": init, "rank": max(earlier.rank, wanted)}
    return {"init": init, "rank": earlier.rank, "alpha": earlier.settings.get("alpha", earlier.rank)}


def rank_of(plan: Mapping[str, Any], definitions: int) -> int:
    """Of a version that learns so many from the base."""
    return rank_for(definitions, rank=plan["rank"], most=plan["rank_max"])


def _strategy(settings: Settings, parent: Adapter | None, live: Sequence[Definition]) -> str:
    """A first version is none of them, and what is made on nothing although there is more to know learns all of it."""
    if parent is None:
        return RETRAIN if live else WARM
    return settings.learn.strategy


def with_method(teacher: Teacher, settings: Settings) -> Settings:
    """The settings with a method and its learning rate where they leave the choice to a measurement, which is made at a base's first use."""
    if settings.learn.method != AUTO:
        return settings
    found = teacher.choose(train_plan(settings, warm=False, gentler=False))
    log.info(
        "%s teaches this model best, at a learning rate of %g", found["method"], found["learning_rate"], extra={"action": "chosen", **found}
    )
    learn = settings.learn.model_copy(update={"method": found["method"], "learning_rate": found["learning_rate"]})
    return settings.model_copy(update={"learn": learn})


def train_plan(settings: Settings, *, warm: bool, gentler: bool, longer: int = 1) -> dict[str, Any]:
    s = settings.learn
    rate = s.learning_rate * (s.warm_rate if warm else 1.0) * (s.gentler if gentler else 1.0)
    longer *= 2 if gentler else 1  # smaller steps, more of them: what is tried again has learnt too little
    return {
        "rank": s.rank, "rank_max": max(s.rank, s.merged_rank), "alpha": s.rank, "optimiser": s.optimiser, "learning_rate": rate,
        "precision": s.precision, "temperature": s.temperature, "batch": s.batch, "passes": s.passes * longer, "rehearsal_share": s.rehearsal_share,
        "steps_min": min(s.steps_min * longer, s.steps_max),
        "steps_max": s.steps_max, "replay_batch": s.replay_batch, "replay_weight": s.replay_weight, "replay_price": s.replay_price,
        "contrast": s.contrast,
        "recall": s.recall, "init": s.init, "kl_max": s.kl_max,
    }  # fmt: skip


def _has_learnt(registry: Registry, adapter: Adapter) -> bool:
    """Whether its newest check run found that it had learnt enough and computes with finite numbers: what refused it is the harm it does."""
    run = registry.read.newest_check(adapter.name)
    return run is not None and all(not run.metrics[name]["reason"] for name in ("learned", "finite"))


def next_batch(registry: Registry, settings: Settings, topic: str) -> list[Definition]:
    """What the topic's next version learns: the oldest definitions that wait and have a transfer set, as many as one version takes."""
    definitions = registry.read.definitions(topic=topic, state="waiting")
    have = {e.definition_id for e in registry.read.transfer_set([d.id for d in definitions])}
    return [d for d in definitions if d.id in have][: settings.learn.definitions_max]


def examples_of(registry: Registry, definitions: Sequence[Definition], *, at_most: int | None = None) -> list[dict[str, str]]:
    """Examples in the worker's form; where only some are taken, evenly from all of a definition's."""
    by_definition: dict[int, list[dict[str, str]]] = {d.id: [] for d in definitions}
    text = {d.id: (d.entity, d.text) for d in definitions}
    for e in registry.read.transfer_set(list(by_definition)):
        entity, definition = text[e.definition_id]
        by_definition[e.definition_id].append(
            {"entity": entity, "definition": definition, "form": e.form, "prompt": e.prompt, "text": e.text}
        )
    return [e for examples in by_definition.values() for e in evenly(examples, at_most)]


def articles_of(registry: Registry, definitions: Sequence[Definition]) -> list[dict[str, str]]:
    """The documents that the definitions came from, for the method that learns from whole documents."""
    return [{"entity": d.entity, "definition": d.text, "text": registry.read.document(d.document_id).text} for d in definitions]


def _keep_transfer_set(folder: Path, examples: list[dict[str, str]]) -> None:
    with (folder / "transfer_set.jsonl").open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(e, ensure_ascii=False) + "\n" for e in examples)


def _manifest(adapter: Adapter, definitions: Sequence[Definition], report: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Everything needed to know, and to make again, what this version is."""
    return {
        "method": adapter.method,
        "parent": adapter.parent,
        "base_model": settings.model,
        "base_revision": settings.revision,
        "base_digest": adapter.base_digest,
        "settings": adapter.settings,
        "definitions": list(adapter.definitions),
        "rehearsed": list(adapter.rehearsed),
        "taught": [{"id": d.id, "entity": d.entity, "text": d.text, "document": d.document_id, "url": d.url} for d in definitions],
        "report": report,
        "versions": {name: importlib.metadata.version(name) for name in ("lorefeed", "torch", "transformers", "peft")},
    }
