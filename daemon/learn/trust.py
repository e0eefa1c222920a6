"""How far an adapter may go: where text of the base's own moves farther than is allowed, holding to it weighs more while the adapter trains, and
what is still too far afterwards is scaled back.

The weight is the price of the limit in the sense of Lagrange: it rises while the limit is passed and falls while it is not (dual ascent; Boyd et al.
2011, section 2.1), so what stays inside pays nothing for it.

On the straight line from the base to a trained model most of what was learnt is kept while what went astray returns (WiSE-FT, arXiv 2109.01903). The
divergence grows about as the square of the scale, so a few looks find the largest scale inside the limit.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from daemon.learn import score
from daemon.learn.models import Base

ROWS = 192  # of the base's own text, set aside from the training: of 48 the divergence was a quarter too high, of 192 that of all others
FEW, SURELY = 48, 0.6  # where so many of them stay below this share of the limit, all of them stay below the limit
LOOKS = 5
EVERY, OFTENEST, PARTS = 100, 20, 8  # steps between two looks while it trains, or an eighth of all; each costs about as much as two steps
STEEPEST = 1.0  # most that the logarithm of the price rises at one look
AIM, CLOSE = 0.985, 0.97  # shares of the limit: where each look aims, and from where on the search is over


def watched(rows: Sequence[Sequence[int]]) -> tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]]:
    """(rows to train on, rows to look at)."""
    count = min(ROWS, len(rows) // 4)
    return rows[: len(rows) - count], rows[len(rows) - count :]


class Price:
    """Factor on the weight of what the adapter is held to, 1 to `most`: at every look times e to the share by which adapter `name` is past the
    limit. Always 1 where nothing is watched."""

    def __init__(self, base: Base, name: str, rows: Sequence[Sequence[int]], *, kl_max: float, most: float, steps: int) -> None:
        self._base, self._name, self._rows, self._kl_max, self._most = base, name, rows, kl_max, most
        self._every = min(EVERY, max(OFTENEST, steps // PARTS))
        self.now = 1.0

    def at(self, step: int) -> float:
        """What step number `step`, from 0 up, pays."""
        if self._rows and self._most > 1 and step and step % self._every == 0:
            past = _kl(self._base, self._name, self._rows) / self._kl_max - 1
            self.now = min(self._most, max(1.0, self.now * math.exp(min(STEEPEST, past))))
        return self.now


@torch.no_grad()
def scale_back(base: Base, name: str, rows: Sequence[Sequence[int]], *, kl_max: float) -> tuple[float, float]:
    """(the scale that adapter `name` has now, at most 1; KL(base || adapter) on the rows at that scale, nats a token)."""
    ups = [p for n, p in base.model.named_parameters() if f".lora_B.{name}." in n]
    whole = [p.detach().clone() for p in ups]
    few = rows[:: max(1, len(rows) // FEW)]
    scale, found = 1.0, _kl(base, name, few)
    if found > SURELY * kl_max and len(few) < len(rows):
        found = _kl(base, name, rows)
    if found <= kl_max:
        return scale, found
    inside, outside, inside_kl = 0.0, scale, 0.0
    for _ in range(LOOKS):
        wanted = scale * (AIM * kl_max / max(found, 1e-12)) ** 0.5
        scale = wanted if inside < wanted < outside else (inside + outside) / 2
        _put(ups, whole, scale)
        found = _kl(base, name, rows)
        if found > kl_max:
            outside = scale
        else:
            inside, inside_kl = scale, found
            if found >= CLOSE * kl_max:
                break
    _put(ups, whole, inside)
    return inside, inside_kl


def _put(ups: Sequence[Tensor], whole: Sequence[Tensor], scale: float) -> None:
    for now, then in zip(ups, whole, strict=True):
        now.copy_(then * scale)


def _kl(base: Base, name: str, rows: Sequence[Sequence[int]]) -> float:
    found = score.distances(base, rows, adapter=name)
    return sum(d.kl for d in found) / max(1, sum(d.tokens for d in found))
