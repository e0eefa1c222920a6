"""`lorefeed bench gateway`: what the gateway costs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from daemon.commands.place import Json
from daemon.output import note, show_facts, show_json, show_table


def gateway(
    clients: Annotated[int, typer.Option("--clients", min=1, help="How many ask at a time.")] = 16,
    seconds: Annotated[float, typer.Option("--seconds", min=0.5, help="How long each turn takes.")] = 5.0,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How many turns each has; the median counts.")] = 3,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Of each answer of the real engine.")] = 16,
    engine: Annotated[bool, typer.Option("--engine/--no-engine", help="Measure also in front of the embedded engine.")] = True,
    litellm: Annotated[
        Path | None, typer.Option("--litellm", metavar="FILE", help="LiteLLM's executable: its proxy is measured in the same turns.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What the gateway costs: its own ceiling before an engine that computes nothing; what it adds before an engine that answers after 100 ms and
    takes none of this machine's cores, as on a GPU; and before the embedded engine, which takes them all. Each against the engine direct.

    \b
    lorefeed bench gateway
    lorefeed bench gateway --clients 16 --litellm ~/litellm/bin/litellm --json
    """
    from daemon.serving.bench import bench_gateway

    found = bench_gateway(clients=clients, seconds=seconds, rounds=rounds, max_tokens=max_tokens, engine=engine, litellm=litellm, say=note)
    if as_json:
        show_json(found)
        return
    search = found["search"]
    names = f"{search['names']:,} names looked for in {search['characters']} characters"
    show_facts({names: f"{search['us']:g} µs", "to make ready for that": f"{search['made_s']:g} s"})
    _show("an engine that computes nothing", found["ceiling"])
    for part, title in (("paced", "an engine that answers after 100 ms"), ("engine", "the embedded engine")):
        if part in found:
            _show(title, {name: turn for name, turn in found[part].items() if isinstance(turn, dict)})
            show_facts({name: value for name, value in found[part].items() if not isinstance(value, dict)})


def _show(title: str, turns: dict[str, Any]) -> None:
    rows = [(name, t["per_second"], t["p50_ms"], t["p99_ms"], t["answers"], t["failed"]) for name, t in turns.items()]
    show_table(("asked", "answers/s", "p50 ms", "p99 ms", "answers", "failed"), rows, title=title)
