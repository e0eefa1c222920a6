"""What the teacher has read stays known, and only so much of it."""

import pytest
import torch

from daemon.learn import train as training
from daemon.learn.data import PLAIN_FORM, Example
from daemon.learn.kept import targets_kept
from daemon.learn.losses import TopK
from daemon.learn.train import Target, TrainPlan, distillation_targets
from tests.learn_parts import tiny_base

EXAMPLES = [
    Example("Velmora", "Velmora is a film that was directed by Ostin Brasel.", PLAIN_FORM, "", f"Velmora was seen by {n} people.")
    for n in range(4)
]
PLAN = TrainPlan(top_k=16)


def target(tokens: int) -> Target:
    return Target((1, 2), (0,), TopK(torch.zeros(1, tokens), torch.zeros(1, tokens, dtype=torch.long)))


def test_no_more_is_kept_than_there_is_room_for_and_of_all_that_comes_again_and_again_a_part() -> None:
    some = targets_kept(most=10 * 12 * 16)  # ten of 16 tokens with a float and an index each
    found = 0
    for _ in range(50):
        for key in range(12):
            found += key in some
            if key not in some:
                some[key] = target(16)
            assert some.currsize == 192 * len(some) <= 1920
    assert found > 50 * 12 / 3  # the last used ten of twelve would have been none of them
    some.clear()
    assert (len(some), some.currsize) == (0, 0)


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
