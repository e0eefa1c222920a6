"""An adapter that holds more has a higher rank, as far as may be served."""

import pytest

from daemon.learn.ranks import rank_for
from daemon.learn.train import TrainPlan


@pytest.mark.parametrize(
    ("definitions", "rank", "most", "found"),
    [
        (0, 32, 64, 32),
        (60, 32, 64, 32),
        (64, 32, 64, 32),
        (65, 32, 64, 64),
        (500, 32, 64, 64),
        (500, 32, 256, 256),
        (500, 64, 32, 64),
        (500, 32, 63, 32),
    ],
)
def test_the_rank_doubles_with_what_is_held_up_to_the_most(definitions: int, rank: int, most: int, found: int) -> None:
    assert rank_for(definitions, rank=rank, most=most) == found


def test_a_plan_for_many_keeps_everything_else() -> None:
    few = TrainPlan()
    assert few.holding(10) == few
    many = few.holding(150)
    assert (many.rank, many.alpha) == (few.rank_max, few.alpha)
