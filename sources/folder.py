"""A folder or a single file as a source: every readable kind of file (formats.py), JSON lines a document each (lines.py).

A timed poll is the truth; events only make it prompt (watch.py).

The cursor holds, for every file, its time, size and what became of it, so that only what changed is read, and what cannot be read is
reported once.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .base import Document, FetchSettings, Poll
from .encoding import clean_line
from .errors import NotReachable
from .files import SUFFIXES, Seen, StillChanging, bytes_of, existing_file, existing_folder, folder_path, kind_of, look, look_at
from .formats import text_of
from .lines import LINES, documents_of
from .page import without_title
from .watch import FolderWatcher

__all__ = ["FolderSource", "FolderWatcher"]

#: Stands where a digest would, for a file that the system did not let us open: its time does not change when that is mended.
_UNREADABLE = "unreadable"


class _Unfit(Exception):
    """The file holds nothing that can be learnt from; the message is the end of a sentence about it."""


@dataclass(slots=True)
class _Look:
    """One look at the folder while it is being made."""

    documents: list[Document] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    files: dict[str, Any] = field(default_factory=dict)
    waiting: int = 0


class FolderSource:
    """The readable files of one folder."""

    kind = "folder"

    def __init__(self, location: str, settings: FetchSettings | None = None) -> None:
        self.location = location
        self.path = folder_path(location)
        self._settings = settings or FetchSettings()

    def poll(self, cursor: dict[str, Any]) -> Poll:
        before: dict[str, Any] = cursor.get("files") or {}
        closed: list[str] = []  # folders below that cannot be listed: seen at every look, told once
        root, found = self._look(closed)
        changed = [seen for seen in found if not _same(seen, before.get(seen.name))]
        settled = self._settled(changed)
        now = _Look(files={seen.name: before[seen.name] for seen in found if seen.name in before}, waiting=len(changed) - len(settled))
        for seen in settled:
            remembered = before.get(seen.name)
            self._take(seen, now, outcome_before=_outcome(remembered), lines_before=_lines(remembered))
        told = cursor.get("closed") or []
        return Poll(
            documents=tuple(now.documents),
            cursor={"files": now.files, "closed": closed},
            next_after_s=max(1.0, 2 * self._settings.settle_s) if now.waiting else None,
            problems=(*(problem for problem in closed if problem not in told), *now.problems),
            unchanged=not now.documents and now.files == before,
            title=root.name or str(root),
        )

    def _look(self, closed: list[str]) -> tuple[Path, list[Seen]]:
        root = existing_folder(self.path, self.location)
        return root, list(look(root, closed))

    def _settled(self, changed: list[Seen]) -> list[Seen]:
        """The files that nobody is writing any more. One that is younger than `settle_s` is looked at twice."""
        settle_s = self._settings.settle_s
        now_s = time.time()
        young = {seen.name for seen in changed if now_s - seen.mtime_ns / 1e9 < settle_s}
        if young:
            time.sleep(settle_s)
        return [seen for seen in changed if seen.name not in young or look_at(seen.name, seen.path) == seen]

    def _take(self, seen: Seen, now: _Look, *, outcome_before: str | None, lines_before: list[str]) -> None:
        """Read one file and note what became of it."""
        outcome: str | None
        lines: list[str] = []
        try:
            documents, outcome, lines = self._read(seen, lines_before)
            if outcome != outcome_before:
                now.documents += documents
        except StillChanging:
            now.waiting += 1
            return
        except _Unfit as err:
            now.problems.append(f"{seen.name}: {err}.")
            outcome = None
        except OSError as err:
            if outcome_before != _UNREADABLE:
                now.problems.append(f"{seen.name}: it cannot be opened ({(err.strerror or 'error').lower()}).")
            outcome = _UNREADABLE
        now.files[seen.name] = [seen.mtime_ns, seen.size_bytes, outcome, *([lines] if lines else [])]

    def _read(self, seen: Seen, lines_before: list[str]) -> tuple[list[Document], str, list[str]]:
        """The file's documents, its digest and, of JSON lines, those of its lines."""
        if seen.size_bytes > self._settings.max_bytes:
            raise _Unfit(f"it is larger than the cap ({seen.size_bytes:,} of {self._settings.max_bytes:,} bytes)")
        data = bytes_of(seen)
        digest = hashlib.sha256(data).hexdigest()
        document = Document(
            external_id=seen.name,
            url=seen.path.as_uri(),
            title=clean_line(Path(seen.name).stem) or None,
            text="",
            published_at=datetime.fromtimestamp(seen.mtime_ns / 1e9, UTC),
            fetch={
                "fetched_from": seen.path.as_uri(),
                "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "size_bytes": seen.size_bytes,
                "body_sha256": digest,
                "note": None,
            },
        )
        if kind_of(seen.path) in LINES:
            found = documents_of(data, document, known=frozenset(lines_before))
            if found.problems and not found.digests:
                raise _Unfit(found.problems[0])
            document.fetch["note"] = "; ".join(found.problems[:3]) or None
            return found.documents, digest, found.digests
        page = text_of(data, kind=kind_of(seen.path))
        text = without_title(page.text, page.title)
        if not text:
            raise _Unfit(page.problem or "it has no text")
        fetch = document.fetch | {"note": page.problem}
        return [replace(document, title=page.title or document.title, text=text, fetch=fetch)], digest, []


class FileSource(FolderSource):
    """One file, watched like a folder that holds nothing else."""

    kind = "file"

    def _look(self, closed: list[str]) -> tuple[Path, list[Seen]]:
        path = existing_file(self.path, self.location)
        if kind_of(path) not in SUFFIXES:
            raise NotReachable(
                self.location,
                f"files whose name ends in {path.suffix or 'nothing'} are not read",
                hint=f"Give one of these: {', '.join(sorted(SUFFIXES))}",
            )
        return path, [seen for seen in [look_at(path.name, path)] if seen is not None]


def _same(seen: Seen, remembered: Any) -> bool:
    """Whether the file is as it was remembered, and need not be read. One that could not be opened is always tried again."""
    return isinstance(remembered, list) and remembered[:2] == [seen.mtime_ns, seen.size_bytes] and remembered[2] != _UNREADABLE


def _lines(remembered: Any) -> list[str]:
    return remembered[3] if isinstance(remembered, list) and len(remembered) > 3 else []


def _outcome(remembered: Any) -> str | None:
    """What became of a file last time: a digest, `unreadable`, or None for a file unfit or never seen."""
    return remembered[2] if isinstance(remembered, list) else None
