"""Where *known* ends and *new* begins, measured on the model itself: the novelty of things it certainly knows against things nobody has told it.

A new thing taken for known is lost without a word, where a known one taken for new costs a little training; so the threshold first keeps what is new.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from daemon.learn.elicit import ElicitPlan, Told
from daemon.learn.folders import EMBEDDED, EMBEDDED_FOLDER
from daemon.learn.models import Base
from daemon.learn.novelty import novelty
from daemon.learn.questions import EMBEDDED_THINGS, GENERAL_THINGS, rows_of

MISSED_MAX = 0.02  # of new things, below the threshold
_KNOWN_COVERED = 0.75


@dataclass(frozen=True, slots=True)
class Calibration:
    """In nats a token: the threshold, the novelty of the known things and of the new ones, and how well it tells them apart (0.5 is chance)."""

    threshold: float
    told_apart: float
    known: tuple[float, ...]
    new: tuple[float, ...]


def calibration(base: Base, cache: Path) -> Calibration:
    """From the file made for exactly this base, or measured now and kept. The embedded model brings its own file."""
    own = cache / f"novelty-{base.digest[:16]}.json"
    for file in (EMBEDDED_FOLDER / "novelty.json", own):
        if file.exists():
            kept = json.loads(file.read_text())
            if kept["base_digest"] == base.digest:
                return Calibration(kept["threshold"], kept["told_apart"], tuple(kept["known"]), tuple(kept["new"]))
    cache.mkdir(parents=True, exist_ok=True)
    return keep(base, own, EMBEDDED_THINGS if base.name == EMBEDDED else GENERAL_THINGS)


def keep(base: Base, file: Path, things: Path) -> Calibration:
    """Measures, and writes the file whole or not at all."""
    found = measure(base, things)
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps({"base_digest": base.digest, **asdict(found)}, separators=(",", ":")) + "\n")
    temporary.rename(file)
    return found


def measure(base: Base, things: Path) -> Calibration:
    """Draws answers about every thing with its definition in context, and scores them without it."""
    rows = rows_of(things)
    scored = novelty(base, [Told(i, row["entity"], row["definition"]) for i, row in enumerate(rows)], ElicitPlan())
    known, new = ([round(scored[i], 4) for i, row in enumerate(rows) if row["known"] is wanted] for wanted in (True, False))
    return Calibration(round(threshold(known, new), 4), round(told_apart(known, new), 4), tuple(known), tuple(new))


def threshold(known: Sequence[float], new: Sequence[float]) -> float:
    """Halfway between what most known things stay below and what all but a few new ones exceed; never above the latter."""
    limit = sorted(new)[int(MISSED_MAX * len(new))]
    covered = sorted(known)[int(_KNOWN_COVERED * (len(known) - 1))]
    return (min(covered, limit) + limit) / 2


def told_apart(known: Sequence[float], new: Sequence[float]) -> float:
    """The chance that a new thing scores above a known one: the area under the ROC curve."""
    wins = sum((n > k) + 0.5 * (n == k) for n in new for k in known)
    return wins / (len(known) * len(new))
