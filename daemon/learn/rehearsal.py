"""Which of the earlier examples a version rehearses: where there are more than the run will visit, those that are most forgotten come first.

A version that holds hundreds of things has room to visit a third of their examples. What its parent still says as the teacher does gains little by
that; so examples are drawn by the root of how far the parent is from the teacher on them, without replacement, as replay is prioritised by what is
still to be learnt (Schaul et al., arXiv 1511.05952, with 0.5 as its exponent).
"""

import math
import random
from collections.abc import Sequence
from pathlib import Path

import torch

from daemon.learn.batches import by_length
from daemon.learn.data import Example
from daemon.learn.models import Base, drop_adapter, load_adapter, using
from daemon.learn.train import TrainPlan, losses_of, taught

LOOKED_AT = 4  # times as many examples as there is room for, at most: the teacher has to read them
_TOKENS = 2048  # that are read at once
_LEAST = 0.01  # of the mean distance: what seems to be as it should be is drawn sometimes


def visited(base: Base, name: str, examples: Sequence[Example], plan: TrainPlan, *, new: int, parent: Path | None) -> Sequence[Example]:
    """As many of the examples as a run beside `new` new ones has room for, one visit each; all of them where there are no more.

    `parent` is asked as adapter `name`, which is not left loaded; without one, all are drawn alike.
    """
    room = plan.steps(new, len(examples)) * plan.split(new, len(examples))[1]
    if not 0 < room < len(examples):
        return examples
    rng = random.Random(plan.seed + 3)
    if parent is None:
        return rng.sample(examples, room)
    if len(examples) > LOOKED_AT * room:
        examples = rng.sample(examples, LOOKED_AT * room)
    weights = [far**0.5 for far in forgotten(base, name, examples, plan, parent)]
    # those with the largest log(u) / w are a weighted sample without replacement (Efraimidis and Spirakis 2006)
    keys = [math.log(1 - rng.random()) / weight for weight in weights]
    chosen = sorted(range(len(examples)), key=lambda i: -keys[i])[:room]
    return [examples[i] for i in sorted(chosen)]


@torch.no_grad()
def forgotten(base: Base, name: str, examples: Sequence[Example], plan: TrainPlan, parent: Path) -> list[float]:
    """The parent's divergence from the teacher on each example, nats a token, above 0; the mean where an example has nothing to learn."""
    read = dict(taught(base, examples, plan))
    targets = list(read.values())
    found = [0.0] * len(targets)
    load_adapter(base, name, parent)
    with using(base, name):
        for group in by_length([t.ids for t in targets], tokens=_TOKENS):
            for i, far in zip(group, losses_of(base, [targets[i] for i in group], plan).tolist(), strict=True):
                found[i] = far
    drop_adapter(base, name)
    mean = sum(found) / max(1, len(found))
    by_each = dict(zip(read, found, strict=True))
    return [max(by_each.get(e, mean), _LEAST * mean, 1e-9) for e in examples]
