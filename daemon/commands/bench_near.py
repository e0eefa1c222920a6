"""`lorefeed bench near`: how well copies of documents are told, and what that costs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from daemon.commands.place import Json
from daemon.output import note, show_facts, show_json, show_table


def near(
    documents: Annotated[
        int, typer.Option("--documents", min=20_000, help="The largest index; it is compared with one of 10,000.")
    ] = 100_000,
    pairs: Annotated[int, typer.Option("--pairs", min=10, help="Copies that are asked about at each level of editing.")] = 500,
    as_json: Json = False,
) -> None:
    """Near-duplicates: precision and recall at three levels of editing, and what one more document costs in a large index.

    \b
    lorefeed bench near
    lorefeed bench near --documents 1000000 --json
    """
    from daemon.benches.near import accuracy, cost

    found: dict[str, Any] = {"accuracy": accuracy(pairs), "cost": cost([10_000, documents], say=note)}
    if as_json:
        show_json(found)
        return
    rows = [(level, f["recall"], f["precision"]) for level, f in found["accuracy"]["edited"].items()]
    show_table(("edited", "recall", "precision"), rows)
    sizes = found["cost"]["sizes"]
    show_table(("documents", "ms a document", "of it index", "resident bytes"), [(n, *_costs(f)) for n, f in sizes.items()])
    show_facts({"ratio": found["cost"]["ratio"], "file": f"{found['cost']['file_bytes']} bytes"})


def _costs(facts: dict[str, Any]) -> tuple[Any, ...]:
    return facts["ms_a_document"], facts["ms_index"], facts["resident_bytes"]
