"""`lorefeed forget`: what is not to be known any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.commands.learn import alone
from daemon.commands.place import OPERATOR, Json, Place, place_of
from daemon.commands.releases import REFUSED
from daemon.commands.views import adapter_row_json, definition_json, document_json
from daemon.output import note, progress_bar, say, short, show_json, show_table

if TYPE_CHECKING:
    from daemon.relearn import Relearned
    from registry import Forgetting, Registry


def forget(
    ctx: typer.Context,
    document: Annotated[int | None, typer.Option(metavar="ID", help="A document and every definition that only it gives.")] = None,
    feed: Annotated[str | None, typer.Option(metavar="N", help="Every document of a feed.")] = None,
    entity: Annotated[str | None, typer.Option(metavar="NAME", help="Every definition of an entity, whoever gave it.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="R", help="Why; recorded for ever.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be forgotten, and which versions know it.")] = False,
    as_json: Json = False,
) -> None:
    """Forget for good: learn the topic again without it, prove by questions that it is gone, and release that.

    From this moment the gateway gives no question that names it to an adapter. The versions that knew it can never be served again, and their
    files are deleted. Names, documents and what was decided stay on record. Exit status 3 if the version without it failed its check: the topic
    is then back at a version that never knew it, and what else was lost is held.

    \b
    lorefeed forget --document 12 --dry-run
    lorefeed forget --document 12 --reason "the publisher withdrew it"
    lorefeed forget --entity "Blue Harbour"
    """
    place = place_of(ctx)
    with place.registry() as registry:
        if dry_run:
            _show(registry.read.forgetting(document=document, feed=feed, entity=entity), feed=feed, dry_run=True, as_json=as_json)
            return
        plan = registry.write.forget(
            document=document, feed=feed, entity=entity, actor=OPERATOR, reason=reason or "an operator had it forgotten"
        )
        from daemon.carriers import give_up_carriers

        give_up_carriers(registry, [d.id for d in plan.definitions], actor=OPERATOR)
        if not as_json:
            _show(plan, feed=feed, dry_run=False, as_json=False)
        done = [_relearn(place, registry, topic) for topic in plan.topics]
    if as_json:
        show_json({**_plan_json(plan), "topics": [_relearned_json(topic, one) for topic, one in zip(plan.topics, done, strict=True)]})
    else:
        for topic, one in zip(plan.topics, done, strict=True):
            _say_relearned(topic, one)
    if any(one is not None and one.run is not None and one.run.verdict == "refused" for one in done):
        raise typer.Exit(REFUSED)


def _relearn(place: Place, registry: Registry, topic: str) -> Relearned | None:
    """Here and now; None where a daemon works on the home, which does it next."""
    from daemon.commands.engine_link import load_problem, reconcile_now
    from daemon.relearn import relearn
    from daemon.teacher import Teacher
    from registry import AlreadyRunning

    settings = place.settings()
    try:
        with alone(registry, topic), progress_bar(f"Learning {topic} again") as progress:
            with Teacher.of(settings, progress=progress) as teacher:
                done = relearn(
                    registry, teacher, settings, topic, actor=OPERATOR, load_problem=lambda one: load_problem(registry, settings, one)
                )
            reconcile_now(registry, settings)
            return done
    except AlreadyRunning:
        note(f"The daemon learns {topic} again without it; see: lorefeed status")
        return None


def _show(plan: Forgetting, *, feed: str | None, dry_run: bool, as_json: bool) -> None:
    if as_json:
        show_json(_plan_json(plan))
        return
    will = "would be " if dry_run else ""
    rows = [(d.id, d.state, d.entity, short(d.text, 80)) for d in plan.definitions]
    show_table(("id", "state", "entity", "definition"), rows, title=f"Definitions that {will or 'are '}forgotten", empty="no definition")
    if plan.documents:
        say(f"{len(plan.documents)} documents {will or 'are '}withdrawn: {_numbers([d.id for d in plan.documents])}.")
    if feed is not None:
        say(f"The feed {feed} is still polled; to end that: lorefeed feeds remove {feed}")
    for one in plan.witnessed:
        say(f"Definition {one.id} ({one.entity}) stays: {one.witnesses} other documents say the same.")
    carriers = ", ".join(a.name for a in plan.carriers) or "none"
    older = plan.carried_by - len(plan.carriers)
    carriers += f" and {older} older ones" if older else ""
    say(f"Versions that had it in training, and can not be served again: {carriers}.")
    for topic in plan.topics:
        say(f"{topic} {'would be' if dry_run else 'is'} learnt again without it.")


def _say_relearned(topic: str, done: Relearned | None) -> None:
    if done is None:
        return
    now = done.adapter or "the base model"
    if done.run is None:
        say(f"{topic} serves {now}, which never knew it; nothing else had to be learnt again.")
        return
    measures: dict[str, Any] = done.run.metrics
    if done.run.verdict == "passed":
        say(f"{topic} serves {now}, learnt without it.")
    else:
        say(f"{done.run.adapter}, learnt without it, was refused: {' '.join(done.run.reasons)}")
        say(f"{topic} is back at {now}; {len(done.held)} definitions that were lost with it are held: lorefeed definitions release ID")
    left = measures.get("forgotten")
    if left is not None and left["value"] is not None:
        before = measures.get("forgotten_before", {}).get("value")
        say(
            f"Asked {left['n']} questions about it, {left['value']:.0%} of what its definition gives is left"
            f" (± {2 * measures['forgotten_error']['value']:.0%}{'' if before is None else f'; before {before:.0%}'});"
            f" {measures['forgotten_right']['value']:.0%} answered as it says, {measures['forgotten_right_other_names']['value']:.0%} for names"
            " that nobody taught."
        )


def _plan_json(plan: Forgetting) -> dict[str, Any]:
    return {
        "documents": [document_json(d) for d in plan.documents],
        "definitions": [definition_json(d) for d in plan.definitions],
        "stay": [definition_json(d) for d in plan.witnessed],
        "adapters": [adapter_row_json(a) for a in plan.carriers],
        "adapters_total": plan.carried_by,
        "topics": list(plan.topics),
    }


def _relearned_json(topic: str, done: Relearned | None) -> dict[str, Any]:
    return {"topic": topic, "queued": done is None, **({} if done is None else done.summary)}


def _numbers(ids: list[int]) -> str:
    return ", ".join(map(str, ids[:20])) + (f" and {len(ids) - 20} more" if len(ids) > 20 else "")
