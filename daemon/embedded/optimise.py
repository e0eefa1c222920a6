"""Two things that make training from nothing affordable on two processor cores: Muon in fp32, and a cross-entropy that never holds all logits."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

# Quintic Newton-Schulz coefficients of Muon (Jordan et al. 2024): they push every singular value towards 1 within five steps.
_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """(n, rows, columns) -> the nearest semi-orthogonal matrices, in the tensors' own precision.

    torch's own Muon casts to bf16, which a processor without bf16 units runs several times slower than fp32.
    """
    transposed = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if transposed else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = _A * x + (_B * square + _C * square @ square) @ x
    return x.mT if transposed else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised per weight matrix; matrices of one shape are handled in one batch."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], *, lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameters in _by_shape(group["params"]):
                updates = torch.stack([self._nesterov(p, group["momentum"]) for p in parameters])
                scale = max(1.0, updates.shape[1] / updates.shape[2]) ** 0.5
                for parameter, update in zip(parameters, orthogonalised(updates), strict=True):
                    parameter.add_(update, alpha=-group["lr"] * scale)

    def _nesterov(self, parameter: torch.nn.Parameter, momentum: float) -> Tensor:
        assert parameter.grad is not None
        state: dict[str, Any] = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum"]
        buffer.lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(buffer, momentum)


def _by_shape(parameters: list[torch.nn.Parameter]) -> list[list[torch.nn.Parameter]]:
    shapes: dict[torch.Size, list[torch.nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            shapes.setdefault(parameter.shape, []).append(parameter)
    return list(shapes.values())


_CHUNK = 512  # positions whose logits exist at one time


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        count = targets.shape[0]
        hidden_grad, head_grad = torch.empty_like(hidden), torch.zeros_like(head)
        total = hidden.new_zeros(())
        for start in range(0, count, _CHUNK):
            h, t = hidden[start : start + _CHUNK], targets[start : start + _CHUNK, None]
            logits = h @ head.T
            top = logits.amax(1, keepdim=True)
            right = logits.gather(1, t)
            logits.sub_(top).exp_()
            mass = logits.sum(1, keepdim=True)
            total += (top + mass.log() - right).sum()
            logits.div_(mass * count).scatter_add_(1, t, torch.full_like(right, -1.0 / count))  # now d loss / d logits
            torch.mm(logits, head, out=hidden_grad[start : start + _CHUNK])
            head_grad.addmm_(logits.T, h)
        ctx.save_for_backward(hidden_grad, head_grad)
        return total / count

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden_grad, head_grad = ctx.saved_tensors
        return hidden_grad * grad, head_grad * grad, None


def chunked_cross_entropy(hidden: Tensor, head: Tensor, targets: Tensor, *, ignore: int) -> Tensor:
    """Mean cross-entropy of (n, width) states against (vocabulary, width) head and (n,) targets, leaving out targets equal to `ignore`."""
    keep = targets != ignore
    loss: Tensor = _ChunkedCrossEntropy.apply(hidden[keep], head, targets[keep])  # type: ignore[no-untyped-call]
    return loss
