"""What a model says, as rows with the place where its words begin, and the log-probability of each of those words. Knows no objective."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from daemon.learn.batches import by_length, hidden_states, logits_at
from daemon.learn.models import Base, using

_PASS_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Spoken:
    """`ids[start:]` are the words that count; what stands before was given."""

    ids: tuple[int, ...]
    start: int

    @property
    def count(self) -> int:
        return len(self.ids) - self.start


def log_probs(base: Base, batch: Sequence[Spoken]) -> tuple[Tensor, Tensor]:
    """((n,) log-probability of every word that counts, (n,) its row), with whatever adapter is active."""
    states = hidden_states(base, [s.ids for s in batch])
    rows = torch.tensor([b for b, s in enumerate(batch) for _ in range(s.count)], device=base.device)
    at = torch.tensor([i - 1 for s in batch for i in range(s.start, len(s.ids))], device=base.device)
    words = torch.tensor([i for s in batch for i in s.ids[s.start :]], device=base.device)
    every = torch.log_softmax(logits_at(base, states, rows, at).float(), -1)
    return every.gather(-1, words[:, None]).squeeze(-1), rows


@torch.no_grad()
def log_probs_of(base: Base, spoken: Sequence[Spoken], adapter: str | None) -> list[Tensor]:
    """The same for each row of many, without a gradient."""
    found: dict[int, Tensor] = {}
    with using(base, adapter):
        for group in by_length([s.ids for s in spoken], tokens=_PASS_TOKENS):
            batch = [spoken[i] for i in group]
            parts = log_probs(base, batch)[0].split([s.count for s in batch])
            found.update(zip(group, parts, strict=True))
    return [found[i] for i in range(len(spoken))]
