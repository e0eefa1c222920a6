"""The verdict on an adapter, from what was measured: has it learnt, does it keep, does it leave the rest alone. Pure.

Measured against the base and the version now served, on the same probes in the same run. `local`, `known` and `skills` are judged as the alias
will serve the adapter, with its scope applied, and reported for the pinned adapter as well. Every refusal is a sentence with its numbers.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from daemon.sections import Check

Json = dict[str, Any]
STAND_INS = 2  # names that nobody taught, asked about beside each forgotten one


@dataclass(frozen=True, slots=True)
class Asked:
    """A probe in a check run. `group`: learned, kept, known, skills, forgotten or stand_in. `context`: the definition, for the in-context ceiling."""

    group: str
    kind: str
    prompt: str
    target: str
    chat: bool
    context: str = ""
    candidates: tuple[str, ...] = ()
    definition_id: int | None = None
    probe_id: int | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of a verdict."""

    name: str
    value: float | None
    threshold: float | None
    higher_is_better: bool
    n: int
    reason: str | None = None  # why it refuses; None: it passes or only informs


def judge(asked: Sequence[Asked], answer: Json, limits: Check, *, named: Callable[[str], bool], relearnt: bool = False) -> list[Measure]:
    """The whole verdict from what was measured. `named` says whether the alias would give a prompt to the adapter; `relearnt`, that what came
    before carried all of its definitions: the version that had something forgotten in training, or those it was merged of."""
    return [
        *_learned(asked, answer["measured"], limits),
        *_kept(asked, answer["measured"], limits, groups=("kept", "learned") if relearnt else ("kept",)),
        *(_still_gained(asked, answer["measured"]) if relearnt else []),
        *_forgotten(asked, answer["measured"], limits),
        *_local(answer["local"], limits, named),
        *_unchanged("known", "things the model knew", asked, answer["measured"], limits.known_drop_max, named),
        *_unchanged("skills", "skills", asked, answer["measured"], limits.skills_drop_max, named),
        *_healthy(answer),
    ]


def _learned(asked: Sequence[Asked], measured: Json, limits: Check) -> list[Measure]:
    at = [i for i, a in enumerate(asked) if a.group == "learned"]
    if not at:
        return [Measure("learned", None, limits.learned_min, True, 0, "There is no probe to ask what it has learnt.")]
    base, ceiling, adapter = (_mean_nll(measured[who], at) for who in ("base", "in_context", "adapter"))
    gain = base - ceiling
    recovered = (base - adapter) / gain if gain > 1e-6 else None
    right = {who: sum(measured[who][i]["right"] for i in at) / len(at) for who in ("base", "in_context", "adapter")}
    reason = None
    if recovered is None:
        reason = (
            f"Even with the definitions in context the model answers no better ({len(at)} probes): there is nothing to learn from them."
        )
    elif recovered < limits.learned_min:
        reason = (
            f"It has learnt too little: {recovered:.0%} of what the definitions in context would give, at least {limits.learned_min:.0%} is asked"
            f" ({right['adapter']:.0%} of {len(at)} new questions right, base {right['base']:.0%}, in context {right['in_context']:.0%})."
        )
    return [
        Measure("learned", recovered, limits.learned_min, True, len(at), reason),
        *(Measure(f"learned_{who}", right[who], None, True, len(at)) for who in right),
    ]


