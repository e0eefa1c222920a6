"""`lorefeed check, promote, rollback, releases`: what is served, and how that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from daemon.commands.place import OPERATOR, AdapterName, Json, Limit, cut, most, one_more, place_of
from daemon.commands.views import check_json, check_rows, release_json
from daemon.output import progress_bar, say, show_json, show_table

if TYPE_CHECKING:
    from registry import Release

REFUSED = 3
AliasName = Annotated[str, typer.Argument(metavar="ALIAS")]
Reason = Annotated[str | None, typer.Option(metavar="R", help="Why; recorded for ever.")]


def check(ctx: typer.Context, adapter: AdapterName, as_json: Json = False) -> None:
    """Measure an adapter against the base model and against what is served. Exit status 3 if it is refused.

    \b
    lorefeed check news@7
    """
    from daemon.commands.engine_link import load_problem
    from daemon.pipeline import check_adapter
    from daemon.teacher import Teacher

    place = place_of(ctx)
    settings = place.settings()
    with place.registry() as registry, progress_bar(f"Checking {adapter}") as progress:
        registry.artifacts.verify(registry.read.adapter(adapter))  # before the minutes that the model takes to load
        with Teacher.of(settings, progress=progress) as teacher:
            run = check_adapter(registry, teacher, settings, adapter, load_problem=lambda one: load_problem(registry, settings, one))
    if as_json:
        show_json(check_json(run))
    else:
        show_table(("metric", "value", "limit", "asked"), check_rows(run.metrics))
        say(f"{run.adapter} {'passed its check' if run.verdict == 'passed' else 'was refused'}, against {run.against or 'the base model'}.")
        for reason in run.reasons:
            say(f"  {reason}")
    if run.verdict == "refused":
        raise typer.Exit(REFUSED)


def promote(
    ctx: typer.Context,
    adapter: AdapterName,
    alias: Annotated[str | None, typer.Option(metavar="NAME", help="The alias to move; the topic's own when missing.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Although its check did not pass; needs --reason.")] = False,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Point an alias at an adapter. Exit status 3 if its check did not pass.

    \b
    lorefeed promote news@7
    lorefeed promote news@7 --alias assistant
    lorefeed promote news@7 --force --reason "the check asks about a product we dropped"
    """
    from daemon.commands.engine_link import reconcile_now
    from registry import split_adapter_name

    if force and not (reason or "").strip():
        raise typer.BadParameter("--force needs a reason: --force --reason R")
    place = place_of(ctx)
    settings = place.settings()
    with place.registry() as registry:
        name = alias or split_adapter_name(adapter)[0]
        release = registry.write.promote(name, adapter, actor=OPERATOR, reason=reason, forced=force)
        reconcile_now(registry, settings)
    _show_release(release, as_json=as_json)


def rollback(
    ctx: typer.Context,
    alias: AliasName,
    to: Annotated[str | None, typer.Option(metavar="VERSION", help="A version it served before; the one before this when missing.")] = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Go back to what an alias served before, from the next request on.

    What only the newer versions had learnt is held, so that the next learning does not bring it back.

    \b
    lorefeed rollback news --reason "wrong about the harbour"
    lorefeed rollback news --to 5
    """
    from daemon.commands.engine_link import reconcile_now

    version = None if to is None else _version(to)
    place = place_of(ctx)
    settings = place.settings()
    with place.registry() as registry:
        release = registry.write.rollback(alias, to=version, actor=OPERATOR, reason=reason)
        reconcile_now(registry, settings)
    _show_release(release, as_json=as_json)


def releases(ctx: typer.Context, alias: AliasName, limit: Limit = None, as_json: Json = False) -> None:
    """Everything an alias ever served, newest first.

    \b
    lorefeed releases news
    """
    shown = most(limit, as_json=as_json)
    with place_of(ctx).registry() as registry:
        found = registry.read.releases(alias, limit=one_more(shown))
        if not found:
            registry.read.alias(alias)  # raises if there is no such name
    found = cut(found, shown)
    if as_json:
        show_json([release_json(release) for release in found])
        return
    rows = [(r.at, r.from_adapter or "base", r.to_adapter or "base", r.actor, "yes" if r.forced else "", r.reason) for r in found]
    show_table(("when", "from", "to", "who", "forced", "why"), rows, empty=f"Nothing was released as {alias} yet.")


def _version(text: str) -> int:
    """`5`, or `news@5`."""
    number = text.rpartition("@")[2]
    if not number.isdecimal():
        raise typer.BadParameter(f"{text!r} is no version: give its number, like --to 5")
    return int(number)


def _show_release(release: Release, *, as_json: bool) -> None:
    if as_json:
        show_json(release_json(release))
        return
    before, after = release.from_adapter or "the base model", release.to_adapter or "the base model"
    say(f"{release.alias} serves {after} now; before, it served {before}.")
