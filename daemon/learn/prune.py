"""Gives up the largest entries of an update: against priming, where a new fact colours what has nothing to do with it (arXiv 2504.09522).

The paper drops the largest 8% of the parameters' update and keeps the rest. Here the parameters are the adapter's, so what is left stays a plain
LoRA of the same rank; the update is what the training changed since it began.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def snapshot(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [p.detach().clone() for p in parameters]


@torch.no_grad()
def drop_largest(parameters: Sequence[Tensor], before: Sequence[Tensor], *, share: float) -> int:
    """Puts the `share` of entries that moved farthest, in each tensor, back to where they were. How many that were."""
    dropped = 0
    for now, then in zip(parameters, before, strict=True):
        moved = (now - then).abs().flatten()
        count = int(share * moved.numel())
        if count:
            at = moved.topk(count).indices
            now.view(-1)[at] = then.reshape(-1)[at]
            dropped += count
    return dropped
