"""A training step with the adapter folded into the weights: W + s B A is made once a step, where W x + s B A x is computed for every token.

The same function and the same gradient of B, for an adapter whose down-projections are frozen, with three quarters of the arithmetic at rank 128. In
fp32 only: a small update is rounded away in bf16 weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from daemon.learn.models import Base

BYTES = 1 << 30  # most that the folded weights may take beside the model's own


class Folded:
    """The adapted layers of the adapter that trains. `refresh` before every step; with no layer to fold it does nothing."""

    def __init__(self, layers: list["_Layer"]) -> None:
        self._layers = layers

    @torch.no_grad()
    def refresh(self) -> None:
        """Folds what the adapter has become."""
        for layer in self._layers:
            layer.fold()


@contextmanager
def folded(base: Base) -> Iterator[Folded]:
    """Computes so while gradients are taken; everything else, as with the adapter off, is computed as ever."""
    layers = _layers(base)
    for layer in layers:
        layer.put()
    try:
        yield Folded(layers)
    finally:
        for layer in layers:
            layer.take_back()


def _layers(base: Base) -> list["_Layer"]:
    found = [
        _Layer(module, name)
        for module in base.model.modules()
        for name, up in getattr(module, "lora_B", {}).items()
        if up.weight.requires_grad and type(module.base_layer) is torch.nn.Linear
    ]
    weights = [layer.weight for layer in found]
    frozen = not any(layer.down.requires_grad for layer in found)
    exact = all(w.dtype == torch.float32 for w in weights) and sum(w.numel() * w.element_size() for w in weights) <= BYTES
    return found if frozen and exact else []


class _Layer:
    """One linear layer under PEFT's wrapping, which adapter `name` adds to."""

    def __init__(self, module: Any, name: str) -> None:
        self._module, self._name = module, name
        self.weight: Tensor = module.base_layer.weight
        self.down: Tensor = module.lora_A[name].weight
        self._up: Tensor = module.lora_B[name].weight
        self._scale: float = module.scaling[name]
        self._whole = self.weight  # until it is put: what is not folded takes no memory
        self._before = module.forward

    def fold(self) -> None:
        torch.addmm(self.weight, self._up, self.down, alpha=self._scale, out=self._whole)

    def put(self) -> None:
        self._whole = torch.empty_like(self.weight)
        self._module.forward = self._forward

    def take_back(self) -> None:
        del self._module.forward  # what stood on the instance; the class has its own

    def _forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        module = self._module
        if not torch.is_grad_enabled() or module.disable_adapters or module.active_adapters != [self._name]:
            given: Tensor = self._before(x, *args, **kwargs)
            return given
        y: Tensor = _Through.apply(x, self._up, self.down, self._whole, self._scale)  # type: ignore[no-untyped-call]
        bias = module.base_layer.bias
        return y if bias is None else y + bias


class _Through(torch.autograd.Function):
    """x (..., in) -> x W'^T (..., out), with the gradients of x and of B (out, rank)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, up: Tensor, down: Tensor, whole: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(linear(x, down).flatten(0, -2), whole)
        ctx.scale = scale
        return linear(x, whole)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None, None]:
        behind, whole = ctx.saved_tensors
        of_x = gradient @ whole if ctx.needs_input_grad[0] else None
        of_up = (gradient.flatten(0, -2).T @ behind).mul_(ctx.scale)
        return of_x, of_up, None, None, None
