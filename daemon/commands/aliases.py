"""`lorefeed aliases`: the stable names that clients ask for."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from daemon.commands.place import OPERATOR, Json, place_of
from daemon.commands.views import alias_json
from daemon.output import say, show_json, show_table

app = typer.Typer(help="The stable names that clients ask for; each points at one adapter.", no_args_is_help=True)

AliasName = Annotated[str, typer.Argument(metavar="ALIAS")]
Scope = Literal["mention", "always"]


@app.command("list")
def list_aliases(ctx: typer.Context, as_json: Json = False) -> None:
    """Every alias with the adapter it serves.

    \b
    lorefeed aliases list
    """
    with place_of(ctx).registry() as registry:
        aliases = registry.read.aliases()
    if as_json:
        show_json([alias_json(alias) for alias in aliases])
        return
    rows = [(a.name, a.adapter or "the base model", a.since, a.scope, a.topics) for a in aliases]
    show_table(("alias", "serves", "since", "scope", "topics"), rows, empty="There are no aliases. A new topic brings one of its own name.")


@app.command("set")
def set_alias(
    ctx: typer.Context,
    alias: AliasName,
    topic: Annotated[str | None, typer.Option(metavar="T", help="The topic whose adapters it serves.")] = None,
    topics: Annotated[str | None, typer.Option(metavar="T,T...", help="Several topics, with commas between.")] = None,
    scope: Annotated[
        Scope | None,
        typer.Option(help="mention: the adapter answers when something it learnt is named, else the base; always: it answers."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an alias, or change its topics or scope. What it points at is changed by promote and rollback.

    \b
    lorefeed aliases set news --scope always
    lorefeed aliases set assistant --topic news
    """
    if topic is not None and topics is not None:
        raise typer.BadParameter("give --topic or --topics, not both")
    wanted = [name.strip() for name in (topics or topic or "").split(",") if name.strip()]
    with place_of(ctx).registry() as registry:
        old = next((one for one in registry.read.aliases() if one.name == alias), None)
        if not wanted and old is None:
            raise typer.BadParameter(f"the alias {alias} is new: say what it serves with --topic T")
        chosen_scope = scope or (old.scope if old is not None else "mention")
        made = registry.write.set_alias(alias, topics=wanted or (old.topics if old else ()), scope=chosen_scope, actor=OPERATOR)
    if as_json:
        show_json(alias_json(made))
    else:
        say(
            f"The alias {made.name} serves {', '.join(made.topics)} with scope {made.scope}; now {made.adapter or 'the base model'} answers."
        )


@app.command()
def remove(ctx: typer.Context, alias: AliasName, as_json: Json = False) -> None:
    """Take a served name away. Its releases stay on record.

    \b
    lorefeed aliases remove assistant
    """
    place = place_of(ctx)
    settings = place.settings()
    with place.registry() as registry:
        gone = registry.read.alias(alias)
        registry.write.remove_alias(alias, actor=OPERATOR)
        if gone.adapter is not None:
            from daemon.commands.engine_link import reconcile_now

            reconcile_now(registry, settings)
    if as_json:
        show_json(alias_json(gone))
    else:
        say(f"Removed the alias {gone.name}; requests for it are refused from now on.")
