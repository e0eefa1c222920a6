"""What the teacher has read stays known: a topic's versions rehearse the same examples again and again, and the base never changes.

Only what is needed to train is kept (the likeliest tokens and their log-probabilities at the supervised positions), and only so much of it: what was
used longest ago goes first.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

BYTES = 128 << 20  # about 300 definitions with 64 examples each, 64 tokens kept at ten positions

T = TypeVar("T")


class Kept(Generic[T]):
    """Values by key, with the bytes that each takes."""

    def __init__(self, most: int = BYTES) -> None:
        self._most, self._bytes = most, 0
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: T, size: int) -> None:
        self.drop(key)
        self._values[key] = value, size
        self._bytes += size
        while self._bytes > self._most:
            self.drop(next(iter(self._values)))

    def drop(self, key: Hashable) -> None:
        if (found := self._values.pop(key, None)) is not None:
            self._bytes -= found[1]

    def clear(self) -> None:
        self._values.clear()
        self._bytes = 0