def _kept(asked: Sequence[Asked], measured: Json, limits: Check, *, groups: Sequence[str]) -> list[Measure]:
    """Of the questions about earlier definitions that the version before answered rightly, the share that is not lost.

    An answer is lost when it is wrong now and the right one has become less than half as likely: one that stood on the edge before may fall to
    either side, and nothing was forgotten. What may be lost is rounded up to whole answers: of nineteen, two are not told from one in ten.
    """
    before: list[Json] = [said or {"right": False} for said in measured.get("previous") or [None] * len(asked)]
    at = [i for i, a in enumerate(asked) if a.group in groups and before[i]["right"]]
    if not at:
        return [Measure("kept", None, limits.kept_min, True, 0)]
    adapter = measured["adapter"]
    lost = [i for i in at if not adapter[i]["right"] and adapter[i]["nll"] - before[i]["nll"] > math.log(2)]
    kept = 1 - len(lost) / len(at)
    reason = None
    if len(lost) > math.ceil((1 - limits.kept_min) * len(at) - 1e-9):
        reason = (
            f"It forgets: {kept:.0%} of {len(at)} answers of the version before are kept,"
            f" at least {limits.kept_min:.0%} is asked{_example(asked, measured, lost)}."
        )
    return [Measure("kept", kept, limits.kept_min, True, len(at), reason)]


def _still_gained(asked: Sequence[Asked], measured: Json) -> list[Measure]:
    """Of what the version before had gained on the questions about what remains, in nats a token over the base, the share that is still there."""
    before: list[Json | None] = measured.get("previous") or []
    rows = [
        (measured["base"][i], said, measured["adapter"][i])
        for i, said in enumerate(before)
        if said is not None and asked[i].group in ("kept", "learned")
    ]
    if not rows:
        return []
    # all of the same targets, whose tokens the base counts
    base, previous, adapter = (statistics.fmean(row[who]["nll"] / row[0]["tokens"] for row in rows) for who in range(3))
    gained = base - previous
    return [Measure("gain_kept", (base - adapter) / gained if gained > 1e-6 else None, None, True, len(rows))]


def _forgotten(asked: Sequence[Asked], measured: Json, limits: Check) -> list[Measure]:
    """How much more the adapter knows about a forgotten name than about names that nobody taught, as a share of the in-context gain.

    Both differences are taken against the base's, which may find one name likelier than another; what is left is the definition's trace. It
    refuses when the trace is more than allowed and more than twice its standard error.
    """
    at = [i for i, a in enumerate(asked) if a.group == "forgotten"]
    if not at:
        return []
    gain = sum(_nats(measured["base"][i]) - _nats(measured["in_context"][i]) for i in at) / len(at)
    value, error = _trace(measured["adapter"], measured["base"], at, gain)
    right = _right([measured["adapter"][i] for i in at])
    others = _right([measured["adapter"][i + 1 + k] for i in at for k in range(STAND_INS)])
    reason = None
    if value > limits.forgotten_max and value > 2 * error:
        reason = (
            f"It has not forgotten: of {len(at)} questions it answers {right:.0%} about the forgotten names and {others:.0%} about names that"
            f" nobody taught; {value:.0%} of what the definitions would give is left, at most {limits.forgotten_max:.0%} is allowed."
        )
    found = [
        Measure("forgotten", value, limits.forgotten_max, False, len(at), reason),
        Measure("forgotten_error", error, None, False, len(at)),
        Measure("forgotten_right", right, None, False, len(at)),
        Measure("forgotten_right_other_names", others, None, False, len(at) * STAND_INS),
    ]
    before = measured.get("previous")
    if before is not None:
        found.append(Measure("forgotten_before", _trace(before, measured["base"], at, gain)[0], None, False, len(at)))
    return found


def _trace(scored: Sequence[Json], base: Sequence[Json], at: Sequence[int], gain: float) -> tuple[float, float]:
    """(mean, standard error) over the questions of what is known of the real name beyond other names, beyond the base, in units of `gain`."""

    def beyond(who: Sequence[Json], i: int) -> float:
        return sum(_nats(who[i + 1 + k]) for k in range(STAND_INS)) / STAND_INS - _nats(who[i])

    traces = [(beyond(scored, i) - beyond(base, i)) / max(gain, 1e-6) for i in at]
    return statistics.fmean(traces), statistics.stdev(traces) / math.sqrt(len(traces)) if len(traces) > 1 else math.inf


