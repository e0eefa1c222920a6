"""Looking at the files of a folder without being led out of it, and reading one that nobody is writing. Knows nothing of documents."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .errors import AddressRefused, NotReachable
from .formats import READABLE

SUFFIXES = READABLE | {".jsonl", ".ndjson"}
#: The folders of a Maildir hold one mail a file, under names without an ending.
_MAILDIR = frozenset({"cur", "new"})


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it stood at one look. `name` is its path below the folder, always writable as UTF-8."""

    name: str
    path: Path
    mtime_ns: int
    size_bytes: int


class StillChanging(Exception):
    """The file changed while it was read; the next poll takes it."""


def folder_path(location: str) -> Path:
    """The folder's absolute path, from a path or a file:// address."""
    parts = urlsplit(location)
    if parts.scheme.lower() != "file":
        return Path(location).expanduser().absolute()
    if parts.netloc not in ("", "localhost"):
        raise AddressRefused(location, f"the folder is on another machine ({parts.netloc})", hint="Mount it here, and give its path.")
    return Path(unquote(parts.path)).absolute()


def existing_folder(path: Path, location: str) -> Path:
    try:
        root = path.resolve(strict=True)
        os.scandir(root).close()
    except NotADirectoryError as err:
        raise NotReachable(location, "this is a file, not a folder", hint="Add it as what it is: --kind file") from err
    except FileNotFoundError as err:
        raise NotReachable(
            location, "there is no such folder", hint="Create the folder, or mount what it is on; it is tried again by itself."
        ) from err
    except (OSError, RuntimeError) as err:  # RuntimeError: symbolic links in a circle
        words = (getattr(err, "strerror", None) or "its links go in a circle").lower()
        raise NotReachable(location, f"the folder cannot be read ({words})", hint="Give the service's user the right to read it.") from err
    return root


def existing_file(path: Path, location: str) -> Path:
    """The file's real path; NotReachable when it is none that can be read."""
    try:
        found = path.resolve(strict=True)
        with found.open("rb"):
            pass
    except IsADirectoryError as err:
        raise NotReachable(location, "this is a folder, not a file", hint="Add it as what it is: --kind folder") from err
    except FileNotFoundError as err:
        raise NotReachable(location, "there is no such file", hint="Create it; it is tried again by itself.") from err
    except (OSError, RuntimeError) as err:
        words = (getattr(err, "strerror", None) or "its links go in a circle").lower()
        raise NotReachable(location, f"the file cannot be read ({words})", hint="Give the service's user the right to read it.") from err
    return found


def kind_of(path: Path) -> str:
    """The ending by which a file is read, in lower case; a Maildir's files are mails."""
    if path.parent.name in _MAILDIR and (path.parent.parent / "tmp").is_dir():
        return ".eml"
    return path.suffix.lower()


def is_candidate(name: str) -> bool:
    """Whether a file of this name is read at all: hidden files and editors' temporary files are not."""
    return not name.startswith((".", "~", "#")) and not name.endswith(("~", "#")) and Path(name).suffix.lower() in SUFFIXES


def look(root: Path, problems: list[str]) -> Iterator[Seen]:
    """Every candidate below the root. Linked folders are not entered: they show files twice, or somebody else's."""

    def unreadable(err: OSError) -> None:
        where = Path(err.filename).relative_to(root) if err.filename else root
        problems.append(f"{_writable(str(where))}/: the folder cannot be read ({(err.strerror or 'error').lower()}).")

    for folder, folders, files in os.walk(root, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder) / name
            mail = kind_of(path) == ".eml" and not name.startswith(".")
            if (mail or is_candidate(name)) and (seen := look_at(_writable(path.relative_to(root).as_posix()), _inside(root, path))):
                yield seen


def _inside(root: Path, path: Path) -> Path | None:
    """The path, or where its link leads when that is inside the root; None for a link that leaves it or leads nowhere."""
    if not path.is_symlink():
        return path
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return None  # a dangling link or a circle of links: there is no file
    return target if target.is_relative_to(root) else None


def look_at(name: str, path: Path | None) -> Seen | None:
    if path is None:
        return None
    try:
        found = path.lstat()
    except OSError:
        return None  # deleted between listing and looking: as if it had never been listed
    return Seen(name, path, found.st_mtime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else None


def bytes_of(seen: Seen) -> bytes:
    """The file's bytes, if it is still the regular file that was looked at, and stays so while it is read."""
    # O_NOFOLLOW and O_NONBLOCK: the path may have become a link out of the folder, or a pipe that never answers.
    handle = os.open(seen.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        data = file.read(seen.size_bytes + 1)
        now = os.fstat(file.fileno())
    if not stat.S_ISREG(now.st_mode) or (now.st_mtime_ns, now.st_size) != (seen.mtime_ns, seen.size_bytes) or len(data) != seen.size_bytes:
        raise StillChanging
    return data


def _writable(name: str) -> str:
    """A file name of bytes that are no UTF-8 cannot be stored as text; it is stored with those bytes written out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
