"""A start where what is learnt stands apart: the down-projection of every LoRA spans the directions in which the inputs of new rows are large and
those of rows to be kept are small.

Of the two second moments K (new) and C (kept) of a linear layer's inputs, the generalized eigenvectors K v = w C v with the largest w become the rows
of A (Fukunaga and Koontz 1970), and A stays frozen: B A x is small for kept inputs whatever B becomes. LoRA-Null (arXiv 2503.02659, null_space.py)
looks at C alone and so may take directions that carry nothing of the new either. MEMIT (2210.07229 eq. 14) whitens its keys by C in the same way,
one layer at a time and in closed form. Base weights are untouched: the folder is a plain PEFT LoRA.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from daemon.learn.inputs import freeze, read
from daemon.learn.models import Base

SINGULAR = 1e-6  # of the mean eigenvalue, where inputs leave directions of the adapter unused
DAMPING = 0.01  # of the mean eigenvalue of C, added to each: directions that kept text has not happened to use are not free
TOKENS = 8192  # of either kind that are looked at
WIDE = 1536  # a layer with more inputs than this is looked at in as many dimensions: eigenvectors cost their third power


def place(base: Base, name: str, new: Sequence[Sequence[int]], kept: Sequence[Sequence[int]]) -> None:
    """Puts adapter `name`, fresh, where `new` rows of ids stand apart from `kept` ones, and freezes its down-projections."""
    new_inputs, kept_inputs = inputs_of(base, name, new), inputs_of(base, name, kept)
    made: dict[int, Tensor] = {}  # layers that read the same input have the same directions
    for module, x in new_inputs.items():
        weight = module.lora_A[name].weight
        if id(x) not in made:
            made[id(x)] = directions(x, kept_inputs[module], rank=weight.shape[0])
        with torch.no_grad():
            weight.copy_(made[id(x)].to(weight))
    freeze(base, name)


@torch.no_grad()
def carry(base: Base, name: str, parent: Mapping[str, tuple[Tensor, Tensor]], rows: Sequence[Sequence[int]]) -> float:
    """Has adapter `name`, placed and frozen, add to the inputs of `rows` of ids what the parent added to them, as near as its directions allow.

    `parent` holds A (rank, in) and B (out, rank), its scaling in B, by the name of the layer. Of the up-projections B' those with the least
    E |B' A' x - B A x|^2 over the inputs x are B' = B A M A'^T (A' M A'^T)^-1, with M = E x x^T. Returns the share of E |B A x|^2 that is kept.
    """
    names = {module: path for path, module in base.model.named_modules()}
    left = whole = 0.0
    for module, x in inputs_of(base, name, rows).items():
        a, b = (part.to(x.device).double() for part in parent[names[module]])
        down = module.lora_A[name].weight.double()
        moment = (x.T @ x).double() / len(x)
        inner = down @ moment @ down.T
        inner += SINGULAR * inner.trace() / len(inner) * torch.eye(len(inner), dtype=inner.dtype, device=inner.device)
        up = torch.linalg.solve(inner, down @ moment @ a.T @ b.T).T
        module.lora_B[name].weight.copy_(up / module.scaling[name])
        was, missing = b @ a, b @ a - up @ down
        whole += float(((was @ moment) * was).sum())
        left += float(((missing @ moment) * missing).sum())
    return 1 - left / whole if whole else 1.0


def directions(new: Tensor, kept: Tensor, *, rank: int, damping: float = DAMPING) -> Tensor:
    """(rank, in) from inputs (tokens, in) of both kinds, the direction that tells most apart last.

    Scaled so that a new input is on average as large behind them as behind PEFT's random start, whose entries have variance 1 / (3 in).
    """
    width = new.shape[1]
    basis = None
    if width > WIDE:  # all that either kind says lies in the span of its tokens
        each = WIDE // 2
        new, kept = (x[torch.linspace(0, len(x) - 1, min(each, len(x)), device=x.device).long()] for x in (new, kept))
        basis, _ = torch.linalg.qr(torch.cat([new, kept]).T)  # (in, dimensions)
        new, kept = new @ basis, kept @ basis
    k, c = ((x.T @ x).double() / len(x) for x in (new, kept))
    size = len(c)
    root = torch.linalg.cholesky(c + damping * c.trace() / size * torch.eye(size, dtype=c.dtype, device=c.device))
    half = torch.linalg.solve_triangular(root, k, upper=False)
    whitened = torch.linalg.solve_triangular(root, half.T, upper=False)
    _, vectors = torch.linalg.eigh((whitened + whitened.T) / 2)  # ascending
    rows: Tensor = torch.linalg.solve_triangular(root.T, vectors[:, -rank:], upper=True).T
    power = ((rows @ k) * rows).sum(-1).mean()
    rows = rows * (k.trace() / (3 * width) / power).sqrt()
    return rows if basis is None else rows @ basis.double().T


def inputs_of(base: Base, name: str, rows: Sequence[Sequence[int]], *, tokens: int = TOKENS) -> dict[Any, Tensor]:
    """(tokens, in) inputs of every adapted linear layer, the same tensor for layers that read the same; from as many rows as hold `tokens`."""
    enough = max(1, min(len(rows), tokens * len(rows) // max(1, sum(min(len(r), base.context) for r in rows))))
    found: dict[Any, list[Tensor]] = {}
    read(base, name, [rows[i * len(rows) // enough] for i in range(enough)], lambda module, x: found.setdefault(module, []).append(x))
    joined: dict[tuple[int, ...], Tensor] = {}
    whole = {}
    for module, parts in found.items():
        key = tuple(map(id, parts))
        if key not in joined:
            joined[key] = torch.cat(parts)
        whole[module] = joined[key]
    return whole
