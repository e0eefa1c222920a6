"""`lorefeed bench learn`: what learning costs, beside plain LoRA fine-tuning on the same rows and beside the published recipe, in one process.

The published recipe (arXiv 2306.09306, its released code): a separate frozen teacher, every parameter trained, batches of one continuation, a
fresh AdamW for each, five steps on each of five continuations of a definition, temperature 2.
"""

import copy
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from daemon.benches import measure
from daemon.benches.methods import ADAPTER
from daemon.benches.peak import measured
from daemon.benches.sets import BenchSet
from daemon.benches.transfer import transfer_sets
from daemon.learn import data, recall, replay
from daemon.learn.batches import hidden_states, logits_at, padded
from daemon.learn.data import Example
from daemon.learn.elicit import ElicitPlan
from daemon.learn.errors import NothingToLearn
from daemon.learn.losses import forward_kl
from daemon.learn.methods import held_targets, start
from daemon.learn.models import Base, drop_adapter, new_adapter, trainable
from daemon.learn.train import Progress, Target, TrainPlan, distillation_targets, train, visits

Json = dict[str, Any]

CONTINUATIONS, INNER_STEPS, PUBLISHED_RATE, PUBLISHED_TEMPERATURE = 5, 5, 1e-4, 2.0


@dataclass(frozen=True, slots=True)
class CostAsked:
    plan: TrainPlan
    elicit: ElicitPlan
    published_rate: float = PUBLISHED_RATE


def bench(base: Base, bench_set: BenchSet, asked: CostAsked, folder: Path, progress: Progress) -> Json:
    """`{ours, plain_lora, published, step_ratio, memory_ratio, published_ratio}`. Peaks count the model itself."""
    transfer = transfer_sets(base, bench_set, folder, asked.elicit, progress)
    examples = [e for d in bench_set.definitions for e in transfer[d.id]]
    rows, _ = replay.split(replay.replay_rows(base, folder))
    recalled = recall.about_others(base, recall.recall_rows(base, folder), (e.entity for e in examples))
    asker = _Asker(base, bench_set)
    plain = _plain_lora(base, examples, asked.plan, asker, _part(progress, 0.0, "plain LoRA"))
    bare = _ours(
        base, examples, rows, recalled, replace(asked.plan, replay_weight=0.0), asker, _part(progress, 0.25, "context, without replay")
    )
    ours = _ours(base, examples, rows, recalled, asked.plan, asker, _part(progress, 0.5, "context"))
    published = _published(base, bench_set, transfer, asked, asker, _part(progress, 0.75, "as published"))
    count = len(bench_set.definitions)
    for each in (plain, bare, ours, published):
        each["seconds_per_definition"] = each["seconds"] / count
    progress(1.0, "done")
    return {
        "model": base.name,
        "set": bench_set.name,
        "n_definitions": count,
        "device": str(base.device),
        "ours": ours,
        "ours_without_replay": bare,
        "plain_lora": plain,
        "published": published,
        "step_ratio": bare["step_seconds"] / plain["step_seconds"],
        "step_ratio_with_replay": ours["step_seconds"] / plain["step_seconds"],
        "memory_ratio": _ratio(ours["peak_memory_bytes"], plain["peak_memory_bytes"]),
        "published_ratio": published["seconds"] / ours["seconds"],
    }


class _Asker:
    """Asks the base once, then says how much of the in-context gain an adapter recovered."""

    def __init__(self, base: Base, bench_set: BenchSet) -> None:
        self._base, self._set = base, bench_set
        self._probes = bench_set.about(bench_set.definitions)
        self._before = measure.own(base, bench_set.definitions, self._probes)
        self._ceiling = measure.own(base, bench_set.definitions, self._probes, in_context=True)

    def recovered(self, model: Base, adapter: str | None) -> float | None:
        found = measure.own(model, self._set.definitions, self._probes, adapter=adapter)
        return measure.recovered(self._probes, found, self._before, self._ceiling)


def _ours(
    base: Base,
    examples: Sequence[Example],
    rows: Sequence[Sequence[int]],
    recalled: Sequence[Sequence[int]],
    plan: TrainPlan,
    asker: _Asker,
    progress: Progress,
) -> Json:
    drop_adapter(base, ADAPTER)
    base.kept.clear()  # what it has read before is not for nothing
    ticks: list[float] = []

    def tick(fraction: float, text: str) -> None:
        ticks.append(time.monotonic())
        progress(fraction, text)

    with measured() as cost:
        started = time.monotonic()
        targets = distillation_targets(base, examples, plan)
        teacher_s = time.monotonic() - started
        held = held_targets(base, examples, rows, plan, seen=plan.steps(len(targets)) * plan.replay_batch, recalled=recalled)
        start(base, ADAPTER, plan, None, new=[t.ids for t in targets], kept=[*[t.ids for t in held], *rows])
        report = train(base, targets, held, plan, tick)
    found = asker.recovered(base, ADAPTER)
    drop_adapter(base, ADAPTER)
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    return {
        "seconds": cost.seconds, "teacher_seconds": teacher_s, "steps": report.steps, "step_seconds": median(steps) if steps else cost.seconds,
        "tokens_per_second": _tokens(targets) / len(targets) * plan.batch / (median(steps) if steps else cost.seconds),
        "peak_memory_bytes": cost.peak_bytes, "recovered": found,
    }  # fmt: skip


