"""A home in one file while everything runs, and back again. A tar that any `tar` can read:

registry.sqlite3         one moment of the registry, by SQLite's own online copy
artifacts/<topic>/...    every adapter folder that this moment knows
lorefeed.toml            the settings, if there are any; keys kept outside of them are not in it
backup.json              what it is, and the digest of each file above; last, so that a torn file has none

Opens no Registry, so an old one is saved as it is: before an upgrade, the new version can save the state of the old one.
"""

import hashlib
import io
import json
import os
import secrets
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

from registry import audit
from registry.artifacts import MANIFEST
from registry.db import BUSY_TIMEOUT_MS, FILE_NAME, told_plainly
from registry.errors import RegistryError

CONTENTS = "backup.json"
ARTIFACTS = "artifacts"
SETTINGS = "lorefeed.toml"
FORMAT = 1
OLDEST, CHAINED = 2, 5  # schema versions: with adapters, with the audit chain
TRIES = 3
_BLOCK = 1 << 20


class BackupNotWritten(RegistryError):
    """The backup could not be written."""

    hint = "Give a place with room for it: lorefeed backup FILE"


class BackupDamaged(RegistryError):
    """The backup is not what was saved."""

    hint = "Take another backup; this one cannot be trusted"


class NotWhole(RegistryError):
    """What is to be saved is damaged already."""

    hint = "Put it right first: lorefeed doctor"


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was read through: every digest was compared."""

    path: Path
    made_at: datetime
    schema: int
    adapters: int
    audit_head: str
    files: dict[str, dict[str, Any]] = field(repr=False)
    size_bytes: int = 0


class _Gone(Exception):
    """An adapter's folder was given up while it was being saved: the moment has passed, another is taken."""


def write_backup(home: Path, target: Path, *, version: str) -> Backup:
    """Saves `home` into the new file `target`, reads it back and compares. Nothing is left behind if any of that fails."""
    if target.exists():
        raise BackupNotWritten(f"{target} exists already", hint="Choose another name, or give a folder: each backup gets a name of its own")
    if not (home / FILE_NAME).is_file():
        raise BackupNotWritten(f"There is no registry in {home}", hint="Say which home: --home DIR")
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    copy = home / f".backup-{secrets.token_hex(8)}.sqlite3"
    try:
        for attempt in range(1, TRIES + 1):
            try:
                _write(home, partial, copy, version=version)
                break
            except _Gone as err:
                if attempt == TRIES:
                    raise NotWhole(f"The folder of {err} is missing, though its row says that it should be there") from err
        found = read_backup(partial)
        partial.rename(target)
        _sync(target.parent)
    except OSError as err:
        raise BackupNotWritten(f"{target} could not be written: {err.strerror or err}") from err
    finally:
        partial.unlink(missing_ok=True)
        for left in (copy, copy.with_name(copy.name + "-journal")):
            left.unlink(missing_ok=True)
    return Backup(target, found.made_at, found.schema, found.adapters, found.audit_head, found.files, target.stat().st_size)


def read_backup(path: Path) -> Backup:
    """Reads all of it and compares every digest. Raises BackupDamaged that names the first file that does not agree."""
    found: dict[str, dict[str, Any]] = {}
    contents: dict[str, Any] | None = None
    try:
        with tarfile.open(path, "r|") as tar:
            for member, file in _members(tar):
                if member.name == CONTENTS:
                    contents = json.loads(file.read())
                else:
                    found[member.name] = {"size": member.size, "sha256": _hash(file)}
    except FileNotFoundError as err:
        raise BackupDamaged(f"There is no file {path}", hint="List what there is, and give one of them") from err
    except OSError as err:
        raise BackupDamaged(f"{path} cannot be read: {err.strerror or err}") from err
    except (tarfile.TarError, EOFError, ValueError) as err:
        raise BackupDamaged(f"{path} is no backup, or not all of one: {err}") from err
    if contents is None or contents.get("format") != FORMAT:
        raise BackupDamaged(f"{path} has no {CONTENTS} that this version reads: it was cut off, or a newer Lorefeed made it")
    _compare(path, contents["files"], found)
    made_at = datetime.fromisoformat(contents["made_at"])
    size = path.stat().st_size
    return Backup(path, made_at, contents["schema"], contents["adapters"], contents["audit_head"], found, size)


def unpack(backup: Backup, folder: Path) -> None:
    """Writes what a backup holds into an empty folder, comparing the digests once more: the file may have changed since it was read."""
    found = {}
    with tarfile.open(backup.path, "r|") as tar:
        for member, file in _members(tar):
            if member.name == CONTENTS:
                continue
            target = folder / member.name
            for parent in reversed(target.relative_to(folder).parents):
                (folder / parent).mkdir(mode=0o700, exist_ok=True)
            digest = hashlib.sha256()
            with target.open("xb") as out:
                while block := file.read(_BLOCK):
                    digest.update(block)
                    out.write(block)
                out.flush()
                os.fsync(out.fileno())
            target.chmod(0o600)
            found[member.name] = {"size": member.size, "sha256": digest.hexdigest()}
    _compare(backup.path, backup.files, found)


