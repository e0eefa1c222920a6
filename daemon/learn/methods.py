"""The methods by name: what each learns from, where its adapter starts, how it is trained. One story for all; the pieces lie beside this file.

context              distillation on a transfer set (arXiv 2306.09306), train.py
split                split contexts of a document (DiSC, 2602.16093), split.py
etcon                edit, then consolidate (2512.04753), etcon.py and grpo.py
finetune_definition  cross-entropy on the definition, baselines.py
finetune_transfer    cross-entropy on the same transfer set, baselines.py
"""

import itertools
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from daemon.learn import apart, null_space, prune, trust
from daemon.learn.baselines import BaselinePlan, definition_targets, for_cross_entropy, held_to_base, transfer_targets
from daemon.learn.contrast import contrast_rows
from daemon.learn.data import Example
from daemon.learn.errors import LearnError, NotFinite
from daemon.learn.etcon import EtconPlan, edit, labels_of
from daemon.learn.grow import grow
from daemon.learn.grpo import consolidate
from daemon.learn.inputs import freeze
from daemon.learn.merge import matrices
from daemon.learn.models import Base, drop_adapter, load_adapter, new_adapter, trainable
from daemon.learn.on_policy import StudentSamples
from daemon.learn.ranks import added_for
from daemon.learn.recall import about_others
from daemon.learn.rehearsal import visited
from daemon.learn.split import Article, SplitPlan, articles_of, split_targets
from daemon.learn.train import Progress, Target, TrainPlan, TrainReport, distillation_targets, replay_targets, train

Json = dict[str, Any]

INITS = ("apart", "null_space", "random")
METHODS = ("context", "split", "etcon", "finetune_definition", "finetune_transfer")


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is to be learnt, and what is rehearsed beside it. `articles` are used by split contexts only."""

    examples: Sequence[Example]
    rehearsed: Sequence[Example] = ()
    articles: Sequence[Article] = ()

    @property
    def count(self) -> int:
        """How many definitions are new."""
        return len({(e.entity, e.definition) for e in self.examples})


@dataclass(frozen=True, slots=True)
class Learned:
    """What the training reports. `details` are the method's own: clipped shares, rewards by term, splits."""

    report: TrainReport
    details: Json = field(default_factory=dict)


def learn(
    base: Base,
    lesson: Lesson,
    rows: Sequence[Sequence[int]],
    plan: TrainPlan,
    progress: Progress,
    *,
    name: str,
    method: str = "context",
    options: Json | None = None,
    parent: Path | None = None,
    recalled: Sequence[Sequence[int]] = (),
) -> Learned:
    """Trains adapter `name`, from `parent` or from nothing, and leaves it active.

    `rows` are the base's own text, `recalled` what it is sure of (ids, both); `options` the method's own plan.
    """
    drop_adapter(base, name)
    recalled = about_others(base, recalled, (e.entity for e in [*lesson.examples, *lesson.rehearsed])) if plan.recall else ()
    rows, recalled, aside = trust.set_aside(rows, recalled, kl_max=plan.kl_max)
    if method == "etcon":
        learned = _etcon(base, lesson, rows, recalled, plan, _options(EtconPlan, method, options), name, parent, progress)
    else:
        learned = _distil(base, lesson, rows, aside, recalled, plan, method, options, name, parent, progress)
    if not all(bool(p.isfinite().all()) for p in trainable(base)):
        raise NotFinite("A weight of the adapter is not a finite number after training.")
    if aside is not None:
        scale = trust.scale_back(base, name, aside)
        learned.details["trust"] = {"scale": round(scale, 4), "kl": round(trust.distance(base, name, aside.own), 4)}
        if aside.sure:
            learned.details["trust"]["sure_kl"] = round(trust.distance(base, name, aside.sure), 4)
    return learned