def _plain_lora(base: Base, examples: Sequence[Example], plan: TrainPlan, asker: _Asker, progress: Progress) -> Json:
    """The usual loop: the library's own cross-entropy over the whole row's logits, on the same rows, batches and adapter."""
    drop_adapter(base, ADAPTER)
    encoded = [e for e in (data.encode(base.tokenizer, each) for each in examples) if e.supervised and len(e.teacher) <= base.context]
    took: list[float] = []
    with measured() as cost:
        new_adapter(base, ADAPTER, rank=plan.rank, alpha=plan.alpha, seed=plan.seed)
        labels = [tuple(len(e.student) - len(e.text) + i for i in e.supervised) for e in encoded]
        # the rows carry no teacher here: a target is only the way to get the same batches
        none = torch.empty(0)
        targets = [Target(e.student, at, none) for e, at in zip(encoded, labels, strict=True)]  # type: ignore[arg-type]
        stream = visits(targets, plan.batch, plan.seed)
        optimiser = torch.optim.AdamW(trainable(base), lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
        steps = plan.steps(len(targets))
        for step in range(steps):
            started = time.monotonic()
            for group in optimiser.param_groups:
                group["lr"] = plan.lr_at(step, steps)
            batch = next(stream)
            ids, mask = padded([t.ids for t in batch], pad=base.pad_id, device=base.device)
            wanted = torch.full_like(ids, -100)
            for row, t in enumerate(batch):
                wanted[row, list(t.positions)] = ids[row, list(t.positions)]
            loss = base.model(input_ids=ids, attention_mask=mask, labels=wanted, use_cache=False).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trainable(base), plan.clip)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            took.append(time.monotonic() - started)
            progress((step + 1) / steps, f"step {step + 1} of {steps}")
    found = asker.recovered(base, ADAPTER)
    drop_adapter(base, ADAPTER)
    return {
        "seconds": cost.seconds, "steps": steps, "step_seconds": median(took),
        "tokens_per_second": _tokens(targets) / len(targets) * plan.batch / median(took),
        "peak_memory_bytes": cost.peak_bytes, "recovered": found,
    }  # fmt: skip


def _published(
    base: Base, bench_set: BenchSet, transfer: dict[str, list[Example]], asked: CostAsked, asker: _Asker, progress: Progress
) -> Json:
    """One definition after another into one copy of the model."""
    took: list[float] = []
    tokens = 0
    with measured() as cost:
        student = Base(base.name, copy.deepcopy(base.model), base.tokenizer, base.digest)
        student.model.requires_grad_(True)
        for number, definition in enumerate(bench_set.definitions):
            for example in transfer[definition.id][:CONTINUATIONS]:
                encoded = data.encode(base.tokenizer, example, after_mention=False)
                if not encoded.supervised or len(encoded.teacher) > base.context:
                    continue
                with torch.no_grad():
                    teacher = _at(base, encoded.teacher, encoded)
                optimiser = torch.optim.AdamW(student.model.parameters(), lr=asked.published_rate)
                for _ in range(INNER_STEPS):
                    started = time.monotonic()
                    loss = forward_kl(teacher, _at(student, encoded.student, encoded), temperature=PUBLISHED_TEMPERATURE).mean()
                    loss.backward()
                    optimiser.step()
                    optimiser.zero_grad(set_to_none=True)
                    took.append(time.monotonic() - started)
                    tokens += len(encoded.student)
            progress((number + 1) / len(bench_set.definitions), f"definition {number + 1}")
    student.model.requires_grad_(False)
    found = asker.recovered(student, None)
    if not took:
        raise NothingToLearn("No continuation has a token to learn, so the published recipe has nothing to do.")
    return {
        "seconds": cost.seconds, "steps": len(took), "step_seconds": median(took), "tokens_per_second": tokens / sum(took),
        "peak_memory_bytes": cost.peak_bytes, "recovered": found,
    }  # fmt: skip


def _at(base: Base, row: Sequence[int], e: data.Encoded) -> torch.Tensor:
    at = torch.tensor([len(row) - len(e.text) + i - 1 for i in e.supervised], device=base.device)
    return logits_at(base, hidden_states(base, [row]), torch.zeros_like(at), at)


def _tokens(targets: Sequence[Target]) -> int:
    return sum(len(t.ids) for t in targets)


def _ratio(a: int | None, b: int | None) -> float | None:
    return a / b if a is not None and b else None


def _part(progress: Progress, start: float, what: str) -> Callable[[float, str], None]:
    return lambda fraction, text: progress(start + 0.25 * fraction, f"{what}: {text}")
