"""`lorefeed adapters`: the versions that were made."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.commands.place import AdapterName, Json, Limit, cut, most, one_more, place_of
from daemon.commands.views import adapter_json, adapter_row_json, check_rows
from daemon.output import say, show_facts, show_json, show_table

app = typer.Typer(help="The versions that were made: small, immutable, each with its check.", no_args_is_help=True)


@app.command("list")
def list_adapters(
    ctx: typer.Context,
    topic: Annotated[str | None, typer.Option(metavar="T", help="Only of this topic.")] = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """The adapters, newest first.

    \b
    lorefeed adapters list --topic news
    """
    shown = most(limit, as_json=as_json)
    with place_of(ctx).registry() as registry:
        found = registry.pages.versions(topic, limit=one_more(shown))
    adapters = cut(found, shown)
    if as_json:
        show_json([adapter_row_json(adapter) for adapter in adapters])
        return
    rows = [
        (a.name, a.state, a.method, a.learnt, "-" if a.recovered is None else f"{a.recovered:.0%}", a.created_at, a.reason)
        for a in adapters
    ]
    columns = ("adapter", "state", "method", "definitions", "recovered", "created", "reason")
    show_table(columns, rows, empty="There are no adapters yet. Learn what waits: lorefeed learn TOPIC")


@app.command()
def show(ctx: typer.Context, adapter: AdapterName, as_json: Json = False) -> None:
    """One adapter: what made it, what it learnt, and its newest check.

    \b
    lorefeed adapters show news@7
    lorefeed adapters show news@7 --json | jq .check
    """
    with place_of(ctx).registry() as registry:
        found = registry.read.adapter(adapter)
        check = registry.read.newest_check(adapter)
        learnt = registry.read.definitions(ids=found.definitions)
        aliases = [alias.name for alias in registry.read.aliases() if alias.adapter == found.name]
        folder = None if found.digest is None or found.removed_at is not None else registry.artifacts.path(found)
    if as_json:
        show_json(adapter_json(found, check))
        return
    facts = {**adapter_json(found, None), "reason": found.reason, "served as": aliases, "rehearsed": found.rehearsed, "folder": folder}
    show_facts({key: value for key, value in facts.items() if value not in (None, [], ())})
    show_table(("id", "entity", "state"), [(d.id, d.entity, d.state) for d in learnt], title="Learnt", empty="nothing new")
    if check is None:
        say(f"It was not checked yet: lorefeed check {found.name}")
        return
    say(f"Check: {check.verdict}, {check.created_at:%Y-%m-%d %H:%M} UTC, against {check.against or 'the base model'}")
    for reason in check.reasons:
        say(f"  {reason}")
    show_table(("metric", "value", "limit", "asked"), check_rows(check.metrics), empty="The check has no numbers.")
