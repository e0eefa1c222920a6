"""Which targets a step visits: all once, then the far ones more often."""

import itertools
import random
from collections import Counter

import pytest

from daemon.learn.visits import LEAST, Visits

TARGETS = [f"t{i}" for i in range(100)]


def drawn(count: int, *, priority: float, losses: dict[str, float], targets: list[str] = TARGETS, batch: int = 10) -> list[str]:
    """The first `count` visits, where each target has the same loss whenever it is seen."""
    visits = Visits(targets, [1] * len(targets), batch, random.Random(3), priority=priority)
    found: list[str] = []
    while len(found) < count:
        found += (now := next(visits))
        visits.seen([losses[t] for t in now])
    return found


def test_every_target_is_visited_once_before_any_is_again() -> None:
    targets = [f"t{i}" for i in range(160)]  # two windows
    found = drawn(160, priority=0.5, losses={t: float(i) for i, t in enumerate(targets)}, targets=targets)
    assert sorted(found) == sorted(targets)
    assert found != targets


@pytest.mark.parametrize("batch", [7, 10, 64, 300])
def test_without_priority_every_round_holds_every_target(batch: int) -> None:
    found = drawn(8400, priority=0.0, losses={t: float(i) for i, t in enumerate(TARGETS)}, batch=batch)
    counts = Counter(found)
    assert max(counts.values()) - min(counts.values()) <= 8  # a window is sorted by length, so its rounds mix
    assert len(counts) == 100


def test_a_target_comes_in_proportion_to_the_power_of_its_loss() -> None:
    losses = {t: (4.0 if i < 50 else 1.0) for i, t in enumerate(TARGETS)}
    for priority, times in ((0.5, 2.0), (1.0, 4.0), (0.0, 1.0)):
        later = drawn(40_000, priority=priority, losses=losses)[400:]
        far = sum(losses[t] == 4.0 for t in later)
        assert far / (len(later) - far) == pytest.approx(times, rel=0.02)


def test_what_is_learnt_still_comes_sometimes() -> None:
    losses = {t: (0.0 if i == 0 else 1.0) for i, t in enumerate(TARGETS)}
    later = drawn(100_000, priority=0.5, losses=losses)
    assert later.count("t0") == pytest.approx(100_000 / 100 * LEAST**0.5, rel=0.3)


def test_all_learnt_all_come_alike() -> None:
    counts = Counter(drawn(10_000, priority=0.5, losses=dict.fromkeys(TARGETS, 0.0)))
    assert min(counts.values()) >= 90


def test_what_no_step_has_seen_yet_counts_as_the_mean() -> None:
    """A set smaller than a window has several rounds drawn before the first loss is told, and a part of one after it."""
    few = ["a", "b", "c"]
    visits = Visits(few, [1, 1, 1], 2, random.Random(0), priority=1.0)
    counts = Counter(itertools.chain.from_iterable(itertools.islice(visits, 300)))  # nobody tells a loss
    assert max(counts.values()) - min(counts.values()) <= 3


def test_rows_of_similar_length_go_together() -> None:
    lengths = [random.Random(1).randrange(5, 60) for _ in range(800)]
    targets = list(range(800))
    visits = Visits(targets, lengths, 10, random.Random(1))
    padding = [max(lengths[i] for i in b) * len(b) / sum(lengths[i] for i in b) for b in itertools.islice(visits, 80)]
    assert sum(padding) / len(padding) < 1.2  # 1.8 where batches are drawn as they come


def test_the_same_seed_visits_the_same() -> None:
    losses = {t: float(i) for i, t in enumerate(TARGETS)}
    assert drawn(500, priority=0.5, losses=losses) == drawn(500, priority=0.5, losses=losses)
