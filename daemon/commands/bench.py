"""Measurements that a user can repeat on the machine at hand. Results go to standard output; nothing is kept."""

from typing import Annotated

import typer

from daemon.output import note, show_facts, show_json

app = typer.Typer(no_args_is_help=True, help="Measure this machine: how long things take.")


@app.command("drop")
def drop(
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=15, help="How many files to drop, one after another.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """From a file dropped into a watched folder to the alias answering about it, with engine, gateway and daemon running.

    \b
    lorefeed bench drop
    lorefeed bench drop --count 3 --json
    """
    from daemon.drop import bench_drop

    note(f"Dropping {count} files, one after another.")
    result = bench_drop(count=count)
    if as_json:
        show_json(result)
        return
    show_facts({"p50": f"{result['p50_s']} s", "worst": f"{result['worst_s']} s", "right": f"{result['right']} of {count}"})
    for each in result["drops"]:
        show_facts({each["name"]: f"released after {each['released_s']} s, answered by {each['adapter']} after {each['answered_s']} s"})
