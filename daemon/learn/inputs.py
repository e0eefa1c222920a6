"""What the linear layers of the base read, for those who choose where an adapter's down-projections lie (null_space.py, apart.py)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from daemon.learn.batches import by_length, hidden_states
from daemon.learn.models import Base, using

_PASS_TOKENS = 2048

Take = Callable[[Any, Tensor], None]


def layers(base: Base, name: str) -> list[Any]:
    """Every linear layer that adapter `name` adds to."""
    return [m for m in base.model.modules() if name in getattr(m, "lora_A", {})]


def freeze(base: Base, name: str) -> None:
    """Keeps the down-projections where they are; also what a version that builds on such a one must do."""
    for module in layers(base, name):
        module.lora_A[name].weight.requires_grad_(False)


@torch.no_grad()
def read(base: Base, name: str, rows: Sequence[Sequence[int]], take: Take) -> None:
    """Reads the rows with the adapter off and gives `take` every adapted layer with its inputs (tokens, in) of a batch, padding left out.

    Layers that read the same input one after another are given the same tensor. No more than one is kept here: all of a large model's inputs
    take more memory than the model.
    """
    kept = [tuple(r[: base.context]) for r in rows]
    with using(base, None):
        for group in by_length(kept, tokens=_PASS_TOKENS):
            batch = [kept[i] for i in group]
            width = max(map(len, batch))
            real = torch.tensor([[True] * len(r) + [False] * (width - len(r)) for r in batch], device=base.device)
            with _watched(layers(base, name), real, take):
                hidden_states(base, batch)


@contextmanager
def _watched(modules: Sequence[Any], real: Tensor, take: Take) -> Iterator[None]:
    last: tuple[Tensor, Tensor] | None = None

    def watch(module: Any) -> Any:
        def give(_: Any, inputs: tuple[Tensor, ...]) -> None:
            nonlocal last
            if last is None or last[0] is not inputs[0]:
                last = (inputs[0], inputs[0][real].float())
            take(module, last[1])

        return give

    handles = [m.base_layer.register_forward_pre_hook(watch(m)) for m in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
