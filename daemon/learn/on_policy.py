"""On-policy distillation (arXiv 2306.13649): the student writes, the teacher with the definition in context says what it would have written.

No gradient flows through the sampling. Which divergence then compares the two is the plan's.
"""

import random
from collections.abc import Sequence

from daemon.learn import data
from daemon.learn.data import Example
from daemon.learn.models import Base, using
from daemon.learn.sample import sample
from daemon.learn.train import Target, TrainPlan, teachers_of

NEW_TOKENS = 24


class StudentSamples:
    """Called at each step: with probability `plan.on_policy` a batch of targets on the student's own samples, else None."""

    def __init__(self, base: Base, adapter: str, examples: Sequence[Example], plan: TrainPlan) -> None:
        self._base, self._adapter, self._plan = base, adapter, plan
        self._openings = [o for e in examples if (o := _opening(base, e)) is not None]
        self._rng = random.Random(plan.seed + 3)

    def __call__(self) -> list[Target] | None:
        if not self._openings or self._rng.random() >= self._plan.on_policy:
            return None
        picked = self._rng.choices(self._openings, k=self._plan.batch)
        with using(self._base, self._adapter):
            drawn = sample(
                self._base,
                [student for student, _ in picked],
                new_tokens=NEW_TOKENS,
                temperature=1.0,
                seed=self._rng.randrange(2**31),
            )
        return self._targets(picked, drawn)

    def _targets(self, picked: Sequence[tuple[list[int], list[int]]], drawn: Sequence[list[int]]) -> list[Target]:
        """The position after the last drawn token counts too: there the teacher says whether to end."""
        students = [(*student, *said) for (student, _), said in zip(picked, drawn, strict=True)]
        teachers = [(*teacher, *said) for (_, teacher), said in zip(picked, drawn, strict=True)]
        after = [range(len(said) + 1) for said in drawn]
        at = [tuple(len(teacher) - 1 + i for i in r) for (_, teacher), r in zip(picked, after, strict=True)]
        known = teachers_of(self._base, teachers, at, k=self._plan.top_k, temperature=self._plan.temperature)
        return [
            Target(row, tuple(len(student) - 1 + i for i in r), teacher)
            for row, (student, _), r, teacher in zip(students, picked, after, known, strict=True)
        ]


def _opening(base: Base, example: Example) -> tuple[list[int], list[int]] | None:
    """(student, teacher) ids up to where the supervised text begins: the question, or a sentence up to the entity's name."""
    e = data.encode(base.tokenizer, example)
    if not e.supervised:
        return None
    said = list(e.text[: e.supervised[0]])
    student = [*e.student[: len(e.student) - len(e.text)], *said]
    teacher = [*e.teacher[: len(e.teacher) - len(e.text)], *said]
    return (student, teacher) if student and len(teacher) + NEW_TOKENS <= base.context else None
