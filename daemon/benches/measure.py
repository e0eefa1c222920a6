"""What an adapter (or the base, or the base reading the definitions) answers to a bench's probes, and the figures made of it."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from daemon.benches.sets import OWN_KINDS, Probe, Taught
from daemon.learn import data, score
from daemon.learn.models import Base
from daemon.mentions import NameFinder

Json = dict[str, Any]


def own(
    base: Base, definitions: Sequence[Taught], probes: Sequence[Probe], *, adapter: str | None = None, in_context: bool = False
) -> Json:
    """By probe id: [mean NLL of the target's tokens, 1 if the greedy answer is right, 1 if the right candidate was chosen or null]."""
    told = {d.id: d.definition for d in definitions}
    asks = [score.Ask(p.prompt, p.target, p.chat, told[str(p.definition_id)], p.candidates) for p in probes]
    nll = [one.mean for one in score.likelihoods(base, asks, adapter=adapter, in_context=in_context)]
    said = score.answers(base, asks, adapter=adapter, in_context=in_context)
    chosen = score.choices(base, asks, adapter=adapter, in_context=in_context)
    return {
        p.id: [round(n, 5), int(score.says(a, p.target)), None if c is None else int(c == p.target)]
        for p, n, a, c in zip(probes, nll, said, chosen, strict=True)
    }


def unrelated(base: Base, probes: Sequence[Probe], held_out: Sequence[Sequence[int]], before: Json | None, *, adapter: str | None) -> Json:
    """What must stay: by probe id [mean NLL, right, the answer]; KL from the base on these probes and on generic text, nats a token.

    `before` is what the base itself gave; None measures the base.
    """
    asks = [score.Ask(p.prompt, p.target, p.chat) for p in probes]
    nll = [one.mean for one in score.likelihoods(base, asks, adapter=adapter)]
    said = score.answers(base, asks, adapter=adapter)
    rows = [[*data.prefix(base.tokenizer, a.form, a.prompt), *data.target_ids(base.tokenizer, a.form, a.target)] for a in asks]
    local = [r for r, p in zip(rows, probes, strict=True) if p.kind == "locality"]
    return {
        "probes": {p.id: [round(n, 5), int(score.says(a, p.target)), a, p.kind] for p, n, a in zip(probes, nll, said, strict=True)},
        "agreement": None
        if before is None
        else {p.id: int(score.says(a, before["probes"][p.id][2])) for p, a in zip(probes, said, strict=True)},
        "locality_kl": _kl(base, local, adapter),
        "generic_kl": _kl(base, held_out, adapter),
    }


def _kl(base: Base, rows: Sequence[Sequence[int]], adapter: str | None) -> float | None:
    if not rows:
        return None
    if adapter is None:
        return 0.0
    found = score.distances(base, rows, adapter=adapter)
    return sum(d.kl for d in found) / max(1, sum(d.tokens for d in found))


def figures(own_probes: Sequence[Probe], runs: Sequence[Json], base: Json, ceiling: Json) -> Json:
    """The contract's figures from the runs of all groups: `runs` hold `own`, `unrelated`, `seconds`, `peak_memory_bytes`, `steps`.

    They are of the pinned adapter, as the scope `always` serves it.
    """
    answers = {id_: value for run in runs for id_, value in run["own"].items()}
    asked = [p for p in own_probes if p.id in answers]
    result = {
        **_of(asked, answers),
        "recovered": recovered(asked, answers, base, ceiling),
        "by_kind": {
            kind: {**_of(some, answers), "recovered": recovered(some, answers, base, ceiling), "n": len(some)}
            for kind in OWN_KINDS
            if (some := [p for p in asked if p.kind == kind])
        },
        **_unrelated([run["unrelated"] for run in runs]),
    }
    seconds = sum(run["seconds"] for run in runs)
    peaks = [run["peak_memory_bytes"] for run in runs if run["peak_memory_bytes"] is not None]
    definitions = len({p.definition_id for p in asked})
    return {
        **result,
        "seconds": seconds,
        "seconds_per_definition": seconds / max(1, definitions),
        "peak_memory_bytes": max(peaks, default=None),
        "steps": sum(run["steps"] for run in runs),
    }


def _of(probes: Sequence[Probe], answers: Json) -> Json:
    if not probes:
        return {"target_ppl": None, "target_ppl_macro": None, "accuracy": None, "exact_match": None}
    by_definition: dict[str | None, list[float]] = {}
    for p in probes:
        by_definition.setdefault(p.definition_id, []).append(answers[p.id][0])
    chosen = [answers[p.id][2] for p in probes if answers[p.id][2] is not None]
    return {
        "target_ppl": math.exp(fmean(answers[p.id][0] for p in probes)),
        "target_ppl_macro": math.exp(fmean(fmean(values) for values in by_definition.values())),
        "accuracy": fmean(chosen) if chosen else None,
        "exact_match": fmean(answers[p.id][1] for p in probes),
    }


def recovered(probes: Sequence[Probe], answers: Json, base: Json, ceiling: Json) -> float | None:
    """(NLL_base - NLL_method) / (NLL_base - NLL_in_context); None where the context gains nothing."""
    before, after, best = (sum(found[p.id][0] for p in probes) for found in (base, answers, ceiling))
    gain = before - best
    return (before - after) / gain if gain > 1e-6 * max(1, len(probes)) else None


def by_mention(own_probes: Sequence[Probe], rest: Sequence[Probe], runs: Sequence[Json], before: Json, ceiling: Json) -> Json:
    """The same figures where the adapter answers only what names something it was taught, and the base all else.

    `runs` also hold `names`, what each adapter was taught; `before` is what the base gave to all. `coverage` is the share of questions about
    what was taught that reach the adapter, `locality` the share of all other questions that do not.
    """
    answers, reached, left, kept = dict[str, Any](), 0, list[bool](), list[Json]()
    for run in runs:
        finder = NameFinder(run["names"])
        asked = [p for p in own_probes if p.id in run["own"]]
        named = {p.id for p in asked if finder.find(p.prompt)}
        reached += len(named)
        answers |= {p.id: (run if p.id in named else before)["own"][p.id] for p in asked}
        strange = {p.id for p in rest if not finder.find(p.prompt)}
        left += [p.id in strange for p in rest]
        probes = {p.id: (before if p.id in strange else run)["unrelated"]["probes"][p.id] for p in rest}
        kept.append({"probes": probes})
    asked = [p for p in own_probes if p.id in answers]
    return {
        "coverage": reached / len(asked),
        "locality": fmean(left) if left else None,
        "exact_match": _of(asked, answers)["exact_match"],
        "recovered": recovered(asked, answers, before["own"], ceiling),
        "locality_accuracy": _right(kept, "locality"),
        "skill_accuracy": _right(kept, "skill"),
    }


def _right(found: Sequence[Json], kind: str) -> float | None:
    return _mean([v[1] for f in found for v in f["probes"].values() if v[3] == kind])


def _unrelated(found: Sequence[Json]) -> Json:
    """Means over the groups' adapters."""
    local = [v for f in found for v in f["probes"].values() if v[3] == "locality"]
    agree = [a for f in found for id_, a in (f["agreement"] or {}).items() if f["probes"][id_][3] == "locality"]
    return {
        "locality_ppl": math.exp(fmean(v[0] for v in local)) if local else None,
        "locality_kl": _mean([f["locality_kl"] for f in found]),
        "locality_agreement": fmean(agree) if agree else (1.0 if local else None),
        "locality_accuracy": _right(found, "locality"),
        "skill_accuracy": _right(found, "skill"),
        "generic_kl": _mean([f["generic_kl"] for f in found]),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    kept = [v for v in values if v is not None]
    return fmean(kept) if kept else None
