"""Writes what the embedded model is asked beside what it learns: the standing probes (what it knows by heart, simple skills), and the things by
which novelty is calibrated. Run when the world changes.

python -m daemon.embedded.probes
"""

import json
import random
from collections.abc import Iterable
from pathlib import Path

from daemon.embedded import world
from daemon.embedded.skills import SKILLS
from daemon.learn.questions import EMBEDDED_PROBES, EMBEDDED_THINGS, GENERAL_THINGS, rows_of

KNOWN, SKILL = 72, 60
CALIBRATED, NEW_SEED = 60, "novelty"


def standing(seed: int = 5) -> list[dict[str, object]]:
    rng = random.Random(seed)
    every = [q for entity in world.known_entities() for q in world.questions(entity) if q.kind != "paraphrase"]
    known = [{"kind": "locality", "prompt": q.prompt, "target": q.target, "chat": q.chat} for q in rng.sample(every, KNOWN)]
    makers = tuple(SKILLS.values())
    turns = [makers[i % len(makers)](rng) for i in range(SKILL)]
    return [*known, *({"kind": "skill", "prompt": asked, "target": answer, "chat": True} for asked, answer in turns)]


def calibrating(seed: int = 6) -> list[dict[str, object]]:
    """Definitions of known entities, of ones that no training document named, and the invented ones that every model is asked about."""
    rng = random.Random(seed)
    known = [(e, world.definition(e, rng)) for e in rng.sample(world.known_entities(), CALIBRATED)]
    new = [(e, definition) for e, definition, _ in world.evaluation(NEW_SEED, CALIBRATED)]
    everywhere = rows_of(GENERAL_THINGS)
    rows = [
        {"entity": e.name, "definition": text, "known": is_known} for pairs, is_known in ((known, True), (new, False)) for e, text in pairs
    ]
    return [*rows, *(row for row in everywhere if not row["known"])]


def write(rows: Iterable[dict[str, object]], file: Path) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    write(standing(), EMBEDDED_PROBES)
    write(calibrating(), EMBEDDED_THINGS)
