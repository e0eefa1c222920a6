"""`lorefeed canary`: a version that answers a share of an alias's conversations before it is released to all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from daemon.commands.place import OPERATOR, Json, place_of
from daemon.output import say, show_json, show_table

if TYPE_CHECKING:
    from registry import Canary


def canary(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[A|ALIAS]", help="An adapter (news@8) to try, or with --end an alias; without it, what is tried."),
    ] = None,
    weight: Annotated[float | None, typer.Option(metavar="PERCENT", help="Percent of the conversations that it answers.")] = None,
    alias: Annotated[str | None, typer.Option(metavar="NAME", help="The alias to try it on; the topic's own when missing.")] = None,
    end: Annotated[bool, typer.Option("--end", help="Let the alias's own version answer everything again.")] = False,
    reason: Annotated[str | None, typer.Option(metavar="R", help="Why; recorded for ever.")] = None,
    as_json: Json = False,
) -> None:
    """Try a checked version on some conversations. A conversation stays with its version; promote and rollback end the trial.

    \b
    lorefeed canary news@8 --weight 5
    lorefeed canary news --end
    lorefeed canary
    """
    from daemon.commands.engine_link import reconcile_now
    from registry import split_adapter_name

    place = place_of(ctx)
    if name is None:
        with place.registry() as registry:
            tried = registry.read.canaries()
        _show(tried, as_json=as_json)
        return
    if end == (weight is not None):
        raise typer.BadParameter("give --weight PERCENT to begin a canary, or --end to end it")
    settings = place.settings()
    with place.registry() as registry:
        if weight is not None:
            one = registry.write.set_canary(alias or split_adapter_name(name)[0], name, weight=weight, actor=OPERATOR)
        else:
            one = registry.write.end_canary(name, actor=OPERATOR, reason=reason)
        reconcile_now(registry, settings)
    if as_json:
        show_json(canary_json(one))
    elif end:
        say(f"{one.adapter} answers no conversations of {one.alias} any more.")
    else:
        say(f"{one.adapter} answers {one.weight:g} % of the conversations of {one.alias} now.")


def canary_json(canary: Canary) -> dict[str, object]:
    return {"alias": canary.alias, "adapter": canary.adapter, "weight": canary.weight, "since": canary.since}


def _show(tried: list[Canary], *, as_json: bool) -> None:
    if as_json:
        show_json([canary_json(one) for one in tried])
        return
    rows = [(one.alias, one.adapter, f"{one.weight:g} %", one.since) for one in tried]
    show_table(("alias", "canary", "weight", "since"), rows, empty="No version is being tried. Begin: lorefeed canary A --weight 5")
