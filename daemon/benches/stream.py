"""`lorefeed bench stream`: one batch of definitions after another, and after each step what was learnt, kept and forgotten.

It follows one of the strategies of daemon/learn/strategies.py. Every finished step is a row and an adapter folder, so a stream that was killed
goes on.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from daemon.benches import measure
from daemon.benches.knowledge import GENERIC_ROWS
from daemon.benches.ledger import Ledger
from daemon.benches.methods import ADAPTER, parse
from daemon.benches.peak import measured
from daemon.benches.sets import LOCALITY, SKILL, BenchSet
from daemon.benches.transfer import transfer_sets
from daemon.learn import recall, replay
from daemon.learn.budget import BUDGET, Budget
from daemon.learn.data import Example
from daemon.learn.elicit import ElicitPlan
from daemon.learn.errors import LearnError
from daemon.learn.methods import Lesson
from daemon.learn.models import Base, drop_adapter, load_adapter
from daemon.learn.ranks import rank_on
from daemon.learn.strategies import STRATEGIES, next_version
from daemon.learn.train import Progress, TrainPlan

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream as it was asked for: `step` definitions a version, in the order of the set; `rehearsal` examples of each earlier definition;
    `way`: how the strategy `merge` merges; `warm_rate`: factor on the learning rate of what follows another version by `warm`."""

    method: str
    strategy: str
    step: int
    seed: int
    rehearsal: int
    plan: TrainPlan
    elicit: ElicitPlan
    budget: Budget = BUDGET
    way: str = "sum"
    warm_rate: float = 1.0


def bench(base: Base, bench_set: BenchSet, asked: Stream, folder: Path, progress: Progress) -> Json:
    """`{steps: [...], fuar, kept, ...}`; a step's `learnt`, `kept` and `fuar` are figures of the adapter that it released."""
    if asked.strategy not in STRATEGIES:
        raise LearnError(f"There is no strategy {asked.strategy!r}.", hint=f"One of: {', '.join(STRATEGIES)}.")
    return _Stream(base, bench_set, asked, folder, progress).run()


