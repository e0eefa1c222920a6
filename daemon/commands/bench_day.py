"""`lorefeed bench day`: whether a busy day leaves daemon and gateway as large as it found them."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.commands.place import Json
from daemon.output import note, say, show_facts, show_json, show_table


def day(
    minutes: Annotated[float, typer.Option("--minutes", min=0.5, help="In how many minutes the 24 hours go by.")] = 8.0,
    as_json: Json = False,
) -> None:
    """24 hours of a busy day in a few minutes, by short intervals: is the memory of daemon and gateway flat, and do files stay open?

    After a quarter of the day has warmed them up, memory may gain or lose 5 % in 24 hours, by a straight line through what is seen each
    second. Exit status 1 if it does not keep to that, or if a process was started again.

    \b
    lorefeed bench day
    lorefeed bench day --minutes 12 --json
    """
    from daemon.benches.day import bench_day

    found = bench_day(minutes=minutes, say=note)
    if as_json:
        show_json(found)
    else:
        show_facts(found["work"])
        rows = [
            (name, _mib(p["warm_bytes"]), _mib(p["end_bytes"]), f"{p['growth']:+.1%}", p["files_warm"], p["files_end"], p["flat"])
            for name, p in found["processes"].items()
        ]
        show_table(("process", "MiB warm", "MiB at the end", "in 24 h", "files warm", "files at the end", "flat"), rows)
        say("It is flat." if found["flat"] else "It is not flat.")
    if not found["flat"]:
        raise typer.Exit(1)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f}"
