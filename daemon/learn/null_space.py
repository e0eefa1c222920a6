"""A start that leaves alone what the base has seen: the down-projection of every LoRA spans the directions that its inputs hardly use.

After LoRA-Null (arXiv 2503.02659, second form) and CorDA (2406.05223): of the covariance C of a linear layer's inputs on text to be kept, the
eigenvectors with the r smallest eigenvalues become the rows of A, and B is zero. B A x is then small for such inputs whatever B becomes, but only
while A stays frozen, so A does not train. Base weights are untouched: the folder is a plain PEFT LoRA.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from daemon.learn.inputs import freeze, read
from daemon.learn.models import Base


def place(base: Base, name: str, rows: Sequence[Sequence[int]]) -> None:
    """Puts adapter `name`, fresh, into the null space of the base's activations on `rows`, and freezes its down-projections."""
    for module, covariance in covariances(base, name, rows).items():
        _, vectors = torch.linalg.eigh(covariance.double())  # ascending
        weight = module.lora_A[name].weight  # (r, in)
        with torch.no_grad():
            weight.copy_(vectors[:, : weight.shape[0]].T.to(weight))
    freeze(base, name)


def covariances(base: Base, name: str, rows: Sequence[Sequence[int]]) -> dict[Any, Tensor]:
    """(in, in) mean outer product of the inputs of every adapted linear layer."""
    sums: dict[Any, Tensor] = {}
    counts: Counter[Any] = Counter()

    def add(module: Any, x: Tensor) -> None:
        sums[module] = sums.get(module, torch.zeros((), device=x.device)) + x.T @ x
        counts[module] += len(x)

    read(base, name, rows, add)
    return {module: total / counts[module] for module, total in sums.items()}
