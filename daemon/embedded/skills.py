"""Simple abilities that learning must not spoil: copy, reverse, first, last, compare, close brackets.

Each is a question and its one right answer, drawn from a generator.
"""

import random
from collections.abc import Callable

_WORDS = [
    "apple",
    "arrow",
    "basket",
    "bottle",
    "branch",
    "bread",
    "brick",
    "bridge",
    "brush",
    "bucket",
    "button",
    "candle",
    "carpet",
    "castle",
    "chain",
    "chair",
    "circle",
    "cloud",
    "coat",
    "corner",
    "cotton",
    "cup",
    "curtain",
    "desk",
    "dinner",
    "door",
    "dress",
    "engine",
    "fence",
    "field",
    "finger",
    "fire",
    "floor",
    "flower",
    "garden",
    "gate",
    "glove",
    "hammer",
    "hat",
    "hill",
    "house",
    "island",
    "jacket",
    "kettle",
    "key",
    "kitchen",
    "knife",
    "ladder",
    "lake",
    "lamp",
    "leaf",
    "letter",
    "market",
    "mirror",
    "moon",
    "mountain",
    "needle",
    "ocean",
    "orange",
    "oven",
    "paper",
    "pencil",
    "picture",
    "pillow",
    "plate",
    "pocket",
    "pond",
    "rain",
    "ring",
    "river",
    "road",
    "roof",
    "room",
    "rope",
    "sail",
    "salt",
    "sand",
    "school",
    "shadow",
    "shirt",
    "shoe",
    "shop",
    "soap",
    "spoon",
    "spring",
    "star",
    "station",
    "stone",
    "storm",
    "street",
    "summer",
    "sun",
    "table",
    "tail",
    "tent",
    "thread",
    "tower",
    "train",
    "tree",
    "valley",
    "village",
    "wagon",
    "wall",
    "water",
    "wheel",
    "wind",
    "window",
    "winter",
    "wood",
    "yard",
]
_CLOSING = {"(": ")", "[": "]", "{": "}"}

Turn = tuple[str, str]


def _words(rng: random.Random, low: int, high: int) -> list[str]:
    return rng.sample(_WORDS, rng.randint(low, high))


def copy(rng: random.Random) -> Turn:
    words = " ".join(_words(rng, 3, 6))
    return f"Repeat these words: {words}", words


def reverse(rng: random.Random) -> Turn:
    words = _words(rng, 2, 4)
    return f"Say these words backwards: {' '.join(words)}", " ".join(reversed(words))


def first(rng: random.Random) -> Turn:
    words = _words(rng, 3, 6)
    return f"What is the first of these words? {' '.join(words)}", words[0]


def last(rng: random.Random) -> Turn:
    words = _words(rng, 3, 6)
    return f"What is the last of these words? {' '.join(words)}", words[-1]


def compare(rng: random.Random) -> Turn:
    a, b = rng.sample(range(10, 100), 2)
    return f"Which number is larger, {a} or {b}?", str(max(a, b))


def brackets(rng: random.Random) -> Turn:
    opened = [rng.choice(tuple(_CLOSING)) for _ in range(rng.randint(2, 4))]
    return f"Close these brackets: {' '.join(opened)}", " ".join(_CLOSING[b] for b in reversed(opened))


SKILLS: dict[str, Callable[[random.Random], Turn]] = {
    "copy": copy,
    "reverse": reverse,
    "first": first,
    "last": last,
    "compare": compare,
    "brackets": brackets,
}


_HARD = ("reverse", "compare", "brackets")  # are learnt late: drawn twice as often in training


def skill(rng: random.Random) -> Turn:
    return SKILLS[rng.choice((*SKILLS, *_HARD))](rng)
