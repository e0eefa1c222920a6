"""What an adapter does beyond its subject: it tells strangers what it has learnt, takes the new for known, or says things twice. Pure.

Asked about as the alias will serve it, and reported for the pinned adapter as well. Priming after arXiv 2504.09522; its ratio of probabilities
explodes where the first is tiny, so the logarithm and the absolute change are reported, and answers are what refuses.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from daemon.sections import Check
from daemon.stages.base import evenly
from daemon.stages.forgotten import stand_in
from daemon.stages.verdict import Asked, Measure
from registry import Definition

Json = dict[str, Any]
PRIMED = "primed"
PRIMED_QUESTIONS = 24
_RUN = 3  # words that make a repetition when they come twice


def primed_questions(asked: Sequence[Asked], definitions: Mapping[int, Definition]) -> list[Asked]:
    """Some of the questions about what was learnt, put about names that nobody has heard of: the theme without its subject."""
    learnt = [(a, definitions[a.definition_id].entity) for a in asked if a.group == "learned" and a.definition_id is not None]
    fitting = [(a, name) for a, name in learnt if name in a.prompt and name not in a.target]
    return [
        replace(a, group=PRIMED, prompt=a.prompt.replace(name, stand_in(name, 0)), context="", probe_id=None)
        for a, name in evenly(fitting, PRIMED_QUESTIONS)
    ]


def side_effects(asked: Sequence[Asked], answer: Json, limits: Check, *, named: Callable[[str], bool], known_below: float) -> list[Measure]:
    """`named` says whether the alias would give a text to the adapter, `known_below` from which novelty on a thing is new."""
    return [
        *_primed(asked, answer["measured"], limits, named),
        *_overconfident(answer["strangers"], limits, named, known_below),
        *_repeating(asked, answer["measured"], limits),
    ]


def _primed(asked: Sequence[Asked], measured: Json, limits: Check, named: Callable[[str], bool]) -> list[Measure]:
    """How much more often than the base it gives strangers the answers that it has learnt."""
    at = [i for i, a in enumerate(asked) if a.group == PRIMED]
    if not at:
        return []
    base, adapter = [measured["base"][i] for i in at], [measured["adapter"][i] for i in at]
    told = [bool(after["right"]) and not before["right"] for before, after in zip(base, adapter, strict=True)]
    served = [one and named(asked[i].prompt) for one, i in zip(told, at, strict=True)]
    reason = None
    if sum(served) > math.ceil(limits.primed_max * len(at) - 1e-9):
        i = at[served.index(True)]
        reason = (
            f"It tells strangers what it has learnt: in {sum(served)} of {len(at)} questions about names that nobody knows;"
            f" for example «{asked[i].prompt}» is now «{measured['adapter'][i]['answer']}»."
        )
    likelier = [before["nll"] - after["nll"] for before, after in zip(base, adapter, strict=True)]
    change = [math.exp(-after["nll"]) - math.exp(-before["nll"]) for before, after in zip(base, adapter, strict=True)]
    return [
        Measure("primed", sum(served) / len(at), limits.primed_max, False, len(at), reason),
        Measure("pinned_primed", sum(told) / len(at), None, False, len(at)),
        Measure("pinned_priming_log_ratio", statistics.fmean(likelier), None, False, len(at)),
        Measure("pinned_priming_change", statistics.fmean(change), None, False, len(at)),
    ]


def _overconfident(strangers: Sequence[Json], limits: Check, named: Callable[[str], bool], known_below: float) -> list[Measure]:
    """Of things that nobody has told it, the share that it would take for known: they would never be learnt."""
    if not strangers:
        return []
    known = [one["entity"] for one in strangers if one["novelty"] < known_below]
    served = [name for name in known if named(name)]
    reason = None
    if len(served) > math.ceil(limits.overconfident_max * len(strangers) - 1e-9):
        reason = (
            f"It takes {len(served)} of {len(strangers)} things for known that nobody has told it, such as {served[0]}:"
            " it answers about them as if it knew."
        )
    return [
        Measure("overconfident", len(served) / len(strangers), limits.overconfident_max, False, len(strangers), reason),
        Measure("pinned_overconfident", len(known) / len(strangers), None, False, len(strangers)),
    ]


def _repeating(asked: Sequence[Asked], measured: Json, limits: Check) -> list[Measure]:
    """Share of the answers about what it has learnt that say the same three words twice."""
    at = [i for i, a in enumerate(asked) if a.group in ("learned", "kept", PRIMED)]
    if not at:
        return []
    count = {who: sum(_says_twice(measured[who][i]["answer"]) for i in at) for who in ("base", "adapter")}
    reason = None
    if count["adapter"] - count["base"] > math.ceil(limits.repeating_max * len(at) - 1e-9):
        i = next(i for i in at if _says_twice(measured["adapter"][i]["answer"]))
        reason = (
            f"It repeats itself in {count['adapter']} of {len(at)} answers, the base in {count['base']};"
            f" for example «{asked[i].prompt}» is now «{measured['adapter'][i]['answer']}»."
        )
    return [
        Measure("repeating", count["adapter"] / len(at), count["base"] / len(at) + limits.repeating_max, False, len(at), reason),
        Measure("repeating_base", count["base"] / len(at), None, False, len(at)),
    ]


def _says_twice(text: str) -> bool:
    words = text.lower().split()
    runs = [tuple(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1)]
    return len(set(runs)) < len(runs)
