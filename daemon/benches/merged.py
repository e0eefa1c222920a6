"""`lorefeed bench merge`: topics that were learnt apart, merged into one adapter, and what each keeps of what it had recovered alone.

Merged are the first 2, 4, 8 and so on of them. `retrain` is no merging: one adapter, of the rank that so much takes, learns
from the base what the topics learnt. Every finished topic and merging is a row in the ledger, so a bench that was killed goes on.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from daemon.benches import measure
from daemon.benches.knowledge import GENERIC_ROWS
from daemon.benches.ledger import Ledger
from daemon.benches.methods import ADAPTER
from daemon.benches.peak import measured
from daemon.benches.sets import LOCALITY, SKILL, BenchSet, Taught
from daemon.benches.transfer import transfer_sets
from daemon.learn import recall, replay
from daemon.learn.budget import BUDGET, Budget
from daemon.learn.data import Example
from daemon.learn.elicit import ElicitPlan
from daemon.learn.errors import LearnError
from daemon.learn.merge import WAYS, merge
from daemon.learn.methods import Lesson
from daemon.learn.models import Base, drop_adapter, load_adapter
from daemon.learn.strategies import next_version
from daemon.learn.train import Progress, TrainPlan

Json = dict[str, Any]

RETRAIN = "retrain"


@dataclass(frozen=True, slots=True)
class MergeAsked:
    """`each`: definitions a topic, in the order of the set; `rank` of what is merged."""

    ways: tuple[str, ...]
    each: int
    rank: int
    seed: int
    plan: TrainPlan
    elicit: ElicitPlan
    budget: Budget = BUDGET


def bench(base: Base, bench_set: BenchSet, asked: MergeAsked, folder: Path, progress: Progress) -> Json:
    """`{topics: [figures of each alone], merged: [{topics, way, kept: [share of its own gain that each keeps, null where it had
    none], ...figures}]}`."""
    if unknown := [way for way in asked.ways if way not in (*WAYS, RETRAIN)]:
        raise LearnError(f"Topics cannot be merged by {unknown[0]!r}.", hint=f"One of: {', '.join((*WAYS, RETRAIN))}.")
    if len(bench_set.groups(asked.each)) < 2:
        raise LearnError(
            f"{len(bench_set.definitions)} definitions are one topic of {asked.each}: there is nothing to merge.",
            hint="Give more definitions (--limit), or fewer a topic (--each).",
        )
    return _Merge(base, bench_set, asked, folder, progress).run()


class _Merge:
    def __init__(self, base: Base, bench_set: BenchSet, asked: MergeAsked, folder: Path, progress: Progress) -> None:
        self._base, self._set, self._asked, self._folder, self._progress = base, bench_set, asked, folder, progress
        self._ledger = Ledger(folder / "rows.jsonl")
        self._topics = bench_set.groups(asked.each)
        self._rest = [*bench_set.of_kind(LOCALITY), *bench_set.of_kind(SKILL)]
        self._train_rows, held_out = replay.split(replay.replay_rows(base, folder))
        self._recalled = recall.recall_rows(base, folder)
        self._generic = held_out[:GENERIC_ROWS]
        self._key = {
            "bench": "merge", "model": base.digest, "set": bench_set.digest, "each": asked.each, "seed": asked.seed,
            "plan": asdict(asked.plan), "elicit": asdict(asked.elicit),
        }  # fmt: skip
        self._adapters = folder / "topics" / hashlib.sha256(json.dumps(self._key, sort_keys=True).encode()).hexdigest()[:16]
        self._jobs = len(self._topics) + sum(len(asked.ways) for _ in self._counts())
        self._done = 0

    def run(self) -> Json:
        transfer = transfer_sets(self._base, self._set, self._folder, self._asked.elicit, self._progress)
        self._before, self._ceiling, self._unrelated = (self._row(what=what, make=make) for what, make in self._untaught())
        alone = [self._alone(number, topic, transfer) for number, topic in enumerate(self._topics)]
        gains = [self._figures(topic, row) for topic, row in zip(self._topics, alone, strict=True)]
        found = [self._together(count, way, transfer, gains) for count in self._counts() for way in self._asked.ways]
        self._progress(1.0, "done")
        return {
            "model": self._base.name,
            "base_digest": self._base.digest,
            "set": self._set.name,
            "seed": self._asked.seed,
            "n_definitions": len(self._set.definitions),
            "each": self._asked.each,
            "rank": self._asked.rank,
            "plan": asdict(self._asked.plan),
            "budget": asdict(self._asked.budget),
            "base": self._base_figures(),
            "topics": gains,
            "merged": found,
        }

    def _counts(self) -> list[int]:
        return [count for count in (2**n for n in range(1, 20)) if count <= len(self._topics)]

    def _untaught(self) -> list[tuple[str, Callable[[], Json]]]:
        definitions, every = self._set.definitions, self._set.about(self._set.definitions)
        return [
            ("base", lambda: measure.own(self._base, definitions, every)),
            ("in_context", lambda: measure.own(self._base, definitions, every, in_context=True)),
            ("unrelated", lambda: measure.unrelated(self._base, self._rest, self._generic, None, adapter=None)),
        ]

    def _row(self, *, what: str, make: Callable[[], Json]) -> Json:
        key = {"bench": "merge", "model": self._base.digest, "set": self._set.digest, "what": what}
        row = self._ledger.find(key)
        if row is None:
            self._progress(0.0, f"asking the base ({what.replace('_', ' ')})")
            row = self._ledger.add(key, {"found": make()})
        return dict(row["found"])

    def _base_figures(self) -> Json:
        row = {"own": self._before, "unrelated": self._unrelated, "seconds": 0.0, "peak_memory_bytes": None, "steps": 0}
        return measure.figures(self._set.about(self._set.definitions), [row], self._before, self._ceiling)

    def _figures(self, topic: Sequence[Taught], row: Json) -> Json:
        return measure.figures(self._set.about(topic), [row], self._before, self._ceiling)

    def _alone(self, number: int, topic: Sequence[Taught], transfer: Mapping[str, list[Example]]) -> Json:
        key, out = {**self._key, "topic": number}, self._adapters / f"{number:03d}"
        row = self._ledger.find(key)
        if row is not None and (out / "adapter_config.json").exists():
            self._done += 1
            return row
        self._adapters.mkdir(parents=True, exist_ok=True)
        return self._ledger.add(key, self._taught(topic, transfer, self._asked.plan, out, f"topic {number + 1}"))

    def _together(self, count: int, way: str, transfer: Mapping[str, list[Example]], gains: Sequence[Json]) -> Json:
        topics = self._topics[:count]
        key = {**self._key, "topics": count, "way": way, "rank": self._asked.rank}
        out = self._adapters / f"{count}-{way}-{self._asked.rank}"
        row = self._ledger.find(key)
        if row is None:
            where, every = f"{count} topics by {way}", [d for topic in topics for d in topic]
            if way == RETRAIN:
                made = self._taught(every, transfer, self._asked.plan.holding(len(every)), out, where)
            else:
                folders = [self._adapters / f"{n:03d}" for n in range(count)]
                with measured() as cost:
                    merged = merge(folders, out, rank_max=self._asked.rank, way=way)
                made = {**self._asked_of(every, out), "seconds": cost.seconds, "peak_memory_bytes": cost.peak_bytes, "steps": 0}
                made["norm_kept"] = merged.kept
            self._done += 0 if way == RETRAIN else 1  # _taught has counted itself
            row = self._ledger.add(key, made)
        else:
            self._done += 1
        each = [self._figures(topic, row)["recovered"] for topic in topics]
        whole = measure.figures(self._set.about([d for t in topics for d in t]), [row], self._before, self._ceiling)
        kept = [now / gain if now is not None and (gain := before["recovered"]) else None for now, before in zip(each, gains, strict=False)]
        known = [k for k in kept if k is not None]
        return {
            **whole,
            "topics": count,
            "way": way,
            "kept": kept,
            "kept_mean": fmean(known) if known else None,
            "kept_least": min(known, default=None),
            "norm_kept": row.get("norm_kept"),
            "breaks": self._asked.budget.broken(whole, self._base_figures()),
        }

    def _taught(self, definitions: Sequence[Taught], transfer: Mapping[str, list[Example]], plan: TrainPlan, out: Path, where: str) -> Json:
        lesson = Lesson([e for d in definitions for e in transfer[d.id]])
        with measured() as cost:
            learned = next_version(
                self._base, lesson, self._train_rows, replace(plan, seed=self._asked.seed),
                lambda f, text: self._progress((self._done + f) / self._jobs, f"{where}: {text}"),
                out=out, base_name=self._base.name, name=ADAPTER, parent=None, recalled=self._recalled,
            )  # fmt: skip
        self._done += 1
        row = self._asked_of(definitions, out)
        return {**row, "seconds": cost.seconds, "peak_memory_bytes": cost.peak_bytes, "steps": learned.report.steps}

    def _asked_of(self, definitions: Sequence[Taught], folder: Path) -> Json:
        load_adapter(self._base, ADAPTER, folder)
        row = {
            "own": measure.own(self._base, definitions, self._set.about(definitions), adapter=ADAPTER),
            "unrelated": measure.unrelated(self._base, self._rest, self._generic, self._unrelated, adapter=ADAPTER),
        }
        drop_adapter(self._base, ADAPTER)
        return row
