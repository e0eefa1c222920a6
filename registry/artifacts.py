"""Adapter folders: temporary name, every file hashed, manifest last, synced, renamed, never changed again. Knows no rows and no tensors.

home/artifacts/<topic>/<version>-<first 12 of the digest>/   published
home/artifacts/.incoming/<pid>-<random>/                     being written
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import ArtifactDamaged, ArtifactNotWritten, NotThere
from registry.identity import split_adapter_name
from registry.records import Adapter
from registry.signatures import SIGNATURE, sign_folder

MANIFEST = "manifest.json"
_INCOMING = ".incoming"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Published:
    """A folder on the disk, whether or not a row knows it."""

    path: Path
    adapter: str
    digest: str
    manifest: dict[str, Any]


class Artifacts:
    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / _INCOMING
        with _written(f"The folder {root}"):
            self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)

    def begin(self, name: str) -> Path:
        """An empty folder for the adapter `name`, on the same file system as its last place."""
        split_adapter_name(name)
        # The process id tells sweep() whether somebody may still be writing here.
        temp = self._incoming / f"{os.getpid()}-{secrets.token_hex(8)}"
        with _written(f"A folder for {name}"):
            temp.mkdir(mode=0o700, parents=True)
        return temp

    @contextmanager
    def making(self, name: str) -> Iterator[Path]:
        """As `begin`. Whatever ends the block before the folder is published takes the folder with it, so that a full disk gets its space back."""
        temp = self.begin(name)
        try:
            yield temp
        finally:
            shutil.rmtree(temp, ignore_errors=True)  # published, it has another name by now

    def copy_in(self, folder: Path, *, adapter_name: str, manifest: Mapping[str, Any]) -> str:
        """Publishes a copy of a folder made elsewhere, such as a worker's job folder."""
        temp = self.begin(adapter_name)
        with _written(f"The folder of {adapter_name}", discard=temp):
            shutil.copytree(folder, temp, symlinks=True, dirs_exist_ok=True)
        return self.publish(temp, adapter_name=adapter_name, manifest=manifest)

    def publish(self, temp: Path, *, adapter_name: str, manifest: Mapping[str, Any], private_key: Path | None = None) -> str:
        """Makes `temp` the adapter's folder, signed if there is a key; returns its manifest's digest. On any failure nothing of it is left."""
        topic, version = split_adapter_name(adapter_name)
        with _written(f"The folder of {adapter_name}", discard=temp):
            files = _describe_files(temp, adapter_name)
            content = _canonical({**manifest, "adapter": adapter_name, "files": files})
            digest = hashlib.sha256(content).hexdigest()
            (temp / MANIFEST).write_bytes(content)
            if private_key is not None:
                sign_folder(temp, private_key)
            _sync_tree(temp)
            target = self.root / topic / f"{version}-{digest[:12]}"
            if not self._is_whole(target, digest):
                self._move_in(temp, target)
            else:  # the same bytes were published before a crash, perhaps before there was a key
                if private_key is not None:
                    (temp / SIGNATURE).replace(target / SIGNATURE)
                shutil.rmtree(temp)
        return digest

    def path(self, adapter: Adapter) -> Path:
        """Where the adapter's folder is, or should be."""
        if adapter.digest is None:
            raise NotThere(f"{adapter.name} has no published folder", hint=f"Learn it first: lorefeed learn {adapter.topic}")
        return self.root / adapter.topic / f"{adapter.version}-{adapter.digest[:12]}"

    def verify(self, adapter: Adapter, *, contents: bool = True) -> Path:
        """Raises ArtifactDamaged unless the folder is what was published. Without `contents` only names and sizes are compared."""
        path = self.path(adapter)
        _verify_folder(path, adapter.digest or "", contents=contents)
        return path

    def published(self) -> list[Published]:
        """Every folder with a readable manifest, in the order of their names."""
        folders = [p for p in sorted(self.root.glob("*/*")) if p.parent.name != _INCOMING and (p / MANIFEST).is_file()]
        return [found for p in folders if (found := _read_published(p)) is not None]

    def is_whole(self, found: Published) -> bool:
        return self._is_whole(found.path, found.digest)

    def remove(self, path: Path) -> None:
        """Deletes one published folder. It leaves its name first, so that a half-deleted folder is never taken for an artifact."""
        if path.parent.parent != self.root or path.parent == self._incoming:
            raise NotThere(
                f"{path} is not an adapter's folder under {self.root}", hint="Give a folder of an adapter: lorefeed adapters show A"
            )
        doomed = self._incoming / f"{os.getpid()}-removed-{secrets.token_hex(8)}"
        with _written(f"The deletion of {path}"):
            path.rename(doomed)
            shutil.rmtree(doomed)

    def leftovers(self) -> list[Path]:
        """Unfinished folders whose writers are gone."""
        return [p for p in sorted(self._incoming.iterdir()) if not _has_living_writer(p)]

    def sweep(self) -> list[str]:
        """Deletes what dead processes, or an earlier one with our own process id, left unfinished."""
        mine = f"{os.getpid()}-"
        left = [p for p in sorted(self._incoming.iterdir()) if p.name.startswith(mine) or not _has_living_writer(p)]
        for path in left:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return [path.name for path in left]

    def _is_whole(self, path: Path, digest: str) -> bool:
        try:
            _verify_folder(path, digest, contents=True)
        except ArtifactDamaged:
            return False
        return True

    def _move_in(self, temp: Path, target: Path) -> None:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        if target.exists():  # same digest, damaged bytes: the new folder is what it should have been
            self.remove(target)
        temp.rename(target)
        _sync(target.parent)
        _sync(self.root)


