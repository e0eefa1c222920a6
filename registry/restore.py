"""Puts a backup in a home's place. What was there is set aside, never deleted. Nobody may be at work on the home meanwhile."""

import os
import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from registry.backup import ARTIFACTS, SETTINGS, Backup, read_backup, unpack
from registry.db import FILE_NAME
from registry.errors import RegistryError
from registry.lock import locked

_ASIDE = "before-restore-"
_REGISTRY_FILES = (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm")


class NotRestored(RegistryError):
    """The backup was not restored; the home is as it was."""

    hint = "Read the message; nothing was changed"


@dataclass(frozen=True, slots=True)
class Restored:
    """`set_aside` is the folder with what was there before; `settings` is where the backup's settings went, None if they are those in use."""

    backup: Backup
    set_aside: Path | None
    settings: Path | None


def restore(path: Path, home: Path, *, force: bool = False) -> Restored:
    """Reads the whole backup before it touches anything. With a registry there already, only `force` goes on, and sets that one aside."""
    backup = read_backup(path)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = [home / name for name in (*_REGISTRY_FILES, ARTIFACTS) if (home / name).exists()]
    if (home / FILE_NAME).exists() and not force:
        raise NotRestored(f"{home} has a registry already", hint=f"Set it aside and go on: lorefeed restore {path} --force")
    with locked(home / "daemon.lock"):
        users = processes_with_open(home / FILE_NAME)
        if users:
            who = ", ".join(f"{pid} ({name})" for pid, name in users)
            raise NotRestored(
                f"The registry in {home} is in use by process {who}", hint="Stop them: systemctl stop lorefeed.target, or Ctrl-C"
            )
        incoming = home / f".restoring-{secrets.token_hex(8)}"
        try:
            incoming.mkdir(mode=0o700)
            unpack(backup, incoming)
            aside = _set_aside(home, there)
            _move_in(incoming, home)
            return Restored(backup, aside, _put_settings(incoming, home))
        except OSError as err:
            raise NotRestored(
                f"{path} was not restored into {home}: {err.strerror or err}", hint="Free some space, then try again"
            ) from err
        finally:
            shutil.rmtree(incoming, ignore_errors=True)


def processes_with_open(path: Path) -> list[tuple[int, str]]:
    """Other processes that have the file open, as far as the kernel lets us see: (id, command)."""
    found = []
    for place in Path("/proc").iterdir():
        if not place.name.isdecimal() or int(place.name) == os.getpid():
            continue
        try:
            if any(link.readlink() == path for link in (place / "fd").iterdir()):
                command = (place / "cmdline").read_bytes().split(b"\0")
                found.append((int(place.name), b" ".join(command[:4]).decode(errors="replace").strip()))
        except OSError:  # it ended meanwhile, or is somebody else's
            continue
    return found


def delete_set_aside(home: Path, *, before: datetime) -> list[Path]:
    """Deletes what restores set aside before then; each folder's name says when that was."""
    old = [
        folder for folder in sorted(home.glob(f"{_ASIDE}*")) if folder.is_dir() and folder.name[len(_ASIDE) :] < f"{before:%Y%m%dT%H%M%S}"
    ]
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)
    return old


def _set_aside(home: Path, there: list[Path]) -> Path | None:
    if not there:
        return None
    aside = home / f"{_ASIDE}{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    aside.mkdir(mode=0o700)
    for path in there:
        path.rename(aside / path.name)
    return aside


def _move_in(incoming: Path, home: Path) -> None:
    """The registry comes last: a home that lost its power in between has none, and the same command can be given again."""
    if (incoming / ARTIFACTS).is_dir():
        (incoming / ARTIFACTS).rename(home / ARTIFACTS)
    (incoming / FILE_NAME).rename(home / FILE_NAME)
    descriptor = os.open(home, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_settings(incoming: Path, home: Path) -> Path | None:
    """Settings in use are an administrator's choice of today; those of the backup are laid beside them."""
    saved, here = incoming / SETTINGS, home / SETTINGS
    if not saved.is_file():
        return None
    if here.is_file() and here.read_bytes() == saved.read_bytes():
        return None
    target = home / f"{SETTINGS}.from-backup" if here.is_file() else here
    saved.replace(target)
    return target
