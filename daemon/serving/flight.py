"""Which versions are giving answers at this moment, and waiting until one is not."""

from __future__ import annotations

import asyncio
from collections import Counter


class InFlight:
    """Answers under way, by version. For one event loop."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._total = 0
        self._drained: dict[str, asyncio.Event] = {}

    def counts(self) -> dict[str, int]:
        return dict(sorted(self._counts.items()))

    def total(self) -> int:
        return self._total

    def begin(self, name: str) -> None:
        self._counts[name] += 1
        self._total += 1

    def end(self, name: str) -> None:
        self._total -= 1
        self._counts[name] -= 1
        if not self._counts[name]:
            del self._counts[name]
            if (waiting := self._drained.pop(name, None)) is not None:
                waiting.set()

    async def drained(self, name: str, *, timeout_s: float) -> bool:
        """Whether the version gives no answers any more, waited for."""
        if not self._counts.get(name):
            return True
        try:
            await asyncio.wait_for(self._drained.setdefault(name, asyncio.Event()).wait(), timeout_s)
        except TimeoutError:
            return False
        return True
