"""The training loop: one adapter, one persistent optimiser, examples and replay side by side. Knows losses and batches, not where examples come from.

Teacher distributions are computed once, before the first step, by the same weights with the adapter off and the definition in context. Replay
keeps the rest of the model where it is: on text the base itself wrote, the student is held to the base (same divergence, no context).
"""

import math
import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from daemon.learn import data
from daemon.learn.batches import beginnings, by_length, hidden_rest, hidden_states, logits_at
from daemon.learn.data import Encoded, Example
from daemon.learn.errors import NotFinite, NothingToLearn
from daemon.learn.folded import folded
from daemon.learn.losses import TopK, by_example, divergence, top_k
from daemon.learn.models import Base, trainable, using
from daemon.learn.optimisers import optimiser_of
from daemon.learn.ranks import rank_for
from daemon.learn.visits import Visits

HIGHER_AT_MOST = 1.5  # times the rate
FEWER_VISITS = 4  # a rehearsed example's for each of a new one's, until REHEARSED_AT_MOST of a batch are rehearsed
REHEARSED_AT_MOST = 0.5
REHEARSED_LONGER, LONGEST = 8000, 3  # from so many rehearsed examples on a run grows with them, up to so many times as long


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """What decides an adapter, beside its data. `passes` counts visits to each new example, within `steps_min` and `steps_max`.

    Where earlier examples are rehearsed they take `rehearsal_share` of every batch, and more as they outnumber the new: one new definition on top
    of many must be seen as often as it would be alone, and what is known needs fewer visits, but each of it needs some.
    """

    rank: int = 32
    rank_max: int = 128  # of adapters that hold more than the rank tells apart (ranks.py)
    alpha: int = 32
    optimiser: str = "adamw"  # one of optimisers.OPTIMISERS
    learning_rate: float = 6e-3
    temperature: float = 1.0
    batch: int = 20
    rehearsal_share: float = 0.4
    replay_batch: int = 8
    replay_weight: float = 1.0
    replay_price: float = 10.0  # most times that, while the base's own text moves farther than kl_max (trust.py); 1: always the same
    passes: float = 8.0
    precision: str = "auto"  # of the matrix products of a step: one of folded.PRECISIONS
    steps_min: int = 120
    steps_max: int = 15_000
    warmup: float = 0.05
    full_steps: int = 1000  # of a full run; in fewer the rate is higher, by their ratio's fourth root, at most half again; 0: never
    top_k: int = 64
    clip: float = 1.0
    seed: int = 0
    divergence: str = "forward_kl"  # one of losses.DIVERGENCES
    skew: float = 0.1  # share of the other distribution that the skewed divergences mix in
    beta: float = 0.5  # place of the generalised Jensen-Shannon divergence between the two KLs
    on_policy: float = 0.0  # share of the steps that learn on what the student itself writes
    init: str = "apart"  # where the down-projections lie, frozen: "apart", "null_space" (apart.py, null_space.py); "random" ones train
    drop_largest: float = 0.0  # share of the update's largest entries that is given up after training
    replay_rows: int = 0  # rows of the base's own text that are used; 0: all
    contrast: float = 0.25  # share of the replay that asks about other names what was asked about the new ones (contrast.py)
    kl_max: float = 0.0  # nats a token that the base's own text may move before the adapter is scaled back (trust.py); 0: however far
    recall: float = 0.4  # share of the replay that asks what the base is sure of (recall.py)
    priority: float = 0.5  # power of its last loss to which an example of a full run is visited again (visits.py); 0: all as often

    def holding(self, definitions: int) -> "TrainPlan":
        """The plan for an adapter that will hold so many definitions."""
        return replace(self, rank=rank_for(definitions, rank=self.rank, most=self.rank_max))

    def split(self, new: int, rehearsed: int = 0) -> tuple[int, int]:
        """(new, rehearsed) examples of a batch, where there are so many of both."""
        if not (rehearsed and self.rehearsal_share):
            return self.batch, 0
        share = rehearsed / (rehearsed + FEWER_VISITS * new)
        again = round(self.batch * max(self.rehearsal_share, min(share, REHEARSED_AT_MOST)))
        return max(1, self.batch - again), again

    def steps(self, new: int, rehearsed: int = 0) -> int:
        """As many as the new examples are to be visited; more where so many are rehearsed that too few of them had a visit beside that."""
        longer = max(1.0, min(LONGEST, rehearsed / REHEARSED_LONGER))
        return max(self.steps_min, min(self.steps_max, math.ceil(new * self.passes * longer / self.split(new, rehearsed)[0])))

    def lr_at(self, step: int, steps: int) -> float:
        """Linear warm-up, then cosine to a tenth. A run of few steps goes less far, so its peak may be higher; not where it is as short as they
        are allowed to be, and sees every example more often than was asked."""
        warm = max(1, int(steps * self.warmup))
        higher: float = 1.0 if steps <= self.steps_min else min(HIGHER_AT_MOST, max(1.0, self.full_steps / steps) ** 0.25)
        peak = self.learning_rate * higher
        if step < warm:
            return peak * (step + 1) / warm
        return peak * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))))


