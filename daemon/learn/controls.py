"""Transfer sets that should not teach, or teach less: what a measurement must show before a gain is believed. Pure."""

import random
from collections.abc import Sequence
from dataclasses import replace

from daemon.learn.data import Example
from daemon.learn.errors import NothingToLearn


def wrong_definition(examples: Sequence[Example], others: Sequence[Example], *, seed: int) -> list[Example]:
    """The same texts, read by a teacher that has another entity's definition. A gain here is not knowledge of this definition."""
    mine = list(dict.fromkeys(e.definition for e in examples))
    foreign = sorted({e.definition for e in others} - set(mine)) or mine
    rng = random.Random(seed)
    given = {d: rng.choice(_but(d, foreign)) for d in mine}
    return [replace(e, definition=given[e.definition]) for e in examples]


def random_transfer(examples: Sequence[Example], others: Sequence[Example], *, seed: int) -> list[Example]:
    """The right definition, on texts about other entities: arXiv 2306.09306 found that this still helps."""
    by_definition: dict[str, list[Example]] = {}
    for e in (*others, *examples):
        by_definition.setdefault(e.definition, []).append(e)
    rng = random.Random(seed)
    drawn = []
    for e in examples:
        text = rng.choice(by_definition[rng.choice(_but(e.definition, list(by_definition)))])
        drawn.append(replace(text, entity=e.entity, definition=e.definition))
    return drawn


def _but(definition: str, definitions: Sequence[str]) -> list[str]:
    found = [d for d in definitions if d != definition]
    if not found:
        raise NothingToLearn("The control needs another entity's definition, and there is none.", hint="Give it more definitions.")
    return found
