"""`lorefeed extract`: the definitions found in a text, without touching the registry."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from daemon.commands.place import Json, place_of
from daemon.errors import DaemonError
from daemon.output import short, show_json, show_table


class NotReadable(DaemonError):
    """The text could not be read."""

    hint = "Give a text file, or - for standard input"


def extract(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="A text file, or - for standard input.")],
    title: Annotated[str | None, typer.Option(help="The document's title; for a glossary entry it is the entity.")] = None,
    as_json: Json = False,
) -> None:
    """Find the definitions in a text. Spans are characters from the text's beginning.

    \b
    lorefeed extract article.txt
    curl -s https://example.org/a.txt | lorefeed extract - --json
    """
    from daemon.extraction import find_definitions

    limits = place_of(ctx).settings().extract
    text = _read(file)
    found = [f for f in find_definitions(text, title=title) if f.score >= limits.min_score and len(f.definition) <= limits.max_chars]
    if as_json:
        show_json([{"entity": f.entity, "definition": f.definition, "span": f.span, "score": f.score} for f in found])
        return
    rows = [(f.entity, short(f.definition), f"{f.span[0]}-{f.span[1]}", f.score) for f in found]
    show_table(("entity", "definition", "characters", "score"), rows, empty="No sentence of it defines anything.")


def _read(file: str) -> str:
    from sources.encoding import decode

    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).expanduser().read_bytes()
    except OSError as err:
        raise NotReadable(f"{file} cannot be read: {err.strerror or err}") from err
    decoded = decode(data)
    if decoded is None:
        raise NotReadable(f"{file} is not a text")
    return decoded.text
