"""Optimisers of an adapter by name, and Muon in fp32. Knows no losses."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from daemon.learn.errors import LearnError

OPTIMISERS = ("adamw", "muon")
# Quintic Newton-Schulz coefficients of Muon (Jordan et al. 2024): they push every singular value towards 1 within five steps.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_RMS = 0.2  # of an AdamW update, as training usually finds it (arXiv 2502.16982 section 2.2)


def optimiser_of(name: str, parameters: Sequence[Tensor], *, lr: float) -> torch.optim.Optimizer:
    """`muon` gives what is rare in the batches the same step as what is frequent, so that many things are learnt in fewer steps (arXiv 2509.26030);
    where few are learnt, their gradients leave most directions to noise, and it steps there too. Its updates have the size of AdamW's, so that a
    rate means the same in both. An adapter's weights are matrices, all of them.
    """
    if name == "muon":
        return Muon(parameters, lr=lr, like_adamw=True)
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99), weight_decay=0.0)
    raise LearnError(f"There is no optimiser {name!r}.", hint=f"Set learn.optimiser to one of: {', '.join(OPTIMISERS)}.")


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
    """Momentum, orthogonalised per weight matrix; matrices of one shape are handled in one batch.

    An update has the spectral norm lr times the root of rows / columns, or, `like_adamw`, the root mean square 0.2 lr (2502.16982 eq. 4).
    """

    def __init__(self, parameters: Iterable[Tensor], *, lr: float, momentum: float = 0.95, like_adamw: bool = False) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "like_adamw": like_adamw})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameters in _by_shape(group["params"]):
                updates = torch.stack([self._nesterov(p, group["momentum"]) for p in parameters])
                rows, columns = updates.shape[1:]
                scale = _RMS * max(rows, columns) ** 0.5 if group["like_adamw"] else max(1.0, rows / columns) ** 0.5
                for parameter, update in zip(parameters, orthogonalised(updates), strict=True):
                    parameter.add_(update, alpha=-group["lr"] * scale)

    def _nesterov(self, parameter: Tensor, momentum: float) -> Tensor:
        assert parameter.grad is not None
        state: dict[str, Any] = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum"]
        buffer.lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(buffer, momentum)


def _by_shape(parameters: list[Tensor]) -> list[list[Tensor]]:
    shapes: dict[torch.Size, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            shapes.setdefault(parameter.shape, []).append(parameter)
    return list(shapes.values())
