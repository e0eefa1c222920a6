"""The small sweep behind `learn.method = "auto"`: a few made-up things are taught to a base that nobody has measured yet, by each method at a few
learning rates, and the method that learns most inside the budget is taken. Made once for a base, and kept.

`lorefeed bench knowledge` is the same question asked thoroughly.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from daemon.learn import recall, replay, score
from daemon.learn.budget import BUDGET, best
from daemon.learn.data import CHAT_FORM, Example
from daemon.learn.elicit import ElicitPlan, Told, cloze, elicit, hold_out
from daemon.learn.errors import LearnError, NotFinite, NothingToLearn
from daemon.learn.methods import Lesson, learn
from daemon.learn.models import Base, drop_adapter
from daemon.learn.questions import new_things, standing_probes
from daemon.learn.train import Progress, TrainPlan

Json = dict[str, Any]

CANDIDATES = ("context", "split", "etcon", "finetune_transfer")
RATES = (0.3, 1.0)  # of the configured learning rate
THINGS, SAMPLES, GENERIC_ROWS, ADAPTER = 6, 8, 40, "choosing"


@dataclass(frozen=True, slots=True)
class Choice:
    """The method and its learning rate, how much of the in-context gain it recovered, and every run that it was chosen from."""

    method: str
    learning_rate: float
    recovered: float
    within_budget: bool
    sweep: tuple[Json, ...]


def choice(base: Base, cache: Path, plan: TrainPlan, progress: Progress) -> Choice:
    """From the file made for exactly this base and plan, or measured now and kept."""
    asked = hashlib.sha256(json.dumps({**asdict(plan), "seed": 0}, sort_keys=True).encode()).hexdigest()[:8]
    own = cache / f"method-{base.digest[:16]}-{asked}.json"
    if own.exists():
        kept = json.loads(own.read_text())
        return Choice(**{**kept, "sweep": tuple(kept["sweep"])})
    cache.mkdir(parents=True, exist_ok=True)
    found = measure(base, cache, plan, progress)
    temporary = own.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(found), indent=1) + "\n")
    temporary.rename(own)
    return found


def measure(base: Base, cache: Path, plan: TrainPlan, progress: Progress) -> Choice:
    """Raises NothingToLearn where no method can learn anything, because the base writes nothing about what it reads."""
    sweep = _Sweep(base, cache)
    runs: list[Json] = []
    for i, method in enumerate(CANDIDATES):
        for j, rate in enumerate(RATES):
            done = (i * len(RATES) + j) / (len(CANDIDATES) * len(RATES))
            progress(done, f"choosing a method: {method} at {rate * plan.learning_rate:g}")
            tried = replace(plan, learning_rate=rate * plan.learning_rate)
            runs.append({"method": method, "learning_rate": tried.learning_rate, **sweep.run(method, tried)})
    if all("failed" in run for run in runs):
        raise NothingToLearn(f"No method could teach {base.name} anything in the sweep: {runs[0]['failed']}")
    taken = best(runs)
    return Choice(taken["method"], taken["learning_rate"], taken["recovered"], taken["within_budget"], tuple(runs))


class _Sweep:
    """What all runs are measured on, and what the base says to it."""

    def __init__(self, base: Base, cache: Path) -> None:
        self._base = base
        new = new_things(base.name)
        told = [Told(i, row["entity"], row["definition"]) for i, row in enumerate(new[:: len(new) // THINGS][:THINGS])]
        drawn = elicit(base, told, ElicitPlan(samples=SAMPLES))
        split = [hold_out(drawn[t.id], share=0.25, at_most=6, seed=t.id) for t in told]
        self._taught = [e for taught, _ in split for e in taught]
        self._asked = [ask for _, aside in split for ask in _asks(aside)]
        if not self._taught or not self._asked:
            raise NothingToLearn(f"{base.name} writes nothing about the definitions it reads, so no method can be measured on it.")
        rest = standing_probes(base.name)
        self._rest = {kind: [row for row in rest if row["kind"] == kind] for kind in ("locality", "skill")}
        self._rows, held_out = replay.split(replay.replay_rows(base, cache))
        self._recalled = recall.recall_rows(base, cache)
        self._held_out = held_out[:GENERIC_ROWS]
        self._before = score.likelihoods(base, self._asked)
        self._ceiling = score.likelihoods(base, self._asked, in_context=True)
        self._untaught = self._unrelated(None)

    def run(self, method: str, plan: TrainPlan) -> Json:
        """`recovered`, what everything else became, and what of the budget that breaks; or why it failed."""
        try:
            learn(
                self._base, Lesson(self._taught), self._rows, plan, lambda _, __: None, name=ADAPTER, method=method, recalled=self._recalled
            )
        except (NotFinite, NothingToLearn) as err:  # this method, or this rate, is nothing for this base: a result
            drop_adapter(self._base, ADAPTER)
            return {"failed": str(err)}
        after = score.likelihoods(self._base, self._asked, adapter=ADAPTER)
        unrelated = self._unrelated(ADAPTER)
        drop_adapter(self._base, ADAPTER)
        recovered = score.recovered(self._before, after, self._ceiling)
        if recovered is None:
            raise LearnError(f"Even with the definitions in context {self._base.name} answers no better.", hint="Set learn.method to one.")
        return {"recovered": round(recovered, 4), **unrelated, "breaks": BUDGET.broken(unrelated, self._untaught)}

    def _unrelated(self, adapter: str | None) -> Json:
        right = {}
        for kind, rows in self._rest.items():
            said = score.answers(self._base, [score.Ask(r["prompt"], r["target"], r["chat"]) for r in rows], adapter=adapter)
            right[kind] = sum(score.says(a, r["target"]) for a, r in zip(said, rows, strict=True)) / len(rows)
        far = score.distances(self._base, self._held_out, adapter=adapter) if adapter else []
        kl = sum(d.kl for d in far) / max(1, sum(d.tokens for d in far))
        return {"locality_accuracy": round(right["locality"], 4), "skill_accuracy": round(right["skill"], 4), "generic_kl": round(kl, 5)}


def _asks(aside: Sequence[Example]) -> list[score.Ask]:
    """A held-out question with the base's own answer; of a held-out sentence its last word."""
    found = []
    for e in aside:
        if e.form == CHAT_FORM:
            found.append(score.Ask(e.prompt, e.text, True, e.definition))
        elif (parts := cloze(e.text)) is not None:
            found.append(score.Ask(*parts, False, e.definition))
    return found
