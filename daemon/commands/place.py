"""Where a command works: its home, opened on demand; and the options that many commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from daemon.errors import DaemonError
from daemon.output import note

if TYPE_CHECKING:
    from daemon.config import Settings
    from registry import Registry

Json = Annotated[bool, typer.Option("--json", help="Write one JSON document to standard output, for scripts.")]
AdapterName = Annotated[str, typer.Argument(metavar="A", help="An adapter, written topic@version: news@7")]
OPERATOR = "operator"
SHOWN = 50  # rows of a listing for people that is not asked for more; scripts get all that there are
Limit = Annotated[
    int | None,
    typer.Option("--limit", "-n", min=0, help=f"At most so many, 0: all; {SHOWN} unless said, all with --json."),
]

Row = TypeVar("Row")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class NoHome(DaemonError):
    """There is no Lorefeed home at that place."""


@dataclass(frozen=True, slots=True)
class Place:
    """One home directory, perhaps `given` with --home. Nothing is opened, read or even imported before it is asked for."""

    given: Path | None

    @property
    def home(self) -> Path:
        from daemon.config import find_home

        return find_home(self.given)

    def settings(self, **overrides: Any) -> Settings:
        from daemon.config import load_settings

        return load_settings(self.home, **overrides)

    def registry(self, *, create: bool = False) -> Registry:
        """The registry; close it. A mistyped --home must not look like an empty one, so only some commands create it."""
        from registry import Registry

        if not create:
            self.need_home()
        return Registry.open(self.home)

    def need_home(self) -> None:
        if not self.home.is_dir():
            raise NoHome(f"There is no Lorefeed home at {self.home}.", hint=f"lorefeed init --home {self.home}")


def place_of(context: typer.Context) -> Place:
    found = context.find_object(Place)
    assert found is not None, "the application's callback sets it"
    return found


def most(limit: int | None, *, as_json: bool) -> int | None:
    """How many rows are shown; None: all."""
    return (None if as_json else SHOWN) if limit is None else limit or None


def one_more(most: int | None) -> int | None:
    """How many to ask for, to see whether there are others."""
    return None if most is None else most + 1


def cut(rows: list[Row], most: int | None, *, more: str = "More: a larger --limit") -> list[Row]:
    """The first rows. That there are others is said beside the answer, with the way to them."""
    if most is None or len(rows) <= most:
        return rows
    note(f"Only {most} are shown. {more}; all of them: --limit 0")
    return rows[:most]


def seconds(text: str) -> int:
    """`90s`, `15m`, `2h`, `1d`, or a plain number of seconds."""
    text = text.strip().lower()
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS_S else (text, "s")
    if not number.isdecimal() or int(number) == 0:
        raise typer.BadParameter(f"{text!r} is no time: write 30s, 15m, 2h or 1d")
    return int(number) * _UNITS_S[unit]


def span_of_time(duration_s: float) -> str:
    """Seconds as people write them."""
    for unit, size_s in reversed(_UNITS_S.items()):
        if duration_s >= size_s and duration_s % size_s == 0:
            return f"{duration_s / size_s:.0f}{unit}"
    return f"{duration_s:g}s"


def unique_name(wanted: str, taken: Callable[[str], bool]) -> str:
    """`wanted`, or with the first number behind it that makes it new."""
    name, number = wanted, 1
    while taken(name):
        number += 1
        name = f"{wanted}-{number}"
    return name
