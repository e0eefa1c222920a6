"""A start where what is learnt stands apart: the down-projection of every LoRA spans the directions in which the inputs of new rows are large and
those of rows to be kept are small.

Of the two second moments K (new) and C (kept) of a linear layer's inputs, the generalized eigenvectors K v = w C v with the largest w become the rows
of A (Fukunaga and Koontz 1970), and A stays frozen: B A x is small for kept inputs whatever B becomes. LoRA-Null (arXiv 2503.02659, null_space.py)
looks at C alone and so may take directions that carry nothing of the new either. MEMIT (2210.07229 eq. 14) whitens its keys by C in the same way,
one layer at a time and in closed form. Base weights are untouched: the folder is a plain PEFT LoRA.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from daemon.learn.inputs import freeze, read
from daemon.learn.models import Base

DAMPING = 0.01  # of the mean eigenvalue of C, added to each: directions that kept text has not happened to use are not free
TOKENS = 8192  # of either kind that are looked at
WIDE = 1536  # a layer with more inputs than this is looked at in as many dimensions: eigenvectors cost their third power


class Inputs:
    """What a layer reads, as it comes: the second moment of its inputs, or of a wide layer every `stride`th of them."""

    def __init__(self, *, stride: int) -> None:
        self._stride, self._seen = stride, 0
        self._squares: Tensor | None = None
        self._tokens: list[Tensor] = []

    def add(self, x: Tensor) -> None:
        """More of them: (tokens, in)."""
        if x.shape[1] > WIDE:
            self._tokens.append(x[-self._seen % self._stride :: self._stride].clone())
        else:
            squares = x.T @ x
            self._squares = squares.double() if self._squares is None else self._squares + squares
        self._seen += len(x)

    @property
    def some(self) -> Tensor | None:
        """(tokens, in) of a wide layer; None of another."""
        return torch.cat(self._tokens) if self._tokens else None

    @property
    def moment(self) -> Tensor:
        """(in, in) mean of x x^T, where the layer is not wide."""
        assert self._squares is not None
        mean: Tensor = self._squares / self._seen
        return mean

    def behind(self, down: Tensor) -> Tensor:
        """(rank, rank) mean of A x (A x)^T for a down-projection (rank, in)."""
        if (some := self.some) is not None:
            x = (some @ down.to(some).T).double()
            return x.T @ x / len(x)
        moment = self.moment
        return down.to(moment) @ moment @ down.to(moment).T

    @property
    def power(self) -> float:
        """What PEFT's random start, whose entries have variance 1 / (3 in), makes of an input: mean square of each entry."""
        if (some := self.some) is not None:
            return float(some.square().mean()) / 3
        return float(self.moment.trace()) / (3 * len(self.moment))

    def __or__(self, other: "Inputs") -> "Inputs":
        """Of both kinds, as much of one as of the other."""
        both = Inputs(stride=1)
        if self.some is not None and other.some is not None:
            count = min(len(self.some), len(other.some))
            both._tokens = [x[torch.arange(count) * len(x) // count] for x in (self.some, other.some)]
            both._seen = 2 * count
        else:
            both._squares, both._seen = self.moment + other.moment, 2
        return both


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


def directions(new: Inputs, kept: Inputs, *, rank: int, damping: float = DAMPING) -> Tensor:
    """(rank, in) from inputs of both kinds, the direction that tells most apart last.

    Scaled so that a new input is on average as large behind them as behind PEFT's random start, whose entries have variance 1 / (3 in).
    """
    if new.some is None or kept.some is None:
        return _apart(new.moment, kept.moment, rank, damping, width=len(new.moment))
    # all that either kind says lies in the span of its tokens
    basis, _ = torch.linalg.qr(torch.cat([new.some, kept.some]).T)  # (in, dimensions)
    k, c = ((x.T @ x).double() / len(x) for x in (new.some @ basis, kept.some @ basis))
    rows: Tensor = _apart(k, c, rank, damping, width=len(basis)) @ basis.double().T
    return rows


def _apart(k: Tensor, c: Tensor, rank: int, damping: float, *, width: int) -> Tensor:
    size = len(c)
    root = torch.linalg.cholesky(c + damping * c.trace() / size * torch.eye(size, dtype=c.dtype, device=c.device))
    half = torch.linalg.solve_triangular(root, k, upper=False)
    whitened = torch.linalg.solve_triangular(root, half.T, upper=False)
    _, vectors = torch.linalg.eigh((whitened + whitened.T) / 2)  # ascending
    rows: Tensor = torch.linalg.solve_triangular(root.T, vectors[:, -rank:], upper=True).T
    power = ((rows @ k) * rows).sum(-1).mean()
    return rows * (k.trace() / (3 * width) / power).sqrt()


def inputs_of(base: Base, name: str, rows: Sequence[Sequence[int]], *, tokens: int = TOKENS) -> dict[Any, Inputs]:
    """What every adapted linear layer reads, the same object for layers that read the same; from as many rows as hold `tokens`."""
    chosen = _enough(base, rows, tokens)
    stride = max(1, -(-sum(min(len(r), base.context) for r in chosen) // (WIDE // 2)))
    found: dict[Any, Inputs] = {}
    last: tuple[Tensor, Inputs] | None = None

    def take(module: Any, x: Tensor) -> None:
        nonlocal last
        if last is not None and last[0] is x:
            found[module] = last[1]
            return
        last = (x, found.setdefault(module, Inputs(stride=stride)))
        last[1].add(x)

    read(base, name, chosen, take)
    return found


def _enough(base: Base, rows: Sequence[Sequence[int]], tokens: int) -> list[Sequence[int]]:
    """Rows from all over that together hold about so many."""
    count = max(1, min(len(rows), tokens * len(rows) // max(1, sum(min(len(r), base.context) for r in rows))))
    return [rows[i * len(rows) // count] for i in range(count)]