class _Stream:
    def __init__(self, base: Base, bench_set: BenchSet, asked: Stream, folder: Path, progress: Progress) -> None:
        self._base, self._set, self._asked, self._progress = base, bench_set, asked, progress
        self._folder = folder
        self._ledger = Ledger(folder / "rows.jsonl")
        self._rest = [*bench_set.of_kind(LOCALITY), *bench_set.of_kind(SKILL)]
        self._train_rows, held_out = replay.split(replay.replay_rows(base, folder))
        self._recalled = recall.recall_rows(base, folder)
        self._generic = held_out[:GENERIC_ROWS]
        self._groups = bench_set.groups(asked.step)

    def run(self) -> Json:
        transfer = transfer_sets(self._base, self._set, self._folder, self._asked.elicit, self._progress)
        every = self._set.about(self._set.definitions)
        before = self._kept("base", lambda: measure.own(self._base, self._set.definitions, every))
        ceiling = self._kept("in_context", lambda: measure.own(self._base, self._set.definitions, every, in_context=True))
        rest = self._kept("unrelated", lambda: measure.unrelated(self._base, self._rest, self._generic, None, adapter=None))
        steps: list[Json] = []
        for number in range(len(self._groups)):
            steps.append(self._step(number, transfer, rest))
        reported = [self._report(n, steps, before, ceiling, rest) for n in range(len(steps))]
        base_figures = measure.figures(every, [_untaught(before, rest)], before, ceiling)
        last = reported[-1]
        return {
            "model": self._base.name,
            "set": self._set.name,
            "seed": self._asked.seed,
            "method": self._asked.method,
            "strategy": self._asked.strategy,
            "way": self._asked.way if self._asked.strategy == "merge" else None,
            "n_definitions": len(self._set.definitions),
            "step_definitions": self._asked.step,
            "plan": asdict(self._asked.plan),
            "budget": asdict(self._asked.budget),
            "base": {k: base_figures[k] for k in ("locality_accuracy", "skill_accuracy", "exact_match", "accuracy")},
            "steps": reported,
            "kept": last["kept"],
            "fuar": last["fuar"],
            "breaks": self._asked.budget.broken(last["unrelated"], base_figures),
        }

    def _key(self, **more: Any) -> Json:
        return {"bench": "stream", "model": self._base.digest, "set": self._set.digest, **more}

    def _kept(self, what: str, make: Any) -> Json:
        row = self._ledger.find(self._key(what=what))
        if row is None:
            self._progress(0.0, f"asking the base ({what.replace('_', ' ')})")
            row = self._ledger.add(self._key(what=what), {"found": make()})
        return dict(row["found"])

    def _step(self, number: int, transfer: Mapping[str, list[Example]], rest: Json) -> Json:
        asked = self._asked
        strategy = f"merge by {asked.way}" if asked.strategy == "merge" else asked.strategy
        kind = self._key(
            method=asked.method, strategy=strategy, size=asked.step, seed=asked.seed, rehearsal=asked.rehearsal,
            warm_rate=asked.warm_rate, plan=asdict(asked.plan), elicit=asdict(asked.elicit),
        )  # fmt: skip
        key = {**kind, "step": number}
        # a folder belongs to exactly this stream: another set or plan in the same place must not become a parent
        steps = self._folder / "steps" / hashlib.sha256(json.dumps(kind, sort_keys=True).encode()).hexdigest()[:16]
        out = steps / f"{number:03d}"
        row = self._ledger.find(key)
        if row is not None and (out / "adapter_config.json").exists():
            return row
        spec = parse(asked.method)
        new, earlier = self._groups[number], [d for g in self._groups[:number] for d in g]
        parent = steps / f"{number - 1:03d}" if number and asked.strategy != "retrain" else None
        most = None if asked.strategy == "retrain" else asked.rehearsal
        rehearsed = [e for d in earlier for e in _evenly(transfer[d.id], most)]
        taught = [*earlier, *new] if asked.strategy == "retrain" else new
        lesson = Lesson([e for d in new for e in transfer[d.id]], rehearsed, [a for d in taught for a in d.articles])
        plan = replace(self._placed(number), seed=asked.seed + number, **spec.plan)
        if parent is not None and asked.strategy == "warm":
            plan = replace(plan, learning_rate=plan.learning_rate * asked.warm_rate)
        count = len(self._groups)
        out.parent.mkdir(parents=True, exist_ok=True)
        with measured() as cost:
            learned = next_version(
                self._base, lesson, self._train_rows, plan,
                lambda f, text: self._progress((number + f) / count, f"step {number + 1} of {count}: {text}"),
                out=out, base_name=self._base.name, name=ADAPTER, parent=parent, strategy=asked.strategy, way=asked.way,
                method=spec.method, options=spec.options, recalled=self._recalled,
            )  # fmt: skip
        load_adapter(self._base, ADAPTER, out)  # what was saved is what is measured
        so_far = [*earlier, *new]
        found = {
            "own": measure.own(self._base, so_far, self._set.about(so_far), adapter=ADAPTER),
            "unrelated": measure.unrelated(self._base, self._rest, self._generic, rest, adapter=ADAPTER),
            "seconds": cost.seconds,
            "peak_memory_bytes": cost.peak_bytes,
            "steps": learned.report.steps,
            "details": learned.details,
        }
        drop_adapter(self._base, ADAPTER)
        return self._ledger.add(key, found)

    def _placed(self, number: int) -> TrainPlan:
        """The plan with the rank that the service would give this step's version."""
        sizes = [len(g) for g in self._groups[: number + 1]]
        if self._asked.strategy != "warm":
            return self._asked.plan.holding(sum(sizes))
        plan = self._asked.plan.holding(sizes[0])
        for size in sizes[1:]:
            plan = replace(plan, rank=rank_on(plan.rank, size, most=plan.rank_max))
        return plan

    def _report(self, number: int, steps: Sequence[Json], before: Json, ceiling: Json, rest: Json) -> Json:
        """The figures after step `number`. `kept`: of the answers about each earlier batch that were right just after it, the share still right."""
        now = steps[number]
        new, earlier = self._groups[number], [d for g in self._groups[:number] for d in g]
        whole = measure.figures(self._set.about([*earlier, *new]), [now], before, ceiling)
        right_then = [
            p.id for i, g in enumerate(self._groups[:number]) for p in self._set.about(g) if steps[i]["own"][p.id][1]
        ]  # fmt: skip
        kept = sum(now["own"][id_][1] for id_ in right_then) / len(right_then) if right_then else 1.0
        return {
            "step": number + 1,
            "definitions": len(earlier) + len(new),
            "learnt": measure.recovered(self._set.about(new), now["own"], before, ceiling),
            "learnt_exact": _share(self._set.about(new), now["own"]),
            "recovered": whole["recovered"],
            "exact_match": whole["exact_match"],
            "kept": kept,
            "forgotten": 1 - kept,
            "fuar": fuar([self._gaps(n, steps, before, rest) for n in range(number + 1)]),
            "seconds": now["seconds"],
            "unrelated": {k: whole[k] for k in ("locality_accuracy", "skill_accuracy", "locality_kl", "locality_agreement", "generic_kl")},
        }

    def _gaps(self, number: int, steps: Sequence[Json], before: Json, rest: Json) -> tuple[list[float], float]:
        """(loss of right answers on each thing there was before step `number`, gain on what the step taught), as shares."""
        own_then = steps[number - 1]["own"] if number else before
        rest_then = steps[number - 1]["unrelated"]["probes"] if number else rest["probes"]
        rest_now = steps[number]["unrelated"]["probes"]
        lost = []
        for group in self._groups[:number]:
            probes = self._set.about(group)
            lost.append(_share(probes, own_then) - _share(probes, steps[number]["own"]))
        if known := [id_ for id_, v in rest_now.items() if v[3] == LOCALITY]:
            lost.append((sum(rest_then[i][1] for i in known) - sum(rest_now[i][1] for i in known)) / len(known))
        probes = self._set.about(self._groups[number])
        return lost, _share(probes, steps[number]["own"]) - _share(probes, before)


def fuar(gaps: Sequence[tuple[Sequence[float], float]]) -> float | None:
    """Forgotten / (updated + acquired), arXiv 2110.03215 section 3.2: what every step lost of each thing there was, over what every step gained.

    Each gap counts from 0 up, so that a gain elsewhere pays for no loss; the losses of a step are averaged over the things there were, so that the
    ratio does not grow with their number. None where nothing was gained.
    """
    forgotten = sum(sum(max(0.0, gap) for gap in lost) / len(lost) for lost, _ in gaps if lost)
    acquired = sum(max(0.0, gained) for _, gained in gaps)
    return forgotten / acquired if acquired > 0 else None


def _share(probes: Sequence[Any], answers: Json) -> float:
    return sum(answers[p.id][1] for p in probes) / len(probes) if probes else 0.0


def _untaught(own: Json, rest: Json) -> Json:
    return {"own": own, "unrelated": rest, "seconds": 0.0, "peak_memory_bytes": None, "steps": 0}


def _evenly(examples: Sequence[Example], at_most: int | None) -> list[Example]:
    if at_most is None or len(examples) <= at_most:
        return list(examples)
    return [examples[i * len(examples) // at_most] for i in range(at_most)]
