"""How much of a definition the model has still to learn: the same number that distillation then drives down.

The KL between the model with the definition in its context and the served model without it, on what the model itself says and answers about the
entity when it has the definition. Near zero: it would say the same anyway, so the definition is known. Knows no thresholds.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from daemon.learn import data
from daemon.learn.batches import by_length, hidden_states, logits_at
from daemon.learn.data import PLAIN_FORM, Encoded, Example
from daemon.learn.elicit import ElicitPlan, Told, conversations, elicit
from daemon.learn.losses import forward_kl
from daemon.learn.models import Base, using

_ENOUGH = 3  # answers, of the twelve that are asked for


def novelty(base: Base, told: Sequence[Told], plan: ElicitPlan, *, adapter: str | None = None) -> dict[int, float]:
    """Mean KL in nats a token, by definition id. With an adapter, what it has learnt already counts as known.

    An adapter answers more boldly about everything, so that with one loaded known and new lie closer together.
    """
    return {id_: mean_kl(base, examples, adapter) for id_, examples in said_about(base, told, plan).items()}


def said_about(base: Base, told: Sequence[Told], plan: ElicitPlan) -> dict[int, list[Example]]:
    """What novelty is measured on, by definition id: the base's own answers, with the definition before it, to a few questions of its own.

    They hold the facts, where running text is mostly manner. A model without a chat form writes text. Where it says too little about the entity
    to go by, because it hardly understands what it reads, the definition's own words are taken: nothing is called known by an accident of one
    answer.
    """
    few = replace(plan, samples=6, turns=2, seed=plan.seed + 7)
    said = conversations(base, told, few) if data.has_chat(base.tokenizer) else elicit(base, told, few)
    own_words = {t.id: [Example(t.entity, t.definition, PLAIN_FORM, "", t.definition)] for t in told}
    return {id_: said[id_] if len(said[id_]) >= _ENOUGH else own_words[id_] for id_ in own_words}


@torch.no_grad()
def mean_kl(base: Base, examples: Sequence[Example], adapter: str | None) -> float:
    """Between the base with the definition in its context and the adapter, or the base, without, in nats a token."""
    encoded = [e for e in (_fitted(base, data.encode(base.tokenizer, each)) for each in examples) if e.supervised]
    per_example: list[float] = []
    for group in by_length([e.teacher for e in encoded], tokens=8192):
        batch = [encoded[i] for i in group]
        with using(base, None):
            teacher = _at(base, [e.teacher for e in batch], batch)
        with using(base, adapter):
            student = _at(base, [e.student for e in batch], batch)
        counts = [len(e.supervised) for e in batch]
        per_example += [float(part.mean()) for part in forward_kl(teacher, student).split(counts)]
    return sum(per_example) / len(per_example) if per_example else 0.0


def _fitted(base: Base, e: Encoded) -> Encoded:
    """Without the positions that lie beyond the model's context."""
    room = base.context - (len(e.teacher) - len(e.text))
    return (
        e
        if len(e.text) <= room
        else Encoded(e.student[: base.context], e.teacher[: base.context], e.text[:room], tuple(i for i in e.supervised if i < room))
    )


def _at(base: Base, rows: Sequence[tuple[int, ...]], batch: Sequence[Encoded]) -> torch.Tensor:
    states = hidden_states(base, rows)
    row = torch.tensor([b for b, e in enumerate(batch) for _ in e.supervised], device=base.device)
    at = torch.tensor([len(r) - len(e.text) + i - 1 for r, e in zip(rows, batch, strict=True) for i in e.supervised], device=base.device)
    return logits_at(base, states, row, at)