HOLD = TrainPlan()  # the base's own text is held by plain KL(base || student) at temperature 1, however the examples are learnt


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
Price = Callable[[int], float]  # factor on the replay's weight at a step
Fresh = Callable[[], "list[Target] | None"]  # what a step learns instead of the next targets, or None
_TEACHER_TOKENS = 2048  # that the teacher reads at once: a row of the whole vocabulary for each is what takes the memory


def distillation_targets(base: Base, examples: Sequence[Example], plan: TrainPlan) -> list[Target]:
    """The teacher reads definition and text; its distributions at the supervised positions go to the student's positions (arXiv 2306.09306 eq. 2)."""
    found = [target for _, target in taught(base, examples, plan)]
    if not found:
        raise NothingToLearn(f"None of {len(examples)} examples has a token to learn.")
    return found


def taught(base: Base, examples: Sequence[Example], plan: TrainPlan) -> list[tuple[Example, Target]]:
    """The same beside its example; one that has nothing to learn, or does not fit into the model's context with its definition, is left out.

    What the base has read before, and still keeps, is not read again.
    """
    read = [(each, base.kept.get((each, plan.temperature, plan.top_k))) for each in examples]
    new = dict(_read(base, list(dict.fromkeys(each for each, target in read if target is None)), plan))
    for each, target in new.items():
        teacher = TopK(target.teacher.log_probs.clone(), target.teacher.ids.clone())  # not a part of what was read with it
        base.kept[each, plan.temperature, plan.top_k] = replace(target, teacher=teacher)
    pairs = ((each, target or new.get(each)) for each, target in read)
    return [(each, target) for each, target in pairs if target is not None]


def _read(base: Base, examples: Sequence[Example], plan: TrainPlan) -> list[tuple[Example, Target]]:
    pairs = [(each, data.encode(base.tokenizer, each)) for each in examples]
    pairs = [(each, e) for each, e in pairs if e.supervised and len(e.teacher) <= base.context]
    encoded = [e for _, e in pairs]
    at = [tuple(len(e.teacher) - len(e.text) + i - 1 for i in e.supervised) for e in encoded]
    about = [(each.form, each.definition) for each, _ in pairs]
    teachers = teachers_of(base, [e.teacher for e in encoded], at, about=about, k=plan.top_k, temperature=plan.temperature)
    return [(each, Target(e.student, _student_positions(e), t)) for (each, e), t in zip(pairs, teachers, strict=True)]


def replay_targets(base: Base, rows: Sequence[Sequence[int]], plan: TrainPlan) -> list[Target]:
    """The base on text of its own, at every position."""
    kept = [tuple(r[: base.context]) for r in rows[: plan.replay_rows or None] if len(r) > 1]
    at = [tuple(range(len(r) - 1)) for r in kept]
    teachers = teachers_of(base, kept, at, k=plan.top_k, temperature=1.0)
    return [Target(r, a, t) for r, a, t in zip(kept, at, teachers, strict=True)]


def _student_positions(e: Encoded) -> tuple[int, ...]:
    # logits at position j predict token j + 1
    return tuple(len(e.student) - len(e.text) + i - 1 for i in e.supervised)


@torch.no_grad()
def teachers_of(
    base: Base,
    rows: Sequence[Sequence[int]],
    at: Sequence[Sequence[int]],
    *,
    k: int,
    temperature: float,
    about: Sequence[Hashable] | None = None,
) -> list[TopK]:
    """The base's likeliest `k` at the given positions of each row. What rows `about` one thing begin with (its definition) is read once for them all,
    or once for as many as are read at a time."""
    common = beginnings(rows, about) if about is not None else [0] * len(rows)
    first = [min(n, positions[0]) for n, positions in zip(common, at, strict=True)]
    if min(first, default=0) < 1:
        first = [0] * len(rows)
    results: list[TopK | None] = [None] * len(rows)
    with using(base, None):
        for group in _groups([r[n:] for r, n in zip(rows, first, strict=True)], about if any(first) else None):
            part = [rows[i] for i in group]
            states = hidden_rest(base, part, [first[i] for i in group]) if first[group[0]] else hidden_states(base, part)
            counts = [len(at[i]) for i in group]
            row = torch.repeat_interleave(torch.arange(len(group), device=base.device), torch.tensor(counts, device=base.device))
            position = torch.tensor([p - first[i] for i in group for p in at[i]], device=base.device)
            found = top_k(logits_at(base, states, row, position), k, temperature=temperature)
            for i, log_probs, ids in zip(group, found.log_probs.split(counts), found.ids.split(counts), strict=True):
                results[i] = TopK(log_probs, ids)
    return [r for r in results if r is not None]


