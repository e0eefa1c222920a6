"""`lorefeed learn`: elicits, distils, checks and promotes what waits in a topic, here and now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from daemon.commands.place import OPERATOR, Json, place_of
from daemon.commands.releases import REFUSED
from daemon.commands.views import definition_json
from daemon.output import note, progress_bar, say, short, show_json, show_table

if TYPE_CHECKING:
    from daemon.pipeline import LearnPlan, LearnReport
    from registry import Registry

Method = Literal["auto", "context", "split", "etcon", "finetune_definition", "finetune_transfer"]


def learn(
    ctx: typer.Context,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The line of adapters that gets a new version.")],
    method: Annotated[Method | None, typer.Option(metavar="M", help="How it goes into the weights; else learn.method.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be learnt.")] = False,
    as_json: Json = False,
) -> None:
    """Learn what waits: elicit, distil, check and promote. Exit status 3 if the check refuses it.

    \b
    lorefeed learn news --dry-run
    lorefeed learn news
    """
    from daemon.commands.engine_link import load_problem, reconcile_now
    from daemon.pipeline import learn_topic, plan_topic
    from daemon.teacher import Teacher

    place = place_of(ctx)
    settings = place.settings()
    if method is not None:
        settings = settings.model_copy(update={"learn": settings.learn.model_copy(update={"method": method})})
    with place.registry() as registry:
        _need_topic(registry, topic)
        if dry_run:
            _show_plan(plan_topic(registry, topic), as_json=as_json)
            return
        with alone(registry, topic), progress_bar(f"Learning {topic}") as progress:
            for sentence in registry.recover():
                note(sentence)
            with Teacher.of(settings, progress=progress) as teacher:
                report = learn_topic(
                    registry,
                    teacher,
                    settings,
                    topic,
                    progress=progress,
                    actor=OPERATOR,
                    reconcile=lambda: reconcile_now(registry, settings),
                    load_problem=lambda adapter: load_problem(registry, settings, adapter),
                )
    _show_report(report, as_json=as_json)
    if report.verdict == "refused":
        raise typer.Exit(REFUSED)


@contextmanager
def alone(registry: Registry, topic: str) -> Iterator[None]:
    """Two processes that learn one topic would write one version."""
    from registry import AlreadyRunning

    try:
        with registry.lock_daemon():
            yield
    except AlreadyRunning as err:
        hint = f"Leave it to the daemon, which learns {topic} by itself (lorefeed status), or stop it first"
        raise AlreadyRunning(str(err), hint=hint) from err


def _need_topic(registry: Registry, topic: str) -> None:
    from registry import NotThere

    topics = registry.read.topics()
    if topic not in topics:
        there = f"there is {', '.join(topics)}" if topics else "there is none yet"
        raise NotThere(f"There is no topic {topic}; {there}", hint=f"lorefeed feeds add LOCATION --topic {topic}")


def _show_plan(plan: LearnPlan, *, as_json: bool) -> None:
    parts: dict[str, Any] = {"found": plan.found, "waiting": plan.waiting, "review": plan.review}
    if as_json:
        listed = {name: [definition_json(one) for one in definitions] for name, definitions in parts.items()}
        show_json({"topic": plan.topic, **listed, "rehearsed": plan.rehearsed})
        return
    say(
        f"{plan.topic}: {len(plan.waiting)} definitions wait to be learnt, {len(plan.found)} are first measured for novelty, "
        f"{len(plan.review)} wait for an operator, {plan.rehearsed} would be rehearsed."
    )
    rows = [(one.id, one.state, one.entity, short(one.text)) for definitions in parts.values() for one in definitions]
    show_table(("id", "state", "entity", "definition"), rows, empty="There is nothing to learn.")


def _show_report(report: LearnReport, *, as_json: bool) -> None:
    if as_json:
        show_json(
            {
                "topic": report.topic,
                "adapter": report.adapter,
                "verdict": report.verdict,
                "reasons": report.reasons,
                "known": report.known,
                "review": report.review,
                "learned": report.learned,
                "released": report.released,
                "attempts": report.attempts,
            }
        )
        return
    say(f"{report.topic}: {report.learned} definitions learnt, {report.known} were known, {report.review} wait for an operator.")
    match report.verdict:
        case "passed":
            say(f"{report.adapter} passed its check{' and is served now' if report.released else ''}.")
        case "refused":
            say(f"{report.adapter} was refused, and its definitions are set aside:")
            for reason in report.reasons:
                say(f"  {reason}")
        case _:
            say("There was nothing new to learn.")
