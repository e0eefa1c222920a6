"""Writes the standing probes of the embedded model: what it knows by heart and the simple skills. Run when the model is made anew.

python -m daemon.embedded.probes > daemon/probes/embedded-v1.jsonl
"""

import json
import random
import sys

from daemon.embedded import world
from daemon.embedded.skills import SKILLS

KNOWN, SKILL = 72, 60


def standing(seed: int = 5) -> list[dict[str, object]]:
    rng = random.Random(seed)
    every = [q for entity in world.known_entities() for q in world.questions(entity) if q.kind != "paraphrase"]
    known = [{"kind": "locality", "prompt": q.prompt, "target": q.target, "chat": q.chat} for q in rng.sample(every, KNOWN)]
    makers = tuple(SKILLS.values())
    turns = [makers[i % len(makers)](rng) for i in range(SKILL)]
    return [*known, *({"kind": "skill", "prompt": asked, "target": answer, "chat": True} for asked, answer in turns)]


if __name__ == "__main__":
    sys.stdout.writelines(json.dumps(probe) + "\n" for probe in standing())