def _verify_folder(path: Path, digest: str, *, contents: bool) -> None:
    manifest = path / MANIFEST
    try:
        content = manifest.read_bytes()
    except FileNotFoundError as err:
        raise ArtifactDamaged(f"{manifest} is missing") from err
    except OSError as err:
        raise ArtifactDamaged(f"{manifest} cannot be read: {err.strerror}") from err
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ArtifactDamaged(f"{manifest} was altered: its sha-256 is {found}, published was {digest}")
    expected: dict[str, dict[str, Any]] = json.loads(content)["files"]
    for name, facts in expected.items():
        verify_file(path / name, facts, contents=contents)
    extra = sorted(
        {_relative(p, path) for p in path.rglob("*") if not p.is_dir() or p.is_symlink()} - expected.keys() - {MANIFEST, SIGNATURE}
    )
    if extra:
        raise ArtifactDamaged(f"{path / extra[0]} was not published with the adapter")


def verify_file(path: Path, facts: Mapping[str, Any], *, contents: bool = True) -> None:
    """Raises ArtifactDamaged unless the file is what a manifest says of it. Without `contents` only its size is compared."""
    try:
        status = path.lstat()
        if path.is_symlink():
            raise ArtifactDamaged(f"{path} became a symbolic link")
        if status.st_size != facts["size"]:
            raise ArtifactDamaged(f"{path} has {status.st_size} bytes, published were {facts['size']}")
        found = _hash_file(path) if contents else facts["sha256"]
    except FileNotFoundError as err:
        raise ArtifactDamaged(f"{path} is missing; published were {facts['size']} bytes, sha-256 {facts['sha256']}") from err
    except OSError as err:
        raise ArtifactDamaged(f"{path} cannot be read: {err.strerror}") from err
    if found != facts["sha256"]:
        raise ArtifactDamaged(f"{path} was altered: its sha-256 is {found}, published was {facts['sha256']}")


def _describe_files(temp: Path, adapter_name: str) -> dict[str, dict[str, Any]]:
    files = {}
    for path in sorted(temp.rglob("*")):
        name = _relative(path, temp)
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise ArtifactNotWritten(
                f"{adapter_name} was not published: {name} is not a plain file", hint="Copy the file itself into the adapter's folder"
            )
        if name in (MANIFEST, SIGNATURE):
            raise ArtifactNotWritten(
                f"{adapter_name} was not published: it brings a {name} of its own", hint="Give those facts to publish() instead"
            )
        if path.is_file():
            files[name] = {"size": path.stat().st_size, "sha256": _hash_file(path)}
    if not files:
        raise ArtifactNotWritten(f"{adapter_name} was not published: {temp} has no files", hint="Learn again; the worker made nothing")
    return files


def _read_published(path: Path) -> Published | None:
    try:
        content = (path / MANIFEST).read_bytes()
        manifest = json.loads(content)
        return Published(path, str(manifest["adapter"]), hashlib.sha256(content).hexdigest(), manifest)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not a manifest; verify() says so in full where a row expects this folder


def _has_living_writer(path: Path) -> bool:
    pid, _, _ = path.name.partition("-")
    return pid.isdecimal() and Path("/proc", pid).exists()


def _canonical(manifest: Mapping[str, Any]) -> bytes:
    """One spelling of the facts, readable for people; `sha256sum manifest.json` is the adapter's digest."""
    return json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _written(what: str, *, discard: Path | None = None) -> Iterator[None]:
    """On failure the unfinished folder goes, so that a full disk gets its space back, and the error names what was being written."""
    try:
        yield
    except BaseException as err:
        if discard is not None:
            shutil.rmtree(discard, ignore_errors=True)
        if not isinstance(err, OSError):
            raise
        if err.errno in _FULL:
            raise ArtifactNotWritten(f"{what} was not written: {err.strerror}") from err
        raise ArtifactNotWritten(f"{what} was not written: {err}", hint="Look at the owner and the mode of the home directory") from err
