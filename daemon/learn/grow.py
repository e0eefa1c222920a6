"""A version that builds on another: it is what that one was, and has directions of its own for what is new.

The parent's down-projections stay, so that nothing of it is lost at the start; the added ones lie where the inputs of the new rows are large and
those of the base's text and of what the parent learnt are small (apart.py), so that what is learnt there moves neither (the idea of InfLoRA, arXiv
2404.00228, with both held in one moment). Where the rank may not grow, the parent makes room: it keeps the part of itself that adds most to what it
learnt (a truncation in the metric of its inputs, as SVD-LLM's, 2403.07378).
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from daemon.learn.apart import Inputs, directions, inputs_of
from daemon.learn.inputs import freeze
from daemon.learn.models import Base

Rows = Sequence[Sequence[int]]
SINGULAR = 1e-6  # of the mean eigenvalue, where inputs leave directions of the adapter unused


@torch.no_grad()
def grow(base: Base, name: str, parent: Mapping[str, tuple[Tensor, Tensor]], *, new: Rows, held: Rows, kept: Rows, added: int) -> float:
    """Makes adapter `name`, fresh, of the parent and at least `added` directions for the `new` rows of ids, and freezes its down-projections.

    `parent` holds A (rank, in) and B (out, rank), its scaling in B, by the name of the layer; `held` are rows of what it learnt, `kept` of the
    base's. Returns the share of E |B A x|^2 over the held inputs that is still there: 1 where the parent fits beside what is added.
    """
    paths = {module: path for path, module in base.model.named_modules()}
    new_inputs, kept_inputs = inputs_of(base, name, new), inputs_of(base, name, kept)
    held_inputs = inputs_of(base, name, held) if held else kept_inputs
    made: dict[int, Tensor] = {}  # layers that read the same input have the same new directions
    whole = left = 0.0
    for module, x in new_inputs.items():
        down, up = parent[paths[module]]
        rank = module.lora_A[name].weight.shape[0]
        down, up, before, now = _fitted(down, up, held_inputs[module], most=max(1, rank - added))
        whole, left = whole + before, left + now
        if id(x) not in made:
            made[id(x)] = directions(x, kept_inputs[module] | held_inputs[module], rank=rank - len(down))
        weight = module.lora_A[name].weight
        weight.copy_(torch.cat([down.to(weight), made[id(x)].to(weight)]))
        module.lora_B[name].weight.zero_()[:, : len(down)] = (up / module.scaling[name]).to(weight)
    freeze(base, name)
    return left / whole if whole else 1.0


def _fitted(down: Tensor, up: Tensor, inputs: Inputs, *, most: int) -> tuple[Tensor, Tensor, float, float]:
    """(A, B) of rank `most` at the highest, nearest to B A over the inputs; E |B A x|^2 before and after.

    An input is on average as large behind this A as behind the added directions, so that all of B moves at one rate whatever made the parent.
    """
    behind = inputs.behind(down)
    damped = behind + SINGULAR * behind.trace() / len(behind) * torch.eye(len(behind), dtype=behind.dtype, device=behind.device)
    root = torch.linalg.cholesky(damped)
    scaled = up.to(behind) @ root
    before = float(scaled.square().sum())
    if len(down) <= most:
        size = (inputs.power / float(behind.diag().mean())) ** 0.5
        return down * size, up / size, before, before
    u, s, vh = torch.linalg.svd(scaled, full_matrices=False)
    size = inputs.power**0.5
    rows = torch.linalg.solve_triangular(root.T, vh[:most].T, upper=True).T @ down.to(behind)
    return rows * size, u[:, :most] * s[:most] / size, before, float(s[:most].square().sum())
