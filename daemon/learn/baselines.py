"""What distillation is measured against: plain fine-tuning on the definition, and on the same transfer set, either held to the base or not.

Cross-entropy is the divergence from a teacher that is certain of the written token, so the same rows, positions and training loop serve both.
Knows no optimiser.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from daemon.learn import data
from daemon.learn.data import Encoded, Example
from daemon.learn.errors import NothingToLearn
from daemon.learn.losses import certain
from daemon.learn.models import Base
from daemon.learn.train import Target, TrainPlan, replay_targets


@dataclass(frozen=True, slots=True)
class BaselinePlan:
    """`base_kl`: weight of KL(base || student) on the very texts that are learnt (2602.16093 takes 0.1); 0 leaves it out."""

    base_kl: float = 0.0


def definition_targets(base: Base, examples: Sequence[Example]) -> list[Target]:
    """Each definition once, as plain text, every token (2602.16093 eq. 1)."""
    told = dict.fromkeys(e.definition for e in examples)
    start = data.plain_prefix(base.tokenizer, "")
    rows = [((*start, *data.ids_of(base.tokenizer, text))[: base.context], len(start)) for text in told]
    return _certain(base, [(ids, tuple(range(max(first, 1), len(ids)))) for ids, first in rows])


def transfer_targets(base: Base, examples: Sequence[Example]) -> list[Target]:
    """The transfer set's own words: the ids and the positions that context distillation learns, without the teacher."""
    encoded = [data.encode(base.tokenizer, e) for e in examples]
    return _certain(base, [(e.student, _labels(e)) for e in encoded if e.supervised and len(e.teacher) <= base.context])


def for_cross_entropy(plan: TrainPlan) -> TrainPlan:
    return replace(plan, temperature=1.0, divergence="forward_kl", on_policy=0.0)


def held_to_base(base: Base, targets: Sequence[Target], plan: TrainPlan, baseline: BaselinePlan) -> tuple[list[Target], TrainPlan]:
    """The rows that are learnt as rows to be held on, and the plan that holds to them with weight `base_kl`."""
    plan = replace(plan, replay_weight=baseline.base_kl, replay_batch=plan.batch, replay_rows=0)
    return replay_targets(base, [t.ids for t in targets], plan), plan


def _labels(e: Encoded) -> tuple[int, ...]:
    """Indices into the student's row of the supervised tokens themselves."""
    return tuple(len(e.student) - len(e.text) + i for i in e.supervised)


def _certain(base: Base, rows: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> list[Target]:
    found = [(ids, labels) for ids, labels in rows if labels]
    if not found:
        raise NothingToLearn(f"None of {len(rows)} texts has a token to learn.")
    return [
        Target(ids, tuple(i - 1 for i in labels), certain(torch.tensor([ids[i] for i in labels], device=base.device)))
        for ids, labels in found
    ]
