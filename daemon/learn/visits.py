"""Which targets a step visits: each of them once, and from then on more often those on which the student was last seen far from the teacher.

Prioritised replay (Schaul et al., arXiv 1511.05952, section 3.3, proportional): what is learnt already need not be seen as often as what is not. The
losses that say so come of the steps themselves, so that it costs nothing.
"""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Generic, TypeVar

T = TypeVar("T")

LEAST = 0.01  # of the mean distance: what was seen to be learnt is drawn sometimes, or nothing would tell when it is no longer
_WINDOW = 8  # batches that are sorted by length together: padding costs as much as text


class Visits(Iterator[list[T]], Generic[T]):
    """Batches of `batch` for ever; `lengths` are the targets', in tokens.

    They come in rounds of as many visits as there are targets, which run into one another within a window. In the first every target comes once; in
    each later one in proportion to its last loss to the power of `priority`, rounded up or down at random (systematic resampling); with 0, once.
    Whoever takes a batch tells the losses it had, in its order, to `seen`.
    """

    def __init__(self, targets: Sequence[T], lengths: Sequence[int], batch: int, rng: random.Random, *, priority: float = 0.0) -> None:
        self._targets, self._lengths, self._batch, self._rng, self._priority = targets, lengths, batch, rng, priority
        self._last: list[float | None] = [None] * len(targets)
        self._waiting: list[int] = []
        self._batches: deque[list[int]] = deque()
        self._now: list[int] = []

    def __next__(self) -> list[T]:
        if not self._batches:
            self._batches.extend(self._next_window())
        self._now = self._batches.popleft()
        return [self._targets[i] for i in self._now]

    def seen(self, losses: Sequence[float]) -> None:
        """The loss of each target of the batch that was taken last."""
        for index, loss in zip(self._now, losses, strict=True):
            self._last[index] = loss

    def _next_window(self) -> list[list[int]]:
        size = self._batch * _WINDOW
        while len(self._waiting) < size:
            self._waiting += self._round()
        window = sorted(self._waiting[:size], key=lambda i: self._lengths[i])
        self._waiting = self._waiting[size:]
        batches = [window[start : start + self._batch] for start in range(0, size, self._batch)]
        self._rng.shuffle(batches)
        return batches

    def _round(self) -> list[int]:
        order = list(range(len(self._targets)))
        self._rng.shuffle(order)
        known = [loss for loss in self._last if loss is not None]
        if not (self._priority and known):
            return order
        mean = fmean(known)  # of those that still wait for their first visit, too
        far = [mean if (loss := self._last[i]) is None else loss for i in order]
        weights = [max(one, LEAST * mean, 1e-9) ** self._priority for one in far]
        apart = sum(weights) / len(order)
        reached, next_at, found = 0.0, self._rng.random() * apart, list[int]()
        for index, weight in zip(order, weights, strict=True):
            reached += weight
            while next_at < reached:
                found.append(index)
                next_at += apart
        self._rng.shuffle(found)
        return found
