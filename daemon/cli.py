"""The command `lorefeed`: finds the home, hands over to daemon/commands, and turns errors into a line and an exit status.

0 done, 1 failed, 2 misused, 3 refused by a check, 130 interrupted.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from daemon.commands import (
    adapter_files,
    adapter_import,
    adapters,
    aliases,
    ask,
    audit,
    backup,
    bench,
    bench_day,
    bench_gateway,
    bench_ingest,
    bench_near,
    bench_registry,
    canary,
    collect,
    config,
    definitions,
    doctor,
    documents,
    extract,
    feeds,
    forget,
    keys,
    learn,
    man,
    pausing,
    releases,
    services,
    sign,
    status,
)
from daemon.commands.place import Place
from daemon.heap import collect_seldom
from daemon.output import note, say

FAILED, REFUSED = 1, releases.REFUSED

app = typer.Typer(
    name="lorefeed",
    no_args_is_help=True,
    rich_markup_mode=None,  # help and usage errors need no more than text, and start without loading rich
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done, 1 failed, 2 misused, 3 refused by a check.",
)
_COMMANDS: dict[str, Callable[..., None]] = {
    "init": config.init,
    "run": services.run,
    "daemon": services.run_the_daemon,
    "gateway": services.gateway,
    "engine": services.engine,
    "demo": services.demo,
    "doctor": doctor.doctor,
    "status": status.status,
    "backup": backup.backup,
    "restore": backup.restore,
    "config": config.config,
    "extract": extract.extract,
    "learn": learn.learn,
    "pause": pausing.pause,
    "resume": pausing.resume,
    "check": releases.check,
    "promote": releases.promote,
    "rollback": releases.rollback,
    "releases": releases.releases,
    "canary": canary.canary,
    "forget": forget.forget,
    "ask": ask.ask,
    "man": man.man,
}
_GROUPS = {
    "feeds": feeds.app,
    "documents": documents.app,
    "definitions": definitions.app,
    "adapters": adapters.app,
    "aliases": aliases.app,
    "keys": keys.app,
    "audit": audit.app,
    "bench": bench.app,
}
adapters.app.command("diff")(adapter_files.diff)
adapters.app.command("export")(adapter_files.export)
adapters.app.command("import")(adapter_import.import_)
adapters.app.command("gc")(collect.gc)
adapters.app.command("sign")(sign.sign)
bench.app.command("day")(bench_day.day)
bench.app.command("gateway")(bench_gateway.gateway)
bench.app.command("ingest")(bench_ingest.ingest)
bench.app.command("near")(bench_near.near)
bench.app.command("registry")(bench_registry.registry)
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)
for _name, _group in _GROUPS.items():
    app.add_typer(_group, name=_name)


def _say_version(wanted: bool) -> None:
    if wanted:
        say(f"lorefeed {status.version()}")
        raise typer.Exit


@app.callback()
def begin(
    ctx: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The directory that holds all state; else $LOREFEED_HOME, else the user's data directory."),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_say_version)] = False,
) -> None:
    """Keeps a language model current: feeds in, checked LoRA adapters out, served behind stable names.

    \b
    lorefeed init
    lorefeed feeds add https://example.org/news.xml --topic news
    lorefeed run
    lorefeed ask "What is the Blue Harbour?" --compare
    """
    ctx.obj = Place(home)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and ends the process with its status."""
    if not logging.getLogger().handlers:  # commands speak for themselves; services set up their log lines
        logging.getLogger().addHandler(logging.NullHandler())
    collect_seldom()
    try:
        app(args=_home_first(sys.argv[1:] if arguments is None else arguments), prog_name="lorefeed")
        status_code = 0
    except Exception as err:
        status_code = _explain(err)
    sys.exit(status_code)


def _home_first(arguments: Sequence[str]) -> list[str]:
    """`--home DIR` may stand anywhere before a `--`; it belongs to every command, so it is read before any."""
    found: list[str] = []
    rest: list[str] = []
    left = list(arguments)
    while left and left[0] != "--":
        if left[0] == "--home" and len(left) > 1:
            found += [left.pop(0), left.pop(0)]
        else:
            (found if left[0].startswith("--home=") else rest).append(left.pop(0))
    return [*found, *rest, *left]


def _explain(err: Exception) -> int:
    """The one place where an error becomes words for a person. An error without a hint is a fault of ours and keeps its traceback."""
    if isinstance(err, OSError) and not hasattr(err, "hint"):
        note(f"Error: {err.strerror or err}{f': {err.filename}' if err.filename else ''}")
        note("Try: lorefeed doctor")
        return FAILED
    hint = getattr(err, "hint", None)
    if hint is None:
        raise err
    note("Error: " + " ".join(str(err).split()))
    note(f"Try: {hint.removeprefix('Run: ')}")
    return REFUSED if _is_refusal(err) else FAILED


def _is_refusal(err: Exception) -> bool:
    from registry import NotPromotable

    return isinstance(err, NotPromotable)


if __name__ == "__main__":
    main()
