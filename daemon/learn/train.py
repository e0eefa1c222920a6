"""The training loop: one adapter, one persistent AdamW, examples and replay side by side. Knows losses and batches, not where examples come from.

Teacher distributions are computed once, before the first step, by the same weights with the adapter off and the definition in context. Replay
keeps the rest of the model where it is: on text the base itself wrote, the student is held to the base (same divergence, no context).
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from daemon.learn import data
from daemon.learn.batches import by_length, hidden_states, logits_at
from daemon.learn.data import Encoded, Example
from daemon.learn.errors import NotFinite, NothingToLearn
from daemon.learn.losses import TopK, forward_kl_top_k, mean_by_example, top_k
from daemon.learn.models import Base, trainable, using


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """What decides an adapter, beside its data. `passes` counts visits to each example, within `steps_min` and `steps_max`."""

    rank: int = 32
    alpha: int = 32
    learning_rate: float = 1e-2
    temperature: float = 1.0
    batch: int = 32
    replay_batch: int = 4
    replay_weight: float = 1.0
    passes: float = 12.0
    steps_min: int = 40
    steps_max: int = 400
    warmup: float = 0.05
    top_k: int = 64
    clip: float = 1.0
    seed: int = 0

    def steps(self, examples: int) -> int:
        return max(self.steps_min, min(self.steps_max, math.ceil(examples * self.passes / self.batch)))

    def lr_at(self, step: int, steps: int) -> float:
        """Linear warm-up, then cosine to a tenth."""
        warm = max(1, int(steps * self.warmup))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))))


@dataclass(frozen=True, slots=True)
class Target:
    """A row to train on: student ids, the indices whose next token is supervised, and the teacher's distribution there."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    teacher: TopK


@dataclass(frozen=True, slots=True)
class TrainReport:
    steps: int
    examples: int
    first_loss: float
    last_loss: float
    replay_loss: float


Progress = Callable[[float, str], None]
_WINDOW = 8  # batches that are sorted by length together


def distillation_targets(base: Base, examples: Sequence[Example], plan: TrainPlan) -> list[Target]:
    """The teacher reads definition and text; its distributions at the supervised positions go to the student's positions (arXiv 2306.09306 eq. 2)."""
    encoded = [e for e in (data.encode(base.tokenizer, each) for each in examples) if e.supervised and len(e.teacher) <= base.context]
    if not encoded:
        raise NothingToLearn(f"None of {len(examples)} examples has a token to learn.")
    at = [tuple(len(e.teacher) - len(e.text) + i - 1 for i in e.supervised) for e in encoded]
    teachers = _teachers(base, [e.teacher for e in encoded], at, k=plan.top_k, temperature=plan.temperature)
    return [Target(e.student, _student_positions(e), t) for e, t in zip(encoded, teachers, strict=True)]


def replay_targets(base: Base, rows: Sequence[Sequence[int]], plan: TrainPlan) -> list[Target]:
    """The base on text of its own, at every position."""
    kept = [tuple(r[: base.context]) for r in rows if len(r) > 1]
    at = [tuple(range(len(r) - 1)) for r in kept]
    teachers = _teachers(base, kept, at, k=plan.top_k, temperature=1.0)
    return [Target(r, a, t) for r, a, t in zip(kept, at, teachers, strict=True)]


def _student_positions(e: Encoded) -> tuple[int, ...]:
    # logits at position j predict token j + 1
    return tuple(len(e.student) - len(e.text) + i - 1 for i in e.supervised)


@torch.no_grad()
def _teachers(base: Base, rows: Sequence[Sequence[int]], at: Sequence[Sequence[int]], *, k: int, temperature: float) -> list[TopK]:
    results: list[TopK | None] = [None] * len(rows)
    with using(base, None):
        for group in by_length(rows, tokens=8192):
            states = hidden_states(base, [rows[i] for i in group])
            for b, i in enumerate(group):
                positions = torch.tensor(at[i], device=base.device)
                results[i] = top_k(logits_at(base, states, torch.full_like(positions, b), positions), k, temperature=temperature)
    return [r for r in results if r is not None]


def train(base: Base, targets: Sequence[Target], replay: Sequence[Target], plan: TrainPlan, progress: Progress) -> TrainReport:
    """Trains whatever adapter is set trainable on `base`. Deterministic for a seed on one machine."""
    steps = plan.steps(len(targets))
    optimiser = torch.optim.AdamW(trainable(base), lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
    stream = _shuffled(targets, plan.batch, random.Random(plan.seed))
    replay_stream = _shuffled(replay, plan.replay_batch, random.Random(plan.seed + 1)) if replay and plan.replay_weight else None
    seen: list[float] = []
    kept: list[float] = []
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = plan.lr_at(step, steps)
        loss = _loss(base, next(stream), temperature=plan.temperature)
        seen.append(loss.item())
        total = loss
        if replay_stream is not None:
            held = _loss(base, next(replay_stream), temperature=1.0)
            kept.append(held.item())
            total = total + plan.replay_weight * held
        if not math.isfinite(total.item()):
            raise NotFinite(f"The loss is {total.item()} at step {step + 1} of {steps}.")
        total.backward()
        torch.nn.utils.clip_grad_norm_(trainable(base), plan.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        progress((step + 1) / steps, f"step {step + 1} of {steps}, loss {seen[-1]:.3f}")
    tenth = max(1, steps // 10)
    return TrainReport(steps, len(targets), _mean(seen[:tenth]), _mean(seen[-tenth:]), _mean(kept[-tenth:]))


def _loss(base: Base, batch: Sequence[Target], *, temperature: float) -> Tensor:
    states = hidden_states(base, [t.ids for t in batch])
    counts = [len(t.positions) for t in batch]
    rows = torch.repeat_interleave(torch.arange(len(batch), device=base.device), torch.tensor(counts, device=base.device))
    positions = torch.tensor([p for t in batch for p in t.positions], device=base.device)
    teacher = TopK(torch.cat([t.teacher.log_probs for t in batch]), torch.cat([t.teacher.ids for t in batch]))
    losses = forward_kl_top_k(teacher, logits_at(base, states, rows, positions), temperature=temperature)
    return mean_by_example(losses, rows, len(batch))


def _shuffled(targets: Sequence[Target], batch: int, rng: random.Random) -> Iterator[list[Target]]:
    """Batches for ever; every target is seen once before any is seen again. Rows of similar length go together: padding costs as much as text."""
    waiting: list[Target] = []
    while True:
        while len(waiting) < batch * _WINDOW:
            again = list(targets)
            rng.shuffle(again)
            waiting += again
        window = sorted(waiting[: batch * _WINDOW], key=lambda t: len(t.ids))
        waiting = waiting[batch * _WINDOW :]
        batches = [window[start : start + batch] for start in range(0, len(window), batch)]
        rng.shuffle(batches)
        yield from batches


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
