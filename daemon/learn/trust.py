"""How far an adapter may go: where text of the base's own moves farther than is allowed, holding to it weighs more while the adapter trains, and
what is still too far afterwards is scaled back.

The weight is the price of the limit in the sense of Lagrange: it rises while the limit is passed and falls while it is not (dual ascent; Boyd et al.
2011, section 2.1), so what stays inside pays nothing for it.

On the straight line from the base to a trained model most of what was learnt is kept while what went astray returns (WiSE-FT, arXiv 2109.01903). The
divergence grows about as the square of the scale, so a few looks find the largest scale inside the limit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from daemon.learn import score
from daemon.learn.models import Base

Rows = Sequence[Sequence[int]]

ROWS = 192  # of the base's own text, set aside from the training: of 48 the divergence was a quarter too high, of 192 that of all others
FEW, SURELY = 48, 0.6  # where so many of them stay below this share of the limit, all of them stay below the limit
SURE_SHARE = 0.75  # of the limit: about where known answers began to be lost
LOOKS = 5
EVERY, OFTENEST, PARTS = 100, 20, 8  # steps between two looks while it trains, or an eighth of all; each costs about as much as two steps
SURE_FROM = 0.6  # of the steps: at the high rate before, what the base is sure of moves up to three times as far as it has at the end
STEEPEST = 1.0  # most that the logarithm of the price rises at one look
AIM, CLOSE = 0.985, 0.97  # shares of the limit: where each look aims, and from where on the search is over


@dataclass(frozen=True, slots=True)
class Aside:
    """Rows of ids set aside from the training: the base's own text, which may move so many nats a token, and what it is sure of, a share of that."""

    own: Rows
    sure: Rows
    kl_max: float

    def past(self, base: Base, name: str) -> float:
        """How far adapter `name` is from the base, as a share of what is allowed: the worse of both kinds."""
        sure = distance(base, name, self.sure) / (SURE_SHARE * self.kl_max) if self.sure else 0.0
        return max(sure, distance(base, name, self.own) / self.kl_max)

    def few(self) -> "Aside":
        """Enough to see that all is well."""
        return replace(self, own=_every(self.own, FEW), sure=_every(self.sure, FEW))


def set_aside(own: Rows, sure: Rows, *, kl_max: float) -> tuple[Rows, Rows, Aside | None]:
    """(own rows to train on, sure rows to train on, what is set aside); nothing is where nothing limits."""
    if not kl_max:
        return own, sure, None
    (own, own_aside), (sure, sure_aside) = _split(own), _split(sure)
    return own, sure, Aside(own_aside, sure_aside, kl_max) if own_aside else None


class Price:
    """Factor on the weight of what the adapter is held to, 1 to `most`: at every look times e to the share by which adapter `name` is past the
    limit, towards the end the worse of both. Always 1 where nothing is set aside."""

    def __init__(self, base: Base, name: str, aside: Aside | None, *, most: float, steps: int) -> None:
        self._base, self._name, self._aside, self._most = base, name, aside, most
        self._every = min(EVERY, max(OFTENEST, steps // PARTS))
        self._sure_from = SURE_FROM * steps
        self.now = 1.0

    def at(self, step: int) -> float:
        """What step number `step`, from 0 up, pays."""
        if self._aside is not None and self._most > 1 and step and step % self._every == 0:
            aside = self._aside if step >= self._sure_from else replace(self._aside, sure=())
            past = aside.past(self._base, self._name) - 1
            self.now = min(self._most, max(1.0, self.now * math.exp(min(STEEPEST, past))))
        return self.now


@torch.no_grad()
def scale_back(base: Base, name: str, aside: Aside) -> float:
    """The scale that adapter `name` has now, at most 1, and the largest at which it is as near to the base as it must be."""
    ups = [p for n, p in base.model.named_parameters() if f".lora_B.{name}." in n]
    whole = [p.detach().clone() for p in ups]
    scale, found = 1.0, aside.few().past(base, name)
    if found > SURELY:
        found = aside.past(base, name)
    if found <= 1:
        return scale
    inside, outside = 0.0, scale
    for _ in range(LOOKS):
        wanted = scale * (AIM / max(found, 1e-12)) ** 0.5
        scale = wanted if inside < wanted < outside else (inside + outside) / 2
        _put(ups, whole, scale)
        found = aside.past(base, name)
        if found > 1:
            outside = scale
        else:
            inside = scale
            if found >= CLOSE:
                break
    _put(ups, whole, inside)
    return inside


def distance(base: Base, name: str, rows: Rows) -> float:
    """KL(base || adapter `name`) on rows of ids, nats a token."""
    found = score.distances(base, rows, adapter=name)
    return sum(d.kl for d in found) / max(1, sum(d.tokens for d in found))


def _split(rows: Rows) -> tuple[Rows, Rows]:
    count = min(ROWS, len(rows) // 4)
    return rows[: len(rows) - count], rows[len(rows) - count :]


def _every(rows: Rows, at_most: int) -> Rows:
    return rows[:: max(1, len(rows) // at_most)]


def _put(ups: Sequence[Tensor], whole: Sequence[Tensor], scale: float) -> None:
    for now, then in zip(ups, whole, strict=True):
        now.copy_(then * scale)
