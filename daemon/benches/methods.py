"""A bench's methods by their written form, and the learning of one group of definitions with one of them.

`NAME` or `NAME:option=value+option=value`, as in `context:on_policy=0.5+divergence=jsd`: an option of the training plan, or of the method's own.
Controls are context distillation on a transfer set that should teach less.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from daemon.benches.sets import Taught
from daemon.learn import controls
from daemon.learn.data import Example
from daemon.learn.errors import LearnError
from daemon.learn.methods import METHODS, Learned, Lesson, learn
from daemon.learn.models import Base
from daemon.learn.train import Progress, TrainPlan

Json = dict[str, Any]

CONTROLS = ("wrong_definition", "random_transfer")
ADAPTER = "bench"
_PLAN_FIELDS = frozenset(f.name for f in dataclasses.fields(TrainPlan))


@dataclass(frozen=True, slots=True)
class Spec:
    """A method as it was asked for."""

    written: str
    name: str
    plan: Json
    options: Json

    @property
    def method(self) -> str:
        """The learning method behind it."""
        return "context" if self.name in CONTROLS else self.name


def parse(written: str) -> Spec:
    name, _, rest = written.partition(":")
    if name not in (*METHODS, *CONTROLS):
        raise LearnError(f"There is no method {name!r}.", hint=f"Methods: {', '.join(METHODS)}; controls: {', '.join(CONTROLS)}.")
    given = dict(_option(part) for part in rest.split("+")) if rest else {}
    plan = {key: value for key, value in given.items() if key in _PLAN_FIELDS}
    return Spec(written, name, plan, {key: value for key, value in given.items() if key not in _PLAN_FIELDS})


def _option(part: str) -> tuple[str, Any]:
    key, sign, value = part.partition("=")
    if not (key and sign):
        raise LearnError(f"The option {part!r} has no value.", hint="Write it as NAME:option=value+option=value.")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value  # a word


def teach(
    base: Base,
    spec: Spec,
    group: Sequence[Taught],
    transfer: dict[str, list[Example]],
    rows: Sequence[Sequence[int]],
    recalled: Sequence[Sequence[int]],
    plan: TrainPlan,
    progress: Progress,
    *,
    seed: int,
) -> Learned:
    """Teaches the group's definitions into a fresh adapter, which stays loaded and active. `transfer` holds every definition's set, by id; `rows`
    are the base's own text, `recalled` what it is sure of."""
    examples = [e for d in group for e in transfer[d.id]]
    if spec.name in CONTROLS:
        others = [e for every in transfer.values() for e in every]
        examples = getattr(controls, spec.name)(examples, others, seed=seed)
    lesson = Lesson(examples, (), [a for d in group for a in d.articles])
    plan = replace(plan.holding(len(group)), **spec.plan)
    return learn(base, lesson, rows, plan, progress, name=ADAPTER, method=spec.method, options=spec.options, recalled=recalled)
