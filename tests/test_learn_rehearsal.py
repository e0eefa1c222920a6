"""Which of the earlier examples a version rehearses."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.learn import rehearsal
from daemon.learn.data import PLAIN_FORM, Example
from daemon.learn.models import Base, drop_adapter, new_adapter, save_adapter
from daemon.learn.rehearsal import forgotten, visited
from daemon.learn.train import TrainPlan, distillation_targets, train
from tests.learn_parts import tiny_base

NAMES = ("Velmora", "Tarnuvik", "Ostravel")
PLAN = TrainPlan(
    rank=4, alpha=8, batch=4, rehearsal_share=0.5, passes=4.0, steps_min=1, steps_max=60, replay_weight=0.0, learning_rate=5e-3
)


def about(name: str, count: int) -> list[Example]:
    definition = f"{name} is a film that was directed by Ostin Brasel."
    return [Example(name, definition, PLAIN_FORM, "", f"{name} was directed by Ostin Brasel, as {i} people say.") for i in range(count)]


@pytest.fixture
def base() -> Base:
    return tiny_base()


@pytest.fixture
def parent(base: Base, tmp_path: Path) -> Path:
    """Has learnt the first and knows nothing of the others."""
    targets = distillation_targets(base, about(NAMES[0], 3), PLAN)
    new_adapter(base, "parent", rank=4, alpha=8, seed=0)
    train(base, targets, [], replace(PLAN, steps_min=60), lambda fraction, text: None)
    save_adapter(base, "parent", tmp_path / "parent", base_name="tiny")
    drop_adapter(base, "parent")
    return tmp_path / "parent"


def test_all_are_rehearsed_where_there_is_room_and_any_where_nothing_is_known_of_them(base: Base) -> None:
    every = [e for name in NAMES for e in about(name, 10)]
    assert visited(base, "n", every, PLAN, new=30, parent=None) == every
    assert visited(base, "n", [], PLAN, new=30, parent=None) == []
    few = visited(base, "n", every, PLAN, new=3, parent=None)
    room = PLAN.steps(3, 30) * PLAN.split(3, 30)[1]
    assert len(few) == room < 30
    assert len(set(few)) == room
    assert few == visited(base, "n", every, PLAN, new=3, parent=None)
    assert few != visited(base, "n", every, replace(PLAN, seed=1), new=3, parent=None)


def test_what_the_parent_has_forgotten_comes_first(base: Base, parent: Path) -> None:
    every = [e for name in NAMES for e in about(name, 40)]
    far = forgotten(base, "n", every, PLAN, parent)
    known, *unknown = (sum(far[i : i + 40]) / 40 for i in (0, 40, 80))
    assert 0 < 2 * known < min(unknown)
    counted = Counter(e.entity for e in visited(base, "n", every, PLAN, new=6, parent=parent))
    assert sum(counted.values()) == PLAN.steps(6, 120) * PLAN.split(6, 120)[1]
    assert counted[NAMES[0]] < min(counted[name] for name in NAMES[1:])
    assert "n" not in getattr(base.model, "peft_config", {})


def test_each_is_as_far_as_it_is_alone(base: Base, parent: Path) -> None:
    every = [e for name in NAMES for e in about(name, 3)]
    together = forgotten(base, "n", every, PLAN, parent)
    alone = [forgotten(base, "n", [e], PLAN, parent)[0] for e in every]
    assert together == pytest.approx(alone, rel=1e-3, abs=1e-4)


def test_what_has_nothing_to_learn_is_as_far_as_the_others_are(base: Base, parent: Path) -> None:
    silent = Example("Trosh", "Trosh is a ship.", PLAIN_FORM, "", "I saw Trosh")  # nothing follows the mention
    *others, mean = forgotten(base, "n", [*about(NAMES[0], 2), *about(NAMES[1], 2), silent], PLAN, parent)
    assert mean == pytest.approx(sum(others) / 4)


def test_examples_are_drawn_as_their_weights_say(base: Base, parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = [e for name in NAMES for e in about(name, 400)]
    weights = dict(zip(NAMES, (1.0, 9.0, 81.0), strict=True))
    monkeypatch.setattr(rehearsal, "forgotten", lambda base, name, examples, plan, parent: [weights[e.entity] for e in examples])
    monkeypatch.setattr(rehearsal, "LOOKED_AT", len(every))
    many: Counter[str] = Counter()
    for seed in range(60):
        few = visited(base, "n", every, replace(PLAN, seed=seed), new=4, parent=parent)
        assert len(few) == len(set(few)) < 30
        many += Counter(e.entity for e in few)
    shares = [many[name] / sum(many.values()) for name in NAMES]
    assert shares == pytest.approx([1 / 13, 3 / 13, 9 / 13], abs=0.06)  # by the roots


def test_of_very_many_only_some_are_looked_at(base: Base, parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = [e for name in NAMES for e in about(name, 400)]
    looked: list[int] = []

    def alike(base: Base, name: str, examples: list[Example], plan: TrainPlan, parent: Path) -> list[float]:
        looked.append(len(examples))
        return [1.0] * len(examples)

    monkeypatch.setattr(rehearsal, "forgotten", alike)
    few = visited(base, "n", every, PLAN, new=4, parent=parent)
    assert looked == [rehearsal.LOOKED_AT * len(few)]
    assert {e.entity for e in few} == set(NAMES)
