"""EtCon's second stage: the edited model answers for itself, in groups, and is moved towards what it does well (GRPO, arXiv 2402.03300).

Settings follow the consolidation of arXiv 2512.04753's release: clip 0.2 below and 0.3 above, dual clip 3, KL to a frozen reference (the edited
model) as a loss with weight 0.01, advantages over each group. Rewards come from rewards.py.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from daemon.learn import data
from daemon.learn.etcon import EtconPlan, Question, consolidation_plan
from daemon.learn.losses import advantages, clipped_policy, mean_by_example, reference_kl
from daemon.learn.models import Base, using
from daemon.learn.policy import Spoken, log_probs, log_probs_of
from daemon.learn.rewards import WEIGHTS, Said, rewards
from daemon.learn.sample import sample
from daemon.learn.steps import Descent
from daemon.learn.train import Progress, Target, TrainPlan


@dataclass(frozen=True, slots=True)
class Rollout:
    """What one round of answers was worth: mean of each term, share of groups whose rewards differ, share of clipped tokens, KL a token."""

    terms: dict[str, float]
    telling: float
    clipped: float
    kl: float


@dataclass(frozen=True, slots=True)
class ConsolidationReport:
    steps: int
    rollouts: list[Rollout] = field(default_factory=list)


def consolidate(
    base: Base, adapter: str, questions: Sequence[Question], replay: Sequence[Target], plan: TrainPlan, etcon: EtconPlan, progress: Progress
) -> ConsolidationReport:
    """Trains the adapter on its own answers, none of them seen before. Without questions there is nothing to do, and 0 steps say so."""
    if not questions or not etcon.rollouts:
        return ConsolidationReport(0)
    policy = consolidation_plan(plan, etcon)
    descent = Descent(base, replay, policy, etcon.rollouts * etcon.minibatches)
    rng = random.Random(etcon.seed)
    found: list[Rollout] = []
    frozen = _Reference(base, adapter)
    for round_ in range(etcon.rollouts):
        asked = rng.sample(questions, min(etcon.questions, len(questions)))
        spoken, worth = _answers(base, adapter, asked, etcon, seed=rng.randrange(2**31))
        weight = advantages(worth["total"])
        old = log_probs_of(base, spoken, adapter)
        with frozen:
            reference = log_probs_of(base, spoken, adapter)
        clipped, kl = [], []
        for part in _parts(len(spoken), etcon.minibatches, rng):
            loss, beyond, far = _loss(base, spoken, part, weight.flatten(), old, reference, etcon)
            descent.step(loss)
            clipped.append(beyond)
            kl.append(far)
        found.append(
            Rollout(
                {name: float(worth[name].mean()) for name in (*WEIGHTS, "total")},
                float((worth["total"].std(-1) > 1e-6).float().mean()),
                sum(clipped) / len(clipped),
                sum(kl) / len(kl),
            )
        )
        progress((round_ + 1) / etcon.rollouts, f"consolidating, round {round_ + 1}, reward {found[-1].terms['total']:.2f}")
    return ConsolidationReport(etcon.rollouts * etcon.minibatches, found)


def _answers(base: Base, adapter: str, asked: Sequence[Question], etcon: EtconPlan, *, seed: int) -> tuple[list[Spoken], dict[str, Tensor]]:
    """`group` answers to each question, question by question, and (g, m) rewards by term."""
    prompts = [data.chat_prefix(base.tokenizer, q.prompt) for q in asked for _ in range(etcon.group)]
    with using(base, adapter):
        drawn = sample(base, prompts, new_tokens=etcon.reason_tokens, temperature=etcon.temperature, top_p=etcon.top_p, seed=seed)
    end = data.chat_end(base.tokenizer)
    whole = [len(row) < etcon.reason_tokens for row in drawn]
    # an answer that never ended has no end to learn; an empty one has at least that
    spoken = [Spoken((*p, *row, *(end if ended else [])), len(p)) for p, row, ended in zip(prompts, drawn, whole, strict=True)]
    judged = [
        rewards(Said(" ".join(base.tokenizer.decode(row, skip_special_tokens=True).split()), q.gold, q.old, ended))
        for row, ended, q in zip(drawn, whole, [q for q in asked for _ in range(etcon.group)], strict=True)
    ]
    shape = (len(asked), etcon.group)
    return spoken, {name: torch.tensor([j[name] for j in judged], device=base.device).view(shape) for name in (*WEIGHTS, "total")}


def _loss(
    base: Base,
    spoken: Sequence[Spoken],
    part: Sequence[int],
    weight: Tensor,
    old: Sequence[Tensor],
    reference: Sequence[Tensor],
    etcon: EtconPlan,
) -> tuple[Tensor, float, float]:
    """(loss, share of clipped tokens, mean KL a token) of one minibatch; an answer's advantage stands at each of its tokens."""
    batch = [spoken[i] for i in part]
    now, rows = log_probs(base, batch)
    advantage = weight[torch.tensor(part, device=base.device)][rows]
    surrogate, clipped = clipped_policy(now, torch.cat([old[i] for i in part]), advantage, low=etcon.low, high=etcon.high, dual=etcon.dual)
    far = reference_kl(now, torch.cat([reference[i] for i in part]))
    loss = mean_by_example(surrogate + etcon.kl * far, rows, len(batch))
    return loss, float(clipped.mean()), float(far.detach().mean())


def _parts(count: int, minibatches: int, rng: random.Random) -> list[list[int]]:
    order = rng.sample(range(count), count)
    size = -(-count // minibatches)
    return [order[i : i + size] for i in range(0, count, size)]


class _Reference:
    """The adapter as it was, for the length of a `with`: its weights change places with a copy, so that no second adapter is needed."""

    def __init__(self, base: Base, adapter: str) -> None:
        self._weights = [p for name, p in base.model.named_parameters() if f".{adapter}." in name]
        self._then = [p.detach().clone() for p in self._weights]
        self._now: list[Tensor] = []

    @torch.no_grad()
    def __enter__(self) -> None:
        self._now = [p.detach().clone() for p in self._weights]
        for p, then in zip(self._weights, self._then, strict=True):
            p.copy_(then)

    @torch.no_grad()
    def __exit__(self, *_: object) -> None:
        for p, now in zip(self._weights, self._now, strict=True):
            p.copy_(now)
