"""How a topic's next version comes of the one before.

warm     trains that one on, with the earlier transfer sets rehearsed beside the new ones
retrain  starts from the base and learns all that is live again, as if it had come at once
merge    learns the new alone, from the base, and merges it with the one before (merge.py)
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from daemon.learn.errors import LearnError
from daemon.learn.merge import merge
from daemon.learn.methods import Learned, Lesson, learn
from daemon.learn.models import Base, drop_adapter, save_adapter
from daemon.learn.train import Progress, TrainPlan

Json = dict[str, Any]

STRATEGIES = ("warm", "retrain", "merge")


def next_version(
    base: Base,
    lesson: Lesson,
    rows: Sequence[Sequence[int]],
    plan: TrainPlan,
    progress: Progress,
    *,
    out: Path,
    base_name: str,
    name: str,
    parent: Path | None,
    strategy: str = "warm",
    way: str = "sum",
    method: str = "context",
    options: Json | None = None,
    recalled: Sequence[Sequence[int]] = (),
) -> Learned:
    """Writes the version that follows `parent` (None: it is the first) to `out`, a PEFT folder, and leaves no adapter loaded.

    `lesson.rehearsed` is what the earlier versions learnt; `way` is how `merge` merges. The rest is as in `methods.learn`.
    """
    if strategy not in STRATEGIES:
        raise LearnError(f"There is no strategy {strategy!r}.", hint=f"One of: {', '.join(STRATEGIES)}.")
    if strategy == "retrain":
        lesson = Lesson([*lesson.rehearsed, *lesson.examples], (), lesson.articles)
    elif strategy == "merge":
        lesson = Lesson(lesson.examples, (), lesson.articles)
    learned = learn(
        base, lesson, rows, plan, progress,
        name=name, method=method, options=options, parent=parent if strategy == "warm" else None, recalled=recalled,
    )  # fmt: skip
    if strategy != "merge" or parent is None:
        save_adapter(base, name, out, base_name=base_name)
        drop_adapter(base, name)
        return learned
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as alone:  # in there, so that a kill leaves nothing beside it
        save_adapter(base, name, Path(alone), base_name=base_name)
        drop_adapter(base, name)
        merged = merge([parent, Path(alone)], out, rank_max=plan.rank, way=way)
    return Learned(learned.report, {**learned.details, "merged": {"way": way, "kept": merged.kept}})
