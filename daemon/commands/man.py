"""`lorefeed man`: the manual page, made from the commands themselves (man(7) macros)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

import typer
from typer.core import TyperGroup

from daemon.output import say

_FILES = (
    ("lorefeed.toml", "the settings, in the home; every key is explained there"),
    ("registry.sqlite3", "the registry, in the home: documents, definitions, adapters, checks, releases, the audit log"),
    ("artifacts/", "the adapters, in the home, each a folder that never changes"),
)
_VARIABLES = (
    ("LOREFEED_HOME", "the home, where --home is not given"),
    ("LOREFEED_SECTION__KEY", "overrides a setting of the file: LOREFEED_LEARN__RANK=32"),
)
_STATUS = (("0", "done"), ("1", "failed"), ("2", "misused"), ("3", "refused by a check"), ("130", "interrupted"))


def man(ctx: typer.Context) -> None:
    """Write the manual page, for man(1).

    \b
    lorefeed man | man -l -
    lorefeed man > /usr/local/share/man/man1/lorefeed.1
    """
    say("\n".join(page(ctx.find_root())))


def page(root: Any) -> Iterator[str]:
    """The lines of the page, in troff. `root` is a context of the click that typer carries within it, whose type it does not give out."""
    from daemon.commands.status import version

    program = root.command
    yield f'.TH LOREFEED 1 "" "lorefeed {_plain(version())}" "User Commands"'
    summary, *_ = _help_of(program.help)
    yield from (".SH NAME", f"lorefeed \\- {_plain(summary)}")
    yield from (".SH SYNOPSIS", ".B lorefeed", "[\\fB\\-\\-home\\fR \\fIDIR\\fR] \\fICOMMAND\\fR [\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]")
    yield ".SH OPTIONS"
    yield from _options(program.get_params(root))
    yield ".SH COMMANDS"
    yield from _commands(root)
    for title, rows in (("ENVIRONMENT", _VARIABLES), ("FILES", _FILES), ("EXIT STATUS", _STATUS)):
        yield f".SH {title}"
        for name, meaning in rows:
            yield from (".TP", f".B {_plain(name)}", _plain(meaning))


def _commands(parent: Any) -> Iterator[str]:
    command = parent.command
    assert isinstance(command, TyperGroup), "only groups have commands"
    for name in command.list_commands(parent):
        child = command.get_command(parent, name)
        if child is None or child.hidden:
            continue
        with child.context_class(child, info_name=name, parent=parent) as context:
            if isinstance(child, TyperGroup):
                yield from _commands(context)
                continue
            summary, *rest = _help_of(child.help)
            usage = " ".join([context.command_path, *child.collect_usage_pieces(context)])
            yield from (f".SS {_plain(usage)}", _plain(summary))
            for paragraph in rest:  # those with one line a sentence are examples
                yield from (".PP", *([".nf", *map(_plain, paragraph.splitlines()), ".fi"] if "\n" in paragraph else [_plain(paragraph)]))
            yield from _options(child.get_params(context))


def _options(parameters: Iterable[Any]) -> Iterator[str]:
    for parameter in parameters:
        told = getattr(parameter, "help", None)
        if not told or getattr(parameter, "hidden", False) or parameter.name == "help":
            continue
        is_option = parameter.param_type_name == "option"
        names = ", ".join([*parameter.opts, *parameter.secondary_opts]) if is_option else parameter.metavar or parameter.name.upper()
        takes = f" \\fI{_plain(parameter.metavar)}\\fR" if is_option and parameter.metavar else ""
        yield from (".TP", f"\\fB{_plain(names)}\\fR{takes}", _plain(told))


def _help_of(text: str | None) -> list[str]:
    """The paragraphs; those marked with \\b keep their lines."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return [p.removeprefix("\b\n") if p.startswith("\b") else " ".join(p.split()) for p in paragraphs]


def _plain(text: str) -> str:
    """As troff takes it literally: no escapes, and no control line by a dot or a quotation mark at its start."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", escaped)
