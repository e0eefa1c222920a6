"""What the teacher has read stays known: a topic's versions rehearse the same examples again and again, and the base never changes.

Only what is needed to train is kept (the likeliest tokens and their log-probabilities at the supervised positions), and only so much of it.
"""

import random
from collections.abc import Hashable
from typing import Any

from cachetools import RRCache

BYTES = 128 << 20  # about 270 definitions with 64 examples each, 64 tokens kept at ten positions


def targets_kept(most: int = BYTES) -> RRCache[Hashable, Any]:
    """Targets (train.py) by what they were made of, in so many bytes.

    What goes is drawn at random: a version reads all that its topic holds, one after the other, so where that is a little more than there is room
    for, the least recently used would always be what comes next.
    """
    return RRCache(most, choice=random.Random(0).choice, getsizeof=_size)


def _size(target: Any) -> int:
    return int(target.teacher.log_probs.nbytes + target.teacher.ids.nbytes)
