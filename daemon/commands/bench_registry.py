"""`lorefeed bench registry`: how fast a large registry answers on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from daemon.commands.place import Json
from daemon.output import note, say, show_facts, show_json, show_table


def registry(
    ctx: typer.Context,
    definitions: Annotated[int, typer.Option("--definitions", min=2000, help="How many definitions the registry holds.")] = 1_000_000,
    adapters: Annotated[int, typer.Option("--adapters", min=200, help="How many versions.")] = 10_000,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each thing is asked.")] = 20,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Fill this home and leave it there; one that was filled is used again.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Every command and every page on a registry as years leave it, worst first; and a backup while others write, restored and verified.

    \b
    lorefeed bench registry
    lorefeed bench registry --definitions 100000 --adapters 5000 --json
    """
    from daemon.benches.registry import bench_registry

    root: Any = ctx.find_root().command

    def run_command(words: Sequence[str]) -> None:
        root.main(list(words), prog_name="lorefeed", standalone_mode=False)

    found = bench_registry(definitions=definitions, adapters=adapters, rounds=rounds, run_command=run_command, keep=keep, say=note)
    if as_json:
        show_json(found)
        return
    show_facts(found["filled"])
    for part in ("commands", "pages"):
        rows = [(row["asked"], row["p50_ms"], row["p95_ms"]) for row in found[part]]
        show_table((part, "p50 ms", "p95 ms"), rows)
        slow = sum(row["p95_ms"] > found["budget_ms"] for row in found[part])
        say(f"{len(rows) - slow} of {len(rows)} {part} within {found['budget_ms']:.0f} ms.")
    say(f"Beside that, starting Python with its imports takes {found['start_ms']:.0f} ms.")
    show_facts({f"reads everything: {name}": f"{seconds} s" for name, seconds in found["whole"].items()})
    show_facts(found["backup"])
