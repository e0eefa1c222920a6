"""What the teacher has read stays known, and only so much of it."""

import pytest
import torch

from daemon.learn import train as training
from daemon.learn.data import PLAIN_FORM, Example
from daemon.learn.kept import Kept
from daemon.learn.train import TrainPlan, distillation_targets
from tests.learn_parts import tiny_base

EXAMPLES = [
    Example("Velmora", "Velmora is a film that was directed by Ostin Brasel.", PLAIN_FORM, "", f"Velmora was seen by {n} people.")
    for n in range(4)
]
PLAN = TrainPlan(top_k=16)


def test_what_was_used_longest_ago_goes_first() -> None:
    kept: Kept[str] = Kept(most=10)
    for key in "abc":
        kept.put(key, key.upper(), 3)
    assert kept.get("a") == "A"
    kept.put("d", "D", 4)
    assert [kept.get(key) for key in "abcd"] == ["A", None, "C", "D"]
    kept.put("a", "new", 1)
    assert [kept.get(key) for key in "acd"] == ["new", "C", "D"]
    kept.put("e", "E", 11)  # more than there is room for
    assert [kept.get(key) for key in "acde"] == [None] * 4
    kept.put("f", "F", 10)
    kept.clear()
    assert kept.get("f") is None


def test_the_teacher_reads_what_it_has_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    base = tiny_base()
    read: list[int] = []
    teachers_of = training.teachers_of

    def watched(base: object, rows: list[object], *args: object, **more: object) -> object:
        read.append(len(rows))
        return teachers_of(base, rows, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "teachers_of", watched)
    first = distillation_targets(base, EXAMPLES[:2], PLAN)
    again = distillation_targets(base, [EXAMPLES[2], EXAMPLES[1], EXAMPLES[0], EXAMPLES[1]], PLAN)
    assert read == [2, 1]
    assert [t.ids for t in again[1:]] == [first[1].ids, first[0].ids, first[1].ids]
    for target, known in zip(again[1:], (first[1], first[0], first[1]), strict=True):
        assert torch.equal(target.teacher.log_probs, known.teacher.log_probs)
        assert torch.equal(target.teacher.ids, known.teacher.ids)
    distillation_targets(base, EXAMPLES[:1], TrainPlan(top_k=16, temperature=2.0))  # another distribution
    distillation_targets(base, EXAMPLES[:1], TrainPlan(top_k=8))
    base.kept.clear()
    distillation_targets(base, EXAMPLES[:1], PLAN)
    assert read[2:] == [1, 1, 1]
