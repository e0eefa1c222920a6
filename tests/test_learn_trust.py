"""What an adapter moves of the base's own text has a limit, and it is scaled back no farther than that asks for."""

from collections.abc import Sequence

import pytest
import torch

from daemon.learn import score, trust
from daemon.learn.models import Base, new_adapter, trainable
from tests.learn_parts import tiny_base

LONG = trust.PARTS * trust.EVERY  # steps of a training that is looked at as seldom as any
ROWS = [[1, *range(20 + i, 50 + i)] for i in range(8)]


@pytest.fixture
def moved() -> Base:
    """With an adapter `moved` that changes what the base says."""
    base = tiny_base()
    new_adapter(base, "moved", rank=4, alpha=4, seed=1)
    torch.manual_seed(2)
    with torch.no_grad():
        for name, parameter in base.model.named_parameters():
            if ".lora_B.moved." in name:
                parameter.normal_(std=0.5)
    return base


def weights(base: Base) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainable(base)])


def limited(kl_max: float, *, own: Sequence[Sequence[int]] = ROWS, sure: Sequence[Sequence[int]] = ()) -> trust.Aside:
    return trust.Aside(own, sure, kl_max)


def moves(base: Base, rows: Sequence[Sequence[int]] = ROWS) -> float:
    return trust.distance(base, "moved", rows)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.001])
def test_it_is_scaled_back_to_the_limit_and_not_beyond(moved: Base, share: float) -> None:
    before = {n: p.detach().clone() for n, p in moved.model.named_parameters() if ".moved." in n}
    limit = share * moves(moved)
    scale = trust.scale_back(moved, "moved", limited(limit))
    assert 0 < scale < 1
    assert 0.8 * limit <= moves(moved) <= limit
    for n, p in moved.model.named_parameters():
        if n in before:
            torch.testing.assert_close(p.detach(), before[n] * (scale if "lora_B" in n else 1.0))
    assert trust.scale_back(moved, "moved", limited(limit)) == 1.0


def test_what_stays_inside_the_limit_is_left_as_it_is(moved: Base) -> None:
    before = weights(moved)
    assert trust.scale_back(moved, "moved", limited(1e9)) == 1.0
    assert bool((weights(moved) == before).all())
    assert moves(moved) > 0


def test_what_the_base_is_sure_of_has_a_limit_of_its_own(moved: Base) -> None:
    sure = [[1, *range(60 + i, 90 + i)] for i in range(8)]
    wide, narrow = 10 * moves(moved), 0.3 * moves(moved, sure)
    assert limited(wide, sure=sure).past(moved, "moved") < 1
    aside = trust.Aside(ROWS[:0], sure, narrow / trust.SURE_SHARE)
    assert aside.past(moved, "moved") == pytest.approx(1 / 0.3)
    both = trust.Aside(ROWS, sure, narrow / trust.SURE_SHARE)
    assert both.past(moved, "moved") == max(aside.past(moved, "moved"), limited(narrow / trust.SURE_SHARE).past(moved, "moved"))
    assert trust.scale_back(moved, "moved", both) < 1
    assert moves(moved, sure) <= narrow


def test_a_few_rows_are_enough_where_they_stay_far_inside(moved: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    real = score.distances

    def counted(base: Base, rows: Sequence[Sequence[int]], *, adapter: str) -> list[score.Distance]:
        looked.append(len(rows))
        return real(base, rows, adapter=adapter)

    many = ROWS * 12
    kl = moves(moved, many)
    monkeypatch.setattr(score, "distances", counted)
    trust.scale_back(moved, "moved", limited(1e9, own=many))
    assert looked == [trust.FEW]
    assert trust.scale_back(moved, "moved", limited(1.2 * kl, own=many)) == 1.0
    assert looked == [trust.FEW, trust.FEW, len(many)]


def test_rows_that_are_looked_at_are_not_trained_on() -> None:
    own, sure = [[i] for i in range(2000)], [[i] for i in range(8)]
    train, recalled, aside = trust.set_aside(own, sure, kl_max=0.1)
    assert aside is not None
    assert (len(train), len(aside.own)) == (2000 - trust.ROWS, trust.ROWS)
    assert [*train, *aside.own] == own
    assert (recalled, aside.sure) == (sure[:6], sure[6:])
    assert trust.set_aside(own, sure, kl_max=0.0) == (own, sure, None)
    assert trust.set_aside([], sure, kl_max=0.1)[2] is None


def test_the_limit_has_a_price_only_while_it_is_passed(moved: Base) -> None:
    kl = moves(moved)

    def paid(kl_max: float, looks: int) -> list[float]:
        price = trust.Price(moved, "moved", limited(kl_max), most=4.0, steps=LONG)
        return [price.at(step) for step in range(looks * trust.EVERY + 1)]

    assert set(paid(2 * kl, 3)) == {1.0}
    rising = paid(kl / 1.5, 4)
    assert rising[: trust.EVERY] == [1.0] * trust.EVERY
    assert rising[trust.EVERY :: trust.EVERY] == pytest.approx([1.6487, 2.7183, 4.0, 4.0], rel=1e-3)
    assert paid(kl / 100, 1)[-1] == pytest.approx(2.7183, rel=1e-3)  # at most times e at one look


@pytest.mark.parametrize(("steps", "every"), [(10, trust.OFTENEST), (240, 30), (5000, trust.EVERY)])
def test_a_short_training_is_looked_at_more_often(moved: Base, monkeypatch: pytest.MonkeyPatch, steps: int, every: int) -> None:
    looked: list[int] = []
    monkeypatch.setattr(trust, "distance", lambda base, name, rows: looked.append(len(rows)) or 0.0)
    price = trust.Price(moved, "moved", limited(1.0), most=4.0, steps=steps)
    for step in range(3 * every + 1):
        price.at(step)
    assert len(looked) == 3


def test_what_the_base_is_sure_of_has_a_price_towards_the_end(moved: Base) -> None:
    sure = [[1, *range(60 + i, 90 + i)] for i in range(8)]
    aside = trust.Aside(ROWS, sure, moves(moved, sure) / trust.SURE_SHARE / 1.5)
    steps = 10 * trust.EVERY
    assert aside.past(moved, "moved") == pytest.approx(1.5)
    price = trust.Price(moved, "moved", aside, most=100.0, steps=steps)
    paid = [price.at(step) for step in range(0, steps, trust.EVERY)]
    own = trust.Price(moved, "moved", trust.Aside(ROWS, (), aside.kl_max), most=100.0, steps=steps)
    assert paid[:6] == [own.at(step) for step in range(0, steps, trust.EVERY)][:6]
    assert paid[6] == pytest.approx(paid[5] * 1.6487, rel=1e-3)


def test_the_price_falls_where_the_limit_is_kept_again(moved: Base) -> None:
    kl = moves(moved)
    price = trust.Price(moved, "moved", limited(kl / 1.5), most=4.0, steps=LONG)
    high = price.at(trust.EVERY)
    trust.scale_back(moved, "moved", limited(kl / 2))
    assert 1.0 < price.at(2 * trust.EVERY) < high