def _distil(
    base: Base,
    lesson: Lesson,
    rows: Sequence[Sequence[int]],
    aside: trust.Aside | None,
    recalled: Sequence[Sequence[int]],
    plan: TrainPlan,
    method: str,
    options: Json | None,
    name: str,
    parent: Path | None,
    progress: Progress,
) -> Learned:
    """Every method whose loss compares the student with distributions that are known before the first step."""
    details: Json = {}
    earlier = len(lesson.rehearsed)
    again = visited(base, name, lesson.rehearsed, plan, new=len(lesson.examples), parent=parent)
    lesson = replace(lesson, rehearsed=again)
    progress(0.0, "reading with the definitions in context")
    # the teacher first: the base is measured before any adapter of this request exists
    held: list[Target] | None = None
    if method == "context":
        _options(None, method, options)
        targets = distillation_targets(base, lesson.examples, plan)
        rehearsed = distillation_targets(base, lesson.rehearsed, plan) if lesson.rehearsed else []
    elif method == "split":
        split = _options(SplitPlan, method, options)
        articles = articles_of(lesson.examples, lesson.articles)
        targets = split_targets(base, articles, plan, split)
        rehearsed = split_targets(base, articles_of(lesson.rehearsed, ()), plan, split) if lesson.rehearsed else []
        details = {"documents": len(articles), "splits": len(targets)}
    elif method in ("finetune_definition", "finetune_transfer"):
        baseline = _options(BaselinePlan, method, options)
        plan = for_cross_entropy(plan)
        make = definition_targets if method == "finetune_definition" else transfer_targets
        targets = make(base, lesson.examples)
        rehearsed = make(base, lesson.rehearsed) if lesson.rehearsed else []
        if baseline.base_kl:
            held, plan = held_to_base(base, targets, plan, baseline)
    else:
        raise LearnError(f"There is no method {method!r}.", hint=f"Set learn.method to one of: {', '.join(METHODS)}.")
    steps = plan.steps(len(targets), earlier)
    if held is None:  # as many rows as the run will look at: that the teacher reads them costs as much as training steps
        seen = steps * plan.replay_batch
        held = held_targets(base, [*lesson.examples, *lesson.rehearsed], rows, plan, seen=seen, recalled=recalled)
    details |= start(
        base, name, plan, parent,
        new=[t.ids for t in targets], held=[t.ids for t in rehearsed], kept=[*[t.ids for t in held], *rows], added=added_for(lesson.count),
    )  # fmt: skip
    fresh = StudentSamples(base, name, lesson.examples, plan) if plan.on_policy else None
    before = prune.snapshot(trainable(base)) if plan.drop_largest else []
    price = trust.Price(base, name, aside, most=plan.replay_price, steps=steps)
    report = train(base, targets, held, plan, progress, rehearsed=rehearsed, fresh=fresh, price=price.at, steps=steps)
    details["price"] = round(price.now, 3)
    if plan.drop_largest:
        details["dropped"] = prune.drop_largest(trainable(base), before, share=plan.drop_largest)
    return Learned(report, details)


def held_targets(
    base: Base,
    examples: Sequence[Example],
    rows: Sequence[Sequence[int]],
    plan: TrainPlan,
    *,
    seen: int,
    recalled: Sequence[Sequence[int]] = (),
) -> list[Target]:
    """What the adapter is held to the base on: its own text, what it is sure of, and questions about other names; as many as the run looks at."""
    if not (plan.replay_weight and seen):
        return []
    if not 0 <= plan.contrast + plan.recall < 1 or min(plan.contrast, plan.recall) < 0:
        raise LearnError(
            f"contrast is {plan.contrast:g} and recall {plan.recall:g}: no shares of the replay.",
            hint="Set them so that together they are less than 1.",
        )
    sure = list(recalled) if plan.recall else []
    random.Random(plan.seed).shuffle(sure)
    wanted, known = round(seen * plan.contrast), round(seen * plan.recall) if sure else 0
    own = replay_targets(base, rows[: max(1, seen - wanted - known)], plan)
    asked = contrast_rows(base, examples, rows, count=wanted, seed=plan.seed) if wanted else []
    others = replay_targets(base, asked, replace(plan, replay_rows=0))
    surely = replay_targets(base, sure[:known], replace(plan, replay_rows=0))
    # where there is less of one than was wanted, the shares are kept: the base's own text is as long as it is, the others are seen again
    left = len(own) / (1 - plan.contrast - (plan.recall if sure else 0))
    return [*own, *_repeated(others, round(left * plan.contrast)), *_repeated(surely, round(left * plan.recall))]