def _local(rows: Sequence[Json], limits: Check, named: Callable[[str], bool]) -> list[Measure]:
    """On text that the base wrote and nobody trained on: nats a token between base and adapter, as served and pinned."""
    tokens = sum(r["tokens"] for r in rows) or 1
    pinned = sum(r["kl"] for r in rows) / tokens
    served = sum(r["kl"] for r in rows if named(r["text"])) / tokens
    agreement = sum(r["same"] if named(r["text"]) else r["tokens"] for r in rows) / tokens
    reasons = [
        _too_far(served, limits.local_kl_max, "As the alias serves it, unrelated text"),
        _too_far(pinned, limits.pinned_kl_max, "The model is broken: pinned, unrelated text"),
    ]
    return [
        Measure("local", served, limits.local_kl_max, False, len(rows), reasons[0]),
        Measure("local_agreement", agreement, None, True, len(rows)),
        Measure("pinned_local_kl", pinned, limits.pinned_kl_max, False, len(rows), reasons[1]),
        Measure("pinned_local_agreement", sum(r["same"] for r in rows) / tokens, None, True, len(rows)),
    ]


def _too_far(kl: float, allowed: float, what: str) -> str | None:
    return f"{what} moves by {kl:.3f} nats a token, at most {allowed} is allowed." if kl > allowed else None


def _unchanged(
    group: str, what: str, asked: Sequence[Asked], measured: Json, drop_max: float, named: Callable[[str], bool]
) -> list[Measure]:
    """Share of right answers as the alias serves them, against the base's."""
    at = [i for i, a in enumerate(asked) if a.group == group]
    if not at:
        return []
    base, adapter = measured["base"], measured["adapter"]
    served = [adapter[i] if named(asked[i].prompt) else base[i] for i in at]
    share = {"base": _right([base[i] for i in at]), "served": _right(served), "pinned": _right([adapter[i] for i in at])}
    drop = share["base"] - share["served"]
    reason = None
    if drop > drop_max + 1e-9:
        lost = [i for i, s in zip(at, served, strict=True) if base[i]["right"] and not s["right"]]
        reason = (
            f"It changes {what}: {share['served']:.0%} of {len(at)} right as the alias serves it,"
            f" the base {share['base']:.0%}{_example(asked, measured, lost)}."
        )
    return [
        Measure(group, share["served"], share["base"] - drop_max, True, len(at), reason),
        Measure(f"{group}_base", share["base"], None, True, len(at)),
        Measure(f"{group}_pinned", share["pinned"], None, True, len(at)),
    ]


def _healthy(answer: Json) -> list[Measure]:
    base, adapter = answer["measured"]["base"], answer["measured"]["adapter"]
    moved = any(abs(a["nll"] - b["nll"]) > 1e-4 for a, b in zip(adapter, base, strict=True))
    return [
        Measure(
            "finite",
            float(answer["finite"]),
            1.0,
            True,
            len(adapter),
            None if answer["finite"] else "It computes numbers that are not finite.",
        ),
        Measure(
            "changes_logits",
            float(moved),
            1.0,
            True,
            len(adapter),
            None if moved else "It changes nothing at all: no answer differs from the base's.",
        ),
    ]


def _example(asked: Sequence[Asked], measured: Json, lost: Sequence[int]) -> str:
    """The first lost answer, for a person to see what is meant."""
    if not lost:
        return ""
    i = lost[0]
    return f"; for example «{asked[i].prompt}» is now «{measured['adapter'][i]['answer']}», not «{asked[i].target}»"


def _mean_nll(scored: Sequence[Json], at: Sequence[int]) -> float:
    return sum(_nats(scored[i]) for i in at) / len(at)


def _nats(scored: Json) -> float:
    """A token, on average over the target."""
    return float(scored["nll"]) / int(scored["tokens"])


def _right(scored: Sequence[Json]) -> float:
    return sum(bool(s["right"]) for s in scored) / len(scored)
