"""Secrets that the configuration names and does not hold: an environment variable, a file, or a credential of systemd."""

import os
from pathlib import Path

from daemon.errors import ConfigError

_FORMS = "env:NAME, file:PATH or credential:NAME"


def resolve_reference(value: str, *, used_for: str) -> str:
    """The secret behind `env:NAME`, `file:PATH` or `credential:NAME`; ConfigError, which never shows a value, when there is none."""
    form, _, name = value.partition(":")
    if form == "env":
        found = os.environ.get(name)
        if found is None:
            raise ConfigError(f"{used_for} is to come from the environment variable {name}, which is not set.", hint=f"Set {name}.")
        return found
    if form == "file":
        return _read(Path(name).expanduser(), used_for)
    if form == "credential":
        return _read(_credential(name, used_for), used_for)
    raise ConfigError(f"{used_for} is written out in the configuration.", hint=f"Name where it is kept instead: {_FORMS}.")


def file_of_reference(value: str, *, used_for: str) -> Path:
    """The file behind `file:PATH` or `credential:NAME`, for what has to be a file. ConfigError when no credentials were handed over."""
    form, _, name = value.partition(":")
    return Path(name).expanduser() if form == "file" else _credential(name, used_for)


def _credential(name: str, used_for: str) -> Path:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None:
        raise ConfigError(
            f"{used_for} is to come from the credential {name}, but no credentials were handed over.",
            hint=f"Add LoadCredential={name}:/path/of/the/file to the unit, or use file:PATH.",
        )
    return Path(folder) / Path(name).name


def _read(path: Path, used_for: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as err:
        reason = getattr(err, "strerror", None) or "it is no text"
        raise ConfigError(f"{used_for} is to come from {path}, which cannot be read ({reason}).", hint=f"Put it there: {path}") from err
