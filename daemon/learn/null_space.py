"""A start that leaves alone what the base has seen: the down-projection of every LoRA spans the directions that its inputs hardly use.

After LoRA-Null (arXiv 2503.02659, second form) and CorDA (2406.05223): of the covariance C of a linear layer's inputs on text to be kept, the
eigenvectors with the r smallest eigenvalues become the rows of A, and B is zero. B A x is then small for such inputs whatever B becomes, but only
while A stays frozen, so A does not train. Base weights are untouched: the folder is a plain PEFT LoRA.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from daemon.learn.batches import by_length, hidden_states
from daemon.learn.models import Base, using

_PASS_TOKENS = 4096


def place(base: Base, name: str, rows: Sequence[Sequence[int]]) -> None:
    """Puts adapter `name`, fresh, into the null space of the base's activations on `rows`, and freezes its down-projections."""
    for module, covariance in covariances(base, name, rows).items():
        _, vectors = torch.linalg.eigh(covariance.double())  # ascending
        weight = module.lora_A[name].weight  # (r, in)
        with torch.no_grad():
            weight.copy_(vectors[:, : weight.shape[0]].T.to(weight))
    freeze(base, name)


def freeze(base: Base, name: str) -> None:
    """Keeps the down-projections where they are; also what a version that builds on such a one must do."""
    for module in layers(base, name):
        module.lora_A[name].weight.requires_grad_(False)


@torch.no_grad()
def covariances(base: Base, name: str, rows: Sequence[Sequence[int]]) -> dict[Any, Tensor]:
    """(in, in) mean outer product of the inputs of every adapted linear layer, the adapter off, padding left out."""
    sums: dict[Any, Tensor] = {}
    count = 0
    kept = [tuple(r[: base.context]) for r in rows]
    with using(base, None):
        for group in by_length(kept, tokens=_PASS_TOKENS):
            batch = [kept[i] for i in group]
            width = max(map(len, batch))
            real = torch.tensor([[True] * len(r) + [False] * (width - len(r)) for r in batch], device=base.device)
            with _watched(layers(base, name), sums, real):
                hidden_states(base, batch)
            count += int(real.sum())
    return {module: total / count for module, total in sums.items()}


@contextmanager
def _watched(modules: Sequence[Any], sums: dict[Any, Tensor], real: Tensor) -> Iterator[None]:
    def watch(module: Any) -> Any:
        def add(_: Any, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0][real].float()  # (tokens, in)
            sums[module] = sums.get(module, torch.zeros(())).to(x.device) + x.T @ x

        return add

    handles = [m.base_layer.register_forward_pre_hook(watch(m)) for m in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def layers(base: Base, name: str) -> list[Any]:
    """Every linear layer that adapter `name` adds to."""
    return [m for m in base.model.modules() if name in getattr(m, "lora_A", {})]
