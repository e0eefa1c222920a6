"""`lorefeed bench knowledge`: which method teaches this model best, each at its own learning rate, inside one forgetting budget for all.

Every finished (method, how many at once, seed, learning rate, group) is a row in the ledger, so a bench that was killed goes on.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from daemon.benches import measure
from daemon.benches.ledger import Ledger
from daemon.benches.methods import ADAPTER, Spec, parse, teach
from daemon.benches.peak import measured
from daemon.benches.sets import LOCALITY, SKILL, BenchSet, Taught
from daemon.benches.transfer import transfer_sets
from daemon.learn import recall, replay
from daemon.learn.budget import BUDGET, Budget, best
from daemon.learn.data import Example
from daemon.learn.elicit import ElicitPlan
from daemon.learn.errors import NotFinite
from daemon.learn.models import Base, drop_adapter
from daemon.learn.train import Progress, TrainPlan

Json = dict[str, Any]

BASE, IN_CONTEXT = "base", "in_context"
RATES = (0.3, 1.0, 3.0)  # of the configured learning rate
GENERIC_ROWS = 60


@dataclass(frozen=True, slots=True)
class Asked:
    """A bench of methods as it was asked for."""

    methods: tuple[str, ...]
    at_once: int
    seed: int
    rates: tuple[float, ...]
    plan: TrainPlan
    elicit: ElicitPlan
    budget: Budget = BUDGET


def bench(base: Base, bench_set: BenchSet, asked: Asked, folder: Path, progress: Progress) -> Json:
    """The contract's answer, with the whole sweep of each method beside the chosen run."""
    return _Bench(base, bench_set, asked, folder, progress).run()


class _Bench:
    def __init__(self, base: Base, bench_set: BenchSet, asked: Asked, folder: Path, progress: Progress) -> None:
        self._base, self._set, self._asked, self._folder, self._progress = base, bench_set, asked, folder, progress
        self._ledger = Ledger(folder / "rows.jsonl")
        self._rest = [*bench_set.of_kind(LOCALITY), *bench_set.of_kind(SKILL)]
        self._own = bench_set.about(bench_set.definitions)
        self._train_rows, held_out = replay.split(replay.replay_rows(base, folder))
        self._recalled = recall.recall_rows(base, folder)
        self._generic = held_out[:GENERIC_ROWS]

    def run(self) -> Json:
        specs = [parse(m) for m in self._asked.methods]
        transfer = transfer_sets(self._base, self._set, self._folder, self._asked.elicit, self._progress)
        before, ceiling = self._untaught()
        untaught = {"seconds": 0.0, "peak_memory_bytes": None, "steps": 0, "unrelated": before["unrelated"]}
        none: Json = {"learning_rate": None, "options": {}}
        methods: Json = {
            BASE: {**self._figures([{**untaught, "own": before["own"]}], before, ceiling), **none},
            IN_CONTEXT: {**self._figures([{**untaught, "own": ceiling["own"]}], before, ceiling), **none},
        }
        jobs = [(spec, rate, g) for spec in specs for rate in self._asked.rates for g in range(len(self._set.groups(self._asked.at_once)))]
        done = 0
        for spec in specs:
            sweep = []
            for rate in self._asked.rates:
                runs = []
                for number, group in enumerate(self._set.groups(self._asked.at_once)):
                    where = f"{spec.written}, learning rate {rate:g}, group {number + 1}"
                    row = self._group(spec, rate, group, transfer, before, done / len(jobs), 1 / len(jobs), where)
                    runs.append({**row, "names": [d.entity for d in group]})
                    done += 1
                if failed := [run["failed"] for run in runs if "failed" in run]:
                    sweep.append({"learning_rate": rate, "failed": failed[0]})
                    continue
                served = measure.by_mention(self._own, self._rest, runs, before, ceiling["own"])
                result = {**self._figures(runs, before, ceiling), "by_mention": served}
                breaks = self._asked.budget.broken(result, methods[BASE])
                sweep.append({**result, "learning_rate": rate, "breaks": breaks, "details": runs[0]["details"]})
            methods[spec.written] = {**best(sweep), "options": {**spec.plan, **spec.options}, "sweep": sweep}
        self._progress(1.0, "done")
        return {
            "model": self._base.name,
            "base_digest": self._base.digest,
            "set": self._set.name,
            "set_digest": self._set.digest,
            "seed": self._asked.seed,
            "n_definitions": len(self._set.definitions),
            "at_once": self._asked.at_once,
            "budget": asdict(self._asked.budget),
            "plan": asdict(self._asked.plan),
            "methods": methods,
        }

    def _figures(self, runs: Sequence[Json], before: Json, ceiling: Json) -> Json:
        return measure.figures(self._own, runs, before["own"], ceiling["own"])

    def _untaught(self) -> tuple[Json, Json]:
        """(what the base answers, what it answers with the definition in context): measured once for a model and a set."""
        key = {"bench": "base", "model": self._base.digest, "set": self._set.digest}
        row = self._ledger.find(key)
        if row is None:
            self._progress(0.0, f"asking the base {len(self._own) + len(self._rest)} questions")
            definitions = self._set.definitions
            row = self._ledger.add(
                key,
                {
                    "own": measure.own(self._base, definitions, self._own),
                    "in_context": measure.own(self._base, definitions, self._own, in_context=True),
                    "unrelated": measure.unrelated(self._base, self._rest, self._generic, None, adapter=None),
                },
            )
        return {"own": row["own"], "unrelated": row["unrelated"]}, {"own": row["in_context"]}

    def _group(
        self,
        spec: Spec,
        rate: float,
        group: Sequence[Taught],
        transfer: dict[str, list[Example]],
        before: Json,
        done: float,
        share: float,
        where: str,
    ) -> Json:
        plan = replace(self._asked.plan, learning_rate=rate, seed=self._asked.seed)
        key = {
            "bench": "knowledge", "model": self._base.digest, "set": self._set.digest, "method": spec.written,
            "at_once": self._asked.at_once, "seed": self._asked.seed, "learning_rate": rate, "group": [d.id for d in group],
            "plan": {k: v for k, v in asdict(plan).items() if k not in ("learning_rate", "seed")}, "elicit": asdict(self._asked.elicit),
        }  # fmt: skip
        if (row := self._ledger.find(key)) is not None:
            return row
        tell = _within(self._progress, done, share, where)
        self._base.kept.clear()  # each reads for itself what it learns, or the first would pay for all
        try:
            with measured() as cost:
                learned = teach(self._base, spec, group, transfer, self._train_rows, self._recalled, plan, tell, seed=self._asked.seed)
        except NotFinite as err:  # this rate is too high for this method, which is a result
            drop_adapter(self._base, ADAPTER)
            return self._ledger.add(key, {"failed": str(err)})
        found = {
            "own": measure.own(self._base, group, self._set.about(group), adapter=ADAPTER),
            "unrelated": measure.unrelated(self._base, self._rest, self._generic, before["unrelated"], adapter=ADAPTER),
        }
        drop_adapter(self._base, ADAPTER)
        return self._ledger.add(
            key,
            {
                **found,
                "seconds": cost.seconds,
                "peak_memory_bytes": cost.peak_bytes,
                "steps": learned.report.steps,
                "first_loss": learned.report.first_loss,
                "last_loss": learned.report.last_loss,
                "details": learned.details,
            },
        )


def _within(progress: Progress, start: float, share: float, what: str) -> Progress:
    return lambda fraction, text: progress(start + share * fraction, f"{what}: {text}")
