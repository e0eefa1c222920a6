"""`lorefeed bench ingest`: what polling costs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from daemon.commands.place import Json
from daemon.output import note, show_facts, show_json


def ingest(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", exists=True, file_okay=False, help="A folder of feed files or of the labelled sets; else made feeds."
        ),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How many turns each has; the median counts.")] = 5,
    feeds: Annotated[int, typer.Option("--feeds", min=0, help="How many feeds are due at once in the second part; 0 leaves it out.")] = 500,
    hosts: Annotated[int, typer.Option("--hosts", min=1, max=2000, help="On how many hosts of this machine they lie.")] = 100,
    hanging: Annotated[int | None, typer.Option("--hanging", min=0, help="How many of them never answer; else one in a hundred.")] = None,
    failing: Annotated[int | None, typer.Option("--failing", min=0, help="How many of them fail; else one in fifty.")] = None,
    as_json: Json = False,
) -> None:
    """Polling against the bare parser on the same feeds in the same run; and how late feeds are that are due all at once.

    \b
    lorefeed bench ingest
    lorefeed bench ingest --data DIR --feeds 2000 --hosts 200 --json
    """
    from daemon.benches.ingest import LARGE_BYTES, bodies_of, due, throughput

    bodies = bodies_of(data)
    large = [body for body in bodies if len(body) >= LARGE_BYTES]
    if not bodies:
        raise typer.BadParameter(f"there is no feed in {data}", param_hint="--data")
    found: dict[str, Any] = {}
    if large:
        found["throughput"] = throughput(large, rounds=rounds, say=note)
    if len(large) < len(bodies):
        found["with_small"] = throughput(bodies, rounds=1, repeated=1, say=note)
    if feeds:
        silent, broken = feeds // 100 if hanging is None else hanging, feeds // 50 if failing is None else failing
        found["due"] = due(feeds, hosts=min(hosts, feeds), hanging=silent, failing=broken, say=note)
    if as_json:
        show_json(found)
        return
    for part, facts in found.items():
        note(part)
        show_facts(facts)
