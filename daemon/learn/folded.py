"""A training step with the adapter folded into the weights: W + s B A is made once a step, where W x + s B A x is computed for every token.

The same function and the same gradient of B, for an adapter whose down-projections are frozen, with three quarters of the arithmetic at rank 128.

A processor with units for bf16 multiplies it in about half the time of fp32. There the inputs, the folded weights and those of the output layer are
rounded to bf16 as they are multiplied (mixed precision, Micikevicius et al., arXiv 1710.03740): weights, adapter, optimiser, attention, norms and
losses stay fp32. A model whose own weights are bf16 is not folded: a small update would be rounded away in them for good.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from daemon.learn.errors import LearnError
from daemon.learn.models import Base

BYTES = 1 << 30  # most that the folded weights may take beside the model's own
PRECISIONS = ("auto", "float32")


class Folded:
    """The adapted layers of the adapter that trains. `refresh` before every step; with no layer to fold it does nothing."""

    def __init__(self, layers: Sequence["_Layer"]) -> None:
        self._layers = layers

    @torch.no_grad()
    def refresh(self) -> None:
        """Folds what the adapter has become."""
        for layer in self._layers:
            layer.fold()


@contextmanager
def folded(base: Base, precision: str = "auto") -> Iterator[Folded]:
    """Computes so while gradients are taken; everything else, as with the adapter off, is computed as ever. `precision` is one of PRECISIONS."""
    if precision not in PRECISIONS:
        raise LearnError(f"There is no precision {precision!r}.", hint=f"One of: {', '.join(PRECISIONS)}.")
    layers = _layers(base)
    half = precision == "auto" and has_bf16(base.device)
    output = [_Output(head)] if layers and half and (head := _plain_output(base)) is not None else []
    for layer in layers:
        layer.put(torch.bfloat16 if half else torch.float32)
    for each in output:
        each.put()
    try:
        yield Folded(layers)
    finally:
        for layer in layers:
            layer.take_back()
        for each in output:
            each.take_back()


def has_bf16(device: torch.device) -> bool:
    """Whether it is a processor that multiplies bf16 in hardware (AVX512-BF16 or AMX on x86)."""
    found = torch.cpu.get_capabilities()
    return device.type == "cpu" and any(found.get(unit, False) for unit in ("avx512_bf16", "amx_bf16"))


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


def _plain_output(base: Base) -> torch.nn.Linear | None:
    """The layer that makes logits, where nothing is adapted in it."""
    found = base.model.get_output_embeddings()
    return found if type(found) is torch.nn.Linear and found.weight.dtype == torch.float32 and not found.weight.requires_grad else None


class _Layer:
    """One linear layer under PEFT's wrapping, which adapter `name` adds to."""

    def __init__(self, module: Any, name: str) -> None:
        self._module, self._name = module, name
        self.weight: Tensor = module.base_layer.weight
        self.down: Tensor = module.lora_A[name].weight
        self._up: Tensor = module.lora_B[name].weight
        self._scale: float = module.scaling[name]
        self._whole, self._down = self.weight, self.down  # until it is put: what is not folded takes no memory
        self._before = module.forward

    def fold(self) -> None:
        if self._whole.dtype == self.weight.dtype:
            torch.addmm(self.weight, self._up, self.down, alpha=self._scale, out=self._whole)
        else:
            self._whole.copy_(torch.addmm(self.weight, self._up, self.down, alpha=self._scale))

    def put(self, dtype: torch.dtype) -> None:
        self._whole, self._down = torch.empty_like(self.weight, dtype=dtype), self.down.detach().to(dtype)
        self._module.forward = self._forward

    def take_back(self) -> None:
        del self._module.forward  # what stood on the instance; the class has its own

    def _forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        module = self._module
        if not torch.is_grad_enabled() or module.disable_adapters or module.active_adapters != [self._name]:
            given: Tensor = self._before(x, *args, **kwargs)
            return given
        y: Tensor = _Through.apply(x, self._up, self._down, self._whole, self._scale)  # type: ignore[no-untyped-call]
        bias = module.base_layer.bias
        return y if bias is None else y + bias


class _Output:
    """The layer that makes logits, its weights rounded to bf16 where gradients pass through it."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._before = module.forward
        self._weight: Tensor = module.weight

    def put(self) -> None:
        self._weight = self._module.weight.detach().to(torch.bfloat16)
        self._module.forward = self._forward

    def take_back(self) -> None:
        del self._module.forward

    def _forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            given: Tensor = self._before(x)
            return given
        y: Tensor = _Fixed.apply(x, self._weight)  # type: ignore[no-untyped-call]
        return y if self._module.bias is None else y + self._module.bias


class _Through(torch.autograd.Function):
    """x (..., in) -> x W'^T (..., out), with the gradients of x and of B (out, rank); multiplied in the precision of W'."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, up: Tensor, down: Tensor, whole: Tensor, scale: float) -> Tensor:
        given = x.to(whole.dtype)
        ctx.save_for_backward(linear(given, down).flatten(0, -2), whole)
        ctx.scale = scale
        return linear(given, whole).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None, None]:
        behind, whole = ctx.saved_tensors
        given = gradient.to(whole.dtype)
        of_x = (given @ whole).to(gradient.dtype) if ctx.needs_input_grad[0] else None
        of_up = (given.flatten(0, -2).T @ behind).to(gradient.dtype).mul_(ctx.scale)
        return of_x, of_up, None, None, None


class _Fixed(torch.autograd.Function):
    """x (..., in) -> x W^T (..., out), with the gradient of x; multiplied in the precision of W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return linear(x.to(weight.dtype), weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        return (gradient.to(weight.dtype) @ weight).to(gradient.dtype), None
