"""How much of everything else learning may cost, and which of several runs to take under it. Knows figures, not tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Budget:
    """Of the pinned adapter: points of known answers and of skills, nats a token on generic text."""

    known: float = 0.03
    skills: float = 0.02
    generic_kl: float = 0.05

    def broken(self, result: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
        """What of it the result breaks, as sentences; empty inside the budget."""
        found = []
        for name, limit, what in (("locality_accuracy", self.known, "known answers"), ("skill_accuracy", self.skills, "skills")):
            if result[name] is not None and base[name] - result[name] > limit + 1e-9:
                found.append(f"{100 * (base[name] - result[name]):.1f} points of {what} lost (at most {100 * limit:.0f})")
        if result["generic_kl"] is not None and result["generic_kl"] > self.generic_kl:
            found.append(f"KL {result['generic_kl']:.3f} on generic text (at most {self.generic_kl})")
        return found


BUDGET = Budget()


def best(sweep: Sequence[Json]) -> Json:
    """The run inside the budget that learnt most; where none is inside, the one that broke least of it and learnt most, marked as such."""
    whole = [run for run in sweep if "failed" not in run]
    if not whole:
        return {**sweep[0], "within_budget": False}
    fewest = min(len(run["breaks"]) for run in whole)
    chosen = max((run for run in whole if len(run["breaks"]) == fewest), key=lambda run: run["recovered"] or 0.0)
    return {**chosen, "within_budget": fewest == 0}