def _write(home: Path, partial: Path, copy: Path, *, version: str) -> None:
    copy.unlink(missing_ok=True)
    partial.unlink(missing_ok=True)
    _copy_registry(home / FILE_NAME, copy)
    with closing(sqlite3.connect(copy)) as rows:
        schema = int(rows.execute("PRAGMA user_version").fetchone()[0])
        if schema < OLDEST:
            raise NotWhole(f"The registry in {home} is older than any that has adapters", hint="Open it once: lorefeed status")
        adapters = list(rows.execute("SELECT topic, version, digest FROM adapter WHERE digest IS NOT NULL AND removed_at IS NULL"))
        report = audit.verify_file(rows) if schema >= CHAINED else audit.AuditReport(0, audit.NOTHING)
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w+b") as out, tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        files = {FILE_NAME: _add(tar, copy, FILE_NAME)}
        for topic, number, digest in adapters:
            folder = home / ARTIFACTS / topic / f"{number}-{digest[:12]}"
            for path in _folder_files(folder, f"{topic}@{number}"):
                name = f"{ARTIFACTS}/{path.relative_to(home / ARTIFACTS).as_posix()}"
                try:
                    files[name] = _add(tar, path, name)
                except FileNotFoundError as err:
                    raise _Gone(f"{topic}@{number}") from err
            _check_folder(folder, files, adapter=f"{topic}@{number}", digest=digest)
        if (home / SETTINGS).is_file():
            files[SETTINGS] = _add(tar, home / SETTINGS, SETTINGS)
        contents = {
            "format": FORMAT,
            "lorefeed": version,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "schema": schema,
            "adapters": len(adapters),
            "audit_head": report.head,
            "files": files,
        }
        _add_bytes(tar, CONTENTS, json.dumps(contents, indent=1).encode())
        tar.close()
        out.flush()
        os.fsync(out.fileno())


def _copy_registry(source: Path, copy: Path) -> None:
    """One moment of the file, while others write to it: SQLite copies in one read transaction."""
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    with (
        told_plainly(source),
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as there,
        closing(sqlite3.connect(copy)) as here,
    ):
        there.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        there.backup(here)
        here.execute("PRAGMA journal_mode = DELETE")  # the copy is one file, without a log beside it
        damaged = [row[0] for row in here.execute("PRAGMA integrity_check(3)") if row[0] != "ok"]
    if damaged:
        raise NotWhole(f"{source} is damaged: {'; '.join(damaged)}", hint="Restore an earlier backup: lorefeed restore FILE")


def _folder_files(folder: Path, adapter: str) -> list[Path]:
    if not folder.is_dir():
        raise _Gone(adapter)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _check_folder(folder: Path, files: dict[str, dict[str, Any]], *, adapter: str, digest: str) -> None:
    """What was saved must be what was published; a damaged adapter must not replace good ones in older backups in silence."""
    prefix = f"{ARTIFACTS}/{folder.parent.name}/{folder.name}/"
    manifest = files.get(prefix + MANIFEST)
    if manifest is None or manifest["sha256"] != digest:
        raise NotWhole(f"{folder / MANIFEST} of {adapter} is not what was published")
    for name, facts in json.loads((folder / MANIFEST).read_bytes())["files"].items():
        if files.get(prefix + name, {}).get("sha256") != facts["sha256"]:
            raise NotWhole(f"{folder / name} of {adapter} is not what was published")


def _add(tar: tarfile.TarFile, path: Path, name: str) -> dict[str, Any]:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        hashing = _Hashing(file)
        tar.addfile(_header(name, status.st_size, status.st_mtime), hashing)
        return {"size": status.st_size, "sha256": hashing.digest.hexdigest()}


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(_header(name, len(content), datetime.now(UTC).timestamp()), io.BytesIO(content))


def _header(name: str, size: int, mtime: float) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mtime, header.mode = size, int(mtime), 0o600
    return header


class _Hashing:
    """Reads a file and hashes what was read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        return block


def _members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Plain files under names that stay inside; a backup comes from outside and may be anything."""
    for member in tar:
        path = PurePosixPath(member.name)
        if not member.isreg() or path.is_absolute() or ".." in path.parts or not _is_ours(path):
            raise tarfile.TarError(f"it holds {member.name!r}, which no backup does")
        file = tar.extractfile(member)
        assert file is not None, "a plain file has content"
        yield member, file


def _is_ours(path: PurePosixPath) -> bool:
    return str(path) in (FILE_NAME, SETTINGS, CONTENTS) or path.parts[0] == ARTIFACTS


def _compare(path: Path, expected: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]]) -> None:
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise BackupDamaged(f"{path} is damaged: {name} is not what was saved")


def _hash(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