def _repeated(targets: Sequence[Target], count: int) -> list[Target]:
    return list(itertools.islice(itertools.cycle(targets), count))


def _etcon(
    base: Base,
    lesson: Lesson,
    rows: Sequence[Sequence[int]],
    recalled: Sequence[Sequence[int]],
    plan: TrainPlan,
    etcon: EtconPlan,
    name: str,
    parent: Path | None,
    progress: Progress,
) -> Learned:
    progress(0.0, "reasoning with the definitions in context")
    labels = labels_of(base, [*lesson.examples, *lesson.rehearsed], etcon)
    held = held_targets(base, [*lesson.examples, *lesson.rehearsed], rows, plan, seen=len(rows), recalled=recalled)
    spoken = [s.ids for s in labels.spoken]  # of what is rehearsed too
    carried = start(base, name, plan, parent, new=spoken, held=spoken, kept=[*[t.ids for t in held], *rows], added=added_for(lesson.count))
    before = prune.snapshot(trainable(base)) if plan.drop_largest else []
    edited = edit(base, name, labels.spoken, held, plan, etcon, lambda f, text: progress(0.6 * f, text))
    consolidated = consolidate(base, name, labels.questions, held, plan, etcon, lambda f, text: progress(0.6 + 0.4 * f, text))
    details: Json = {
        **carried,
        "questions": len(labels.questions),
        "reasonings_left_out": labels.left_out,
        "edit": {"steps": edited.steps, "clipped": [round(c, 4) for c in edited.clipped]},
        "consolidation": {"steps": consolidated.steps, "rollouts": [asdict(r) for r in consolidated.rollouts]},
    }
    if plan.drop_largest:
        details["dropped"] = prune.drop_largest(trainable(base), before, share=plan.drop_largest)
    report = TrainReport(edited.steps + consolidated.steps, len(labels.spoken), edited.first_nll, edited.last_nll, edited.replay_loss)
    progress(1.0, "done")
    return Learned(report, details)


def start(
    base: Base,
    name: str,
    plan: TrainPlan,
    parent: Path | None,
    *,
    new: Sequence[Sequence[int]],
    kept: Sequence[Sequence[int]],
    held: Sequence[Sequence[int]] = (),
    added: int = 0,
) -> Json:
    """Makes the adapter that will train, open to `new` rows of ids and away from `kept` ones. Where it gets `added` directions beside its parent's,
    returns `{"carried": share}` of what that one added to what it learnt (`held`) that is still there; else nothing.

    A version that builds on another that starts as random or in the null space keeps to that one's down-projections.
    """
    if plan.init not in INITS:
        raise LearnError(f"An adapter cannot start as {plan.init!r}.", hint=f"It starts as one of: {', '.join(INITS)}.")
    if parent is not None and plan.init != "apart":
        load_adapter(base, name, parent, trainable=True)
        if plan.init != "random":
            freeze(base, name)
        return {}
    new_adapter(base, name, rank=plan.rank, alpha=plan.alpha, seed=plan.seed)
    if parent is not None:
        share = grow(base, name, matrices(parent), new=new, held=held, kept=kept, added=min(added, plan.rank // 2))
        return {"carried": round(share, 4)}
    if plan.init == "null_space":
        null_space.place(base, name, kept)
    elif plan.init == "apart":
        apart.place(base, name, [*new, *held], kept)
    return {}


def _options(kind: Any, method: str, given: Json | None) -> Any:
    """The method's own plan. An option that it does not know is refused by name."""
    known = set(kind.__dataclass_fields__) if kind else set()
    if unknown := sorted(set(given or {}) - known):
        raise LearnError(f"Method {method!r} has no option {', '.join(unknown)}.", hint=f"It has: {', '.join(sorted(known)) or 'none'}.")
    if kind is None:
        return None
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in (given or {}).items()}
    return replace(kind(), **lists)
