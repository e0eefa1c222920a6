"""An adapter to a check run: asks the probes of base, adapter and the version now served, and records the verdict with every answer.

What the numbers mean, and when they refuse, is in `verdict.py` and `side_effects.py`.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from daemon.config import Settings
from daemon.learn.questions import new_things, standing_probes
from daemon.stages.base import MERGE, MERGED, answered_by, evenly, require_same_base, serving_adapter
from daemon.stages.forgotten import forgotten_questions
from daemon.stages.novelty import limit_of
from daemon.stages.side_effects import primed_questions, side_effects
from daemon.stages.verdict import Asked, Measure, judge
from daemon.teacher import Teacher
from registry import Adapter, CheckResult, CheckRun, Definition, NewCheckRun, Registry

log = logging.getLogger(__name__)

WITHOUT = "without"  # in an adapter's settings: the forgotten definitions that its topic was learnt again without
STRANGERS = 12  # things nobody has told the model, of which its novelty is measured with the adapter
Json = dict[str, Any]
LoadProblem = Callable[[Adapter], str | None]


def check(
    registry: Registry,
    teacher: Teacher,
    settings: Settings,
    adapter_name: str,
    *,
    load_problem: LoadProblem = lambda _: None,
) -> CheckRun:
    """Measures and judges one adapter, and records the run. `load_problem` says why the engine would not take it, or None."""
    started = time.monotonic()
    adapter = registry.read.adapter(adapter_name)
    require_same_base(teacher, adapter, settings)
    folder = registry.artifacts.verify(adapter)
    merged = adapter.method == MERGE
    previous = None if merged else serving_adapter(registry, adapter.topic)
    previous = None if previous is None or previous.name == adapter.name else previous
    asked = _questions(registry, adapter, settings)
    strangers = _strangers(settings.model)
    answer = teacher.check(
        adapter=folder,
        previous=registry.artifacts.verify(previous) if previous else None,
        probes=[asdict(a) for a in asked],
        strangers=strangers,
    )
    if merged:
        answer["measured"]["previous"] = _said_by_parts(registry, asked, adapter.settings[MERGED])
    named = answered_by(registry, adapter)
    known_below = limit_of(teacher, settings).threshold
    measures = [
        *judge(asked, answer, settings.check, named=named, relearnt=merged or bool(adapter.settings.get(WITHOUT))),
        *side_effects(asked, answer, settings.check, named=named, known_below=known_below),
    ]
    if problem := load_problem(adapter):
        measures.append(Measure("loads", 0.0, 1.0, True, 1, f"The engine does not take it: {problem}"))
    reasons = tuple(m.reason for m in measures if m.reason)
    run = registry.write.record_check(
        adapter.name,
        NewCheckRun(
            digest=str(adapter.digest),
            base_digest=adapter.base_digest,
            verdict="refused" if reasons else "passed",
            against=", ".join(adapter.settings[MERGED]) if merged else previous.name if previous else None,
            reasons=reasons,
            metrics={m.name: asdict(m) for m in measures},
            duration_s=time.monotonic() - started,
            recovered=next((m.value for m in measures if m.name == "learned"), None),
        ),
        _results(asked, answer),
    )
    log.info(
        "%s %s", adapter.name, run.verdict, extra={"action": "checked", "adapter": adapter.name, "verdict": run.verdict, "reasons": reasons}
    )
    return run


def _questions(registry: Registry, adapter: Adapter, settings: Settings) -> list[Asked]:
    texts: dict[int, Definition] = {d.id: d for d in registry.read.definitions(ids=[*adapter.definitions, *adapter.rehearsed])}
    own = [
        Asked(
            "learned" if p.definition_id in adapter.definitions or adapter.method == MERGE else "kept",
            p.kind,
            p.prompt,
            p.target,
            p.chat,
            texts[p.definition_id].text,
            p.candidates,
            p.definition_id,
            p.id,
        )
        for p in registry.read.probes(list(texts))
        if p.definition_id in texts
    ]
    standing = [
        Asked("skills" if p["kind"] == "skill" else "known", p["kind"], p["prompt"], p["target"], p["chat"])
        for p in standing_probes(settings.model)
    ]
    return [*own, *standing, *forgotten_questions(registry, adapter.settings.get(WITHOUT, [])), *primed_questions(own, texts)]


def _strangers(model: str) -> list[Json]:
    new = evenly(new_things(model), STRANGERS)
    return [{"id": i, "entity": row["entity"], "definition": row["definition"]} for i, row in enumerate(new)]


def _said_by_parts(registry: Registry, asked: Sequence[Asked], parts: Sequence[str]) -> list[Json | None]:
    """What the versions that were merged said to the same probes when they were checked themselves; None where they were not asked."""
    runs = [run for name in parts if (run := registry.read.newest_check(name)) is not None]
    said = {r.probe_id: r for run in runs for r in registry.read.check_results(run.id) if r.probe_id is not None}
    found = [said.get(a.probe_id) if a.probe_id is not None else None for a in asked]
    return [None if r is None else {"answer": r.answer, "right": r.passed, "nll": r.detail["nll"]["adapter"]} for r in found]


def _results(asked: Sequence[Asked], answer: Json) -> list[CheckResult]:
    """A row per question, kept for ever: what the base said and what this version says."""
    measured = answer["measured"]
    return [
        CheckResult(
            definition_id=a.definition_id,
            probe_id=a.probe_id,
            kind=a.kind,
            prompt=a.prompt,
            target=a.target,
            base_answer=measured["base"][i]["answer"],
            answer=measured["adapter"][i]["answer"],
            passed=measured["adapter"][i]["right"],
            detail={
                "group": a.group,
                "nll": {who: said[i]["nll"] for who, said in measured.items() if said[i] is not None},
                "in_context": measured["in_context"][i]["answer"],
            },
        )
        for i, a in enumerate(asked)
    ]
