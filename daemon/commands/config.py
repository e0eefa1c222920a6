"""`lorefeed config` and `lorefeed init`: the settings as they are, and a first home."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.commands.place import Json, place_of
from daemon.errors import ConfigError
from daemon.output import note, say, show_json, show_table

if TYPE_CHECKING:
    from pydantic import BaseModel

    from daemon.machine import Choice

_HEAD = """\
# Lorefeed's settings. A line that begins with "# key =" shows a default: take away the "# " and change it.
# An environment variable wins over this file, for example LOREFEED_LEARN__RANK=32. See all: lorefeed config --explain
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: where it stands (`learn.rank`), its value, its default, what it is for."""

    key: str
    value: Any
    default: Any
    meaning: str

    @property
    def variable(self) -> str:
        return "LOREFEED_" + self.key.upper().replace(".", "__")


def config(
    ctx: typer.Context,
    explain: Annotated[bool, typer.Option("--explain", help="Every setting with its default and its meaning.")] = False,
    as_json: Json = False,
) -> None:
    """The settings as they are: defaults, then lorefeed.toml, then LOREFEED_* variables. Secrets are masked.

    \b
    lorefeed config
    lorefeed config --explain
    lorefeed config --json | jq .gateway.port
    """
    settings = place_of(ctx).settings()
    listed = list(walk(settings))
    if as_json and explain:
        show_json([{"key": s.key, "value": s.value, "default": s.default, "meaning": s.meaning, "variable": s.variable} for s in listed])
    elif as_json:
        show_json(settings.model_dump(mode="json"))
    elif explain:
        rows = [(s.key, _toml(s.value), _toml(s.default), s.meaning) for s in listed]
        show_table(("setting", "value", "default", "meaning"), rows)
    else:
        for setting in listed:
            changed = "" if setting.value == setting.default else f"  # default: {_toml(setting.default)}"
            say(f"{setting.key} = {_toml(setting.value)}{changed if setting.key != 'home' else ''}")


def init(
    ctx: typer.Context,
    model: Annotated[
        str | None, typer.Option(metavar="M", help="'embedded', a folder, or the id of a Hugging Face causal language model.")
    ] = None,
    vllm_python: Annotated[
        Path | None, typer.Option(metavar="PYTHON", help="The Python that has vLLM, where it is not found by itself.", exists=True)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write the file anew; the old one is kept beside it.")] = False,
    as_json: Json = False,
) -> None:
    """Make a home: the directory, a commented lorefeed.toml that fits this machine, an empty registry. Run again, it changes nothing.

    On a terminal it asks for the model where none is given.

    \b
    lorefeed init
    lorefeed init --home ./demo-home --model embedded
    lorefeed init --model Qwen/Qwen3-4B-Instruct-2507
    """
    from daemon.config import CONFIG_FILE
    from daemon.machine import choose, look

    place = place_of(ctx)
    file = place.home / CONFIG_FILE
    written = not file.exists() or force
    if written and model is None and not as_json and sys.stdin.isatty() and sys.stdout.isatty():
        model = typer.prompt("Model ('embedded', a folder, or the id of a Hugging Face model)", default="embedded")
    wanted = None if model is None else _model_name(model)
    machine = look(vllm_python=vllm_python)
    if vllm_python is not None and machine.vllm is None:
        raise ConfigError(f"{vllm_python} has no vLLM.", hint="Install it there (make vllm), or leave --vllm-python out")
    chosen = choose(machine, wanted or "embedded", vllm_wanted=vllm_python is not None) if written else []
    _make_home(place.home)
    if written:
        _write(file, default_file(wanted or "embedded", chosen))
    elif wanted is not None and wanted != place.settings().model:
        raise ConfigError(
            f"{file} exists, with model = {place.settings().model!r}",
            hint=f"Change it in the file, or: lorefeed init --model {model} --force",
        )
    elif vllm_python is not None and vllm_python != place.settings().engine.vllm_python:
        raise ConfigError(f"{file} exists, and says nothing of {vllm_python}", hint="Set engine.vllm_python in the file, or: --force")
    settings = place.settings()
    place.registry(create=True).close()
    if as_json:
        told = {"home": place.home, "config": file, "written": written, "model": settings.model}
        show_json(told | {"machine": asdict(machine), "chosen": [asdict(choice) for choice in chosen]})
        return
    say(f"{'Wrote' if written else 'Kept'} {file}")
    say(f"home    {place.home}")
    say(f"machine {machine}")
    say(f"model   {settings.model}")
    say(f"engine  {settings.engine.kind} at {settings.engine.address}")
    say(f"gateway http://{settings.gateway.host}:{settings.gateway.port}")
    if chosen:
        say("")
        say("Chosen for this machine and model, each with its reason in the file:")
        for choice in chosen:
            say(f"  {choice.key} = {_toml(choice.value)}")
    say("")
    say("Next:")
    say("  lorefeed feeds add LOCATION --topic news   watch a feed or a folder")
    say("  lorefeed run                               start everything; --once to do only what is due")
    say('  lorefeed ask "What is ...?" --compare      ask the base model and what was learnt')
    _remind(place.home)


def walk(model: BaseModel, *, under: str = "") -> Iterator[Setting]:
    """Every setting of a section and of those within it, with secrets masked."""
    from pydantic import BaseModel
    from pydantic_core import PydanticUndefined

    values = model.model_dump(mode="json")
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from walk(value, under=f"{under}{name}.")
        else:
            default = None if field.default is PydanticUndefined else field.default
            default = list(default) if isinstance(default, tuple) else default
            yield Setting(under + name, values[name], default, field.description or "")


def default_file(model: str, chosen: Sequence[Choice] = ()) -> str:
    """The text of a first lorefeed.toml, made from the settings themselves so that the two cannot part."""
    from daemon.config import Settings

    sections: dict[str, list[Setting]] = {}
    for setting in walk(Settings.model_construct(home=Path(), model=model)):
        sections.setdefault(setting.key.rpartition(".")[0], []).append(setting)
    reasons = {choice.key: choice for choice in chosen}
    lines = [_HEAD]
    for section, settings in sections.items():
        lines += [f"\n[{section}]"] if section else []
        for setting in settings:
            if setting.key == "home":  # the file lies in it
                continue
            key = setting.key.rpartition(".")[2]
            lines.append(f"# {setting.meaning}")
            if setting.key in reasons:
                lines += [f"# chosen by 'lorefeed init': {reasons[setting.key].reason}", f"{key} = {_toml(reasons[setting.key].value)}"]
            else:
                lines.append(f"model = {_toml(model)}" if setting.key == "model" else f"# {key} = {_toml(setting.default)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A value as TOML writes it; TOML has no word for nothing, so what is not set is shown as an empty string."""
    return json.dumps("" if value is None else value, ensure_ascii=False)


def _model_name(model: str) -> str:
    """A folder is stored as its whole path, so that it is found from anywhere."""
    return str(Path(model).expanduser().resolve()) if model != "embedded" and Path(model).expanduser().is_dir() else model


def _make_home(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise ConfigError(f"{home} cannot be made a home: {err.strerror}", hint="Choose another directory: --home DIR") from err


def _write(file: Path, text: str) -> None:
    """Under a temporary name first, so that a full disk leaves the old file as it was. Readable by the owner alone: it may hold keys."""
    new, old = file.with_suffix(".toml.new"), file.with_suffix(".toml.old")
    try:
        handle = os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        if file.exists():
            file.replace(old)
            note(f"The file before is kept as {old}")
        new.replace(file)
    except OSError as err:
        raise ConfigError(f"{file} cannot be written: {err.strerror}", hint="Look at the directory's owner and its free space") from err


def _remind(home: Path) -> None:
    from daemon.config import find_home

    if home != find_home(None):
        note(f"This is not the default home. Give --home {home} to every command, or: export LOREFEED_HOME={home}")
