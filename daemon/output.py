"""What a command shows: tables and sentences for people, or one JSON document, on standard output; everything else on standard error.

Knows no nouns. Texts from feeds are a stranger's, so nothing in them may steer a terminal.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

Progress = Callable[[float, str], None]
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
LONG = 100  # rows
_PLAIN = frozenset({str, int, bool, type(None)})
_PIPE_WIDTH = 4000  # what reads a pipe wraps lines for itself, or wants them whole


def show_json(value: Any) -> None:
    """One JSON document; the only thing that a command with --json writes to standard output. A long listing has a line for each row."""
    if isinstance(value, dict) and any(_is_long(part) for part in value.values()):
        parts = (f"  {json.dumps(str(name))}: {_lines(part)}" for name, part in value.items())
        sys.stdout.write("{\n" + ",\n".join(parts) + "\n}\n")
    else:
        sys.stdout.write(_lines(value) + "\n")


def _is_long(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > LONG


def _lines(value: Any) -> str:
    """Indented; of a long list each row is one line, because indenting them would take most of a command's time."""
    if _is_long(value):
        return "[\n  " + ",\n  ".join(map(_row, value)) + "\n]"
    return json.dumps(plain(value), indent=2, allow_nan=False)


def _row(value: Any) -> str:
    try:
        return _ROW(value)  # what `plain` would make of it, several times as fast
    except (TypeError, ValueError):  # it holds a number that is not finite, or names that are no words
        return _ROW(plain(value))


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "", empty: str = "There are none.") -> None:
    """Rows for people. A cell is shown as `cell` says."""
    if not rows:
        say(f"{title}: {empty}" if title else empty)
        return
    if not sys.stdout.isatty():
        sys.stdout.write("".join(f"{line}\n" for line in _drawn(columns, rows, title)))
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(value)) for value in row))
    _console().print(table)


def _drawn(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str) -> Iterator[str]:
    """The same table for a pipe, where no line is folded and nothing pads its end. Laying out fifty rows with rich takes longer than reading them."""
    from rich.cells import cell_len  # a letter may be two columns wide, or none

    table = [[[name] for name in columns], *([cell(value).splitlines() or [""] for value in row] for row in rows)]
    widths = [max(cell_len(line) for row in table for line in row[place]) for place in range(len(columns))]
    if title:
        yield title
    for number, row in enumerate(table):
        for line in range(max(map(len, row))):
            parts = [part[line] if line < len(part) else "" for part in row]
            yield " " + "   ".join(part + " " * (width - cell_len(part)) for part, width in zip(parts, widths, strict=True)).rstrip()
        if not number:
            yield " " + "─" * (sum(widths) + 3 * (len(widths) - 1))


def show_facts(facts: Mapping[str, Any]) -> None:
    """Names and values, one a line."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        say(f"{name:<{width}}  {cell(value)}")


def say(sentence: str) -> None:
    """A sentence for people, as part of the answer."""
    sys.stdout.write(clean(sentence) + "\n")


def note(sentence: str) -> None:
    """A sentence beside the answer."""
    sys.stderr.write(clean(sentence) + "\n")
    sys.stderr.flush()


def cell(value: Any) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.3g}"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        case tuple() | list():
            return ", ".join(cell(one) for one in value) or "-"
        case _:
            return clean(str(value))


def short(text: str, characters: int = 100) -> str:
    """A text cut to fit a table's cell."""
    line = " ".join(text.split())
    return line if len(line) <= characters else line[: characters - 1] + "…"


def clean(text: str) -> str:
    """Without characters that would move the cursor, change colours or turn the line around."""
    return _STEERING.sub("�", text)


def plain(value: Any) -> Any:
    """The value in JSON's own types: moments in UTC with a Z, what is not finite as null."""
    kind = type(value)
    if kind in _PLAIN:  # most of a long listing
        return value
    if kind is dict:
        return {name if type(name) is str else str(name): inner if type(inner) in _PLAIN else plain(inner) for name, inner in value.items()}
    match value:
        case datetime():
            utc = value if value.tzinfo is UTC else value.astimezone(UTC)
            return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case float():
            return value if math.isfinite(value) else None
        case bool() | int() | None:
            return value
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case tuple() | list() | set() | frozenset():
            return [plain(inner) for inner in value]
        case _:
            return str(value)


_ROW = json.JSONEncoder(allow_nan=False, default=plain).encode  # made once: json.dumps makes one for each row


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """Shows how far something is: a bar on a terminal, elsewhere a line whenever another step begins."""
    if not sys.stderr.isatty():
        yield _progress_lines(what)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.fields[what]}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}", markup=False), console=_console(sys.stderr), transient=True) as bars:
        task = bars.add_task("", total=1.0, what=what)
        yield lambda fraction, text: bars.update(task, completed=fraction, description=clean(text))


def _progress_lines(what: str) -> Progress:
    last = ""

    def tell(fraction: float, text: str) -> None:
        nonlocal last
        if text != last:
            note(f"{what}: {fraction:.0%} {text}")
            last = text

    return tell


def _console(stream: Any = None) -> Console:
    from rich.console import Console

    file = stream or sys.stdout
    return Console(file=file, width=None if file.isatty() else _PIPE_WIDTH, highlight=False, markup=False, emoji=False)