def _groups(rows: Sequence[Sequence[int]], about: Sequence[Hashable] | None) -> Iterator[list[int]]:
    """Indices of rows that the teacher reads at once: of similar length, and of few things each."""
    if about is None:
        yield from by_length(rows, tokens=_TEACHER_TOKENS)
        return
    things: dict[Hashable, list[int]] = {}
    for index, key in enumerate(about):
        things.setdefault(key, []).append(index)
    some: list[int] = []
    for number, indices in enumerate(things.values(), 1):
        some += indices
        if number == len(things) or sum(len(rows[i]) for i in some) > _TEACHER_TOKENS:
            yield from ([some[i] for i in group] for group in by_length([rows[i] for i in some], tokens=_TEACHER_TOKENS))
            some = []


def train(
    base: Base,
    targets: Sequence[Target],
    replay: Sequence[Target],
    plan: TrainPlan,
    progress: Progress,
    *,
    rehearsed: Sequence[Target] = (),
    fresh: Fresh | None = None,
    price: Price = lambda step: 1.0,
    steps: int | None = None,
) -> TrainReport:
    """Trains whatever adapter is set trainable on `base`, in as many steps as the plan has for so many targets unless told. Deterministic for a seed
    on one machine."""
    steps = steps or plan.steps(len(targets), len(rehearsed))
    new, again = plan.split(len(targets), len(rehearsed))
    optimiser = optimiser_of(plan.optimiser, trainable(base), lr=plan.learning_rate)
    # a short run goes far enough by its higher rate, and what is rehearsed was chosen before it (rehearsal.py)
    priority = plan.priority if steps >= plan.full_steps and not rehearsed else 0.0
    stream = visits(targets, new, plan.seed, priority=priority)
    rehearsal = visits(rehearsed, again, plan.seed + 2) if again else None
    replay_stream = visits(replay, plan.replay_batch, plan.seed + 1) if replay and plan.replay_weight else None
    seen: list[float] = []
    kept: list[float] = []
    with folded(base, plan.precision) as weights:
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = plan.lr_at(step, steps)
            weights.refresh()
            written = fresh() if fresh else None
            learnt = written or next(stream)
            losses = losses_of(base, [*learnt, *(next(rehearsal) if rehearsal else [])], plan)
            if not written:
                stream.seen(losses[: len(learnt)].tolist())
            loss = losses.mean()
            seen.append(loss.item())
            total = loss
            if replay_stream is not None:
                held = loss_of(base, next(replay_stream), HOLD)
                kept.append(held.item())
                total = total + plan.replay_weight * price(step) * held
            if not math.isfinite(total.item()):
                raise NotFinite(f"The loss is {total.item()} at step {step + 1} of {steps}.")
            total.backward()
            torch.nn.utils.clip_grad_norm_(trainable(base), plan.clip)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            progress((step + 1) / steps, f"step {step + 1} of {steps}, loss {seen[-1]:.3f}")
    tenth = max(1, steps // 10)
    return TrainReport(steps, len(targets) + len(rehearsed), _mean(seen[:tenth]), _mean(seen[-tenth:]), _mean(kept[-tenth:]))


def visits(targets: Sequence[Target], batch: int, seed: int, *, priority: float = 0.0) -> Visits[Target]:
    """Batches of the targets, rows of similar length together."""
    return Visits(targets, [len(t.ids) for t in targets], batch, random.Random(seed), priority=priority)


def loss_of(base: Base, batch: Sequence[Target], plan: TrainPlan) -> Tensor:
    return losses_of(base, batch, plan).mean()


def losses_of(base: Base, batch: Sequence[Target], plan: TrainPlan) -> Tensor:
    """(batch,) divergence of what is active from each target's teacher, mean over its positions."""
    states = hidden_states(base, [t.ids for t in batch])
    counts = [len(t.positions) for t in batch]
    rows = torch.repeat_interleave(torch.arange(len(batch), device=base.device), torch.tensor(counts, device=base.device))
    positions = torch.tensor([p for t in batch for p in t.positions], device=base.device)
    teacher = TopK(torch.cat([t.teacher.log_probs for t in batch]), torch.cat([t.teacher.ids for t in batch]))
    logits = logits_at(base, states, rows, positions)
    losses = divergence(teacher, logits, kind=plan.divergence, temperature=plan.temperature, skew=plan.skew, beta=plan.beta)
    return by_example(losses, rows, len(batch))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
