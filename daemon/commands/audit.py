"""`lorefeed audit`: who did what, and that nobody has altered the record."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from daemon.commands.place import Json, place_of
from daemon.commands.views import event_json
from daemon.output import say, short, show_json, show_table

app = typer.Typer(help="Who did what, and that nobody has altered the record.", no_args_is_help=True)


@app.command("list")
def list_events(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, newest first.")] = 50,
    about: Annotated[str | None, typer.Option("--about", metavar="OBJECT", help="Only about this: 'alias news', 'definition 12'.")] = None,
    actor: Annotated[str | None, typer.Option(metavar="WHO", help="Only what this one did: operator, lorefeed, ...")] = None,
    as_json: Json = False,
) -> None:
    """Every action of an operator or of the service itself, newest first.

    \b
    lorefeed audit list
    lorefeed audit list --about "alias news" --json
    """
    with place_of(ctx).registry() as registry:
        events = registry.read.events(limit, about=about, actor=actor)
    if as_json:
        show_json([{**event_json(event), "id": event.id, "digest": event.digest} for event in events])
        return
    rows = [(e.id, e.at, e.actor, e.action, e.object, short(_details(e.detail))) for e in events]
    show_table(("id", "when", "who", "what", "about", "details"), rows, empty="Nothing has happened yet.")


@app.command()
def verify(
    ctx: typer.Context,
    head: Annotated[
        str | None,
        typer.Option(metavar="DIGEST", help="A head that an earlier run printed and that was kept elsewhere: is it still in the chain?"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Go through the whole chain. Exit status 1 if an event was altered, taken out or put in between.

    Whoever can write the file could also write the whole chain anew: keep a head elsewhere (every backup has one), and ask for it.

    \b
    lorefeed audit verify
    lorefeed audit verify --head 5f0c...
    """
    with place_of(ctx).registry() as registry:
        report = registry.audit(known_head=head)
    if as_json:
        show_json({"whole": report.whole, "events": report.events, "head": report.head, "broken": report.broken, "missing": report.missing})
    elif report.broken is not None:
        say(f"Broken: event {report.broken} is not what was written, or what stood before it is gone. The {report.events} before it agree.")
    elif report.missing is not None:
        say(f"Broken: the chain agrees with itself, but the head {report.missing} is not in it, so it was written anew or cut off.")
    else:
        say(f"Whole: {report.events} events. Head: {report.head}")
    if not report.whole:
        raise typer.Exit(1)


def _details(detail: dict[str, object]) -> str:
    return ", ".join(
        f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in detail.items() if value is not None
    )
