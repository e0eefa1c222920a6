"""Prompt news of changes in a folder, around watchdog. What changed is not its business: it only says "look again".

Network mounts announce nothing, and an event can be lost, so a timed poll stays necessary.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from .errors import NotReachable
from .files import existing_folder, is_candidate

log = logging.getLogger(__name__)

#: Reading a file is announced too; answering that would make every poll cause the next one.
_IGNORED = frozenset({"opened", "closed_no_write"})


class FolderWatcher:
    """Calls `on_change` shortly after files in a folder came, changed or went: once for a burst, from a thread of its own."""

    def __init__(self, path: Path, on_change: Callable[[], None], *, debounce_s: float = 0.3, longest_s: float = 2.0) -> None:
        self._path = Path(path)
        self._on_change = on_change
        self._debounce_s = debounce_s
        self._longest_s = longest_s
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._first_at: float | None = None
        self._observer: BaseObserver | None = None

    def start(self) -> None:
        root = existing_folder(self._path, str(self._path))
        handler = _Handler(root, self._noticed)
        observer: BaseObserver | None = None
        try:
            # Made here: it takes one of the machine's few inotify instances at once, which a watcher of no folder would never give back.
            observer = Observer()
            observer.schedule(handler, str(root), recursive=True)
            observer.start()
        except OSError as err:
            if observer is not None:
                observer.stop()
            raise NotReachable(
                str(self._path),
                f"the folder cannot be watched ({(err.strerror or 'error').lower()})",
                hint="Raise fs.inotify.max_user_watches and max_user_instances; until then the timed look finds changes.",
            ) from err
        self._observer = observer

    def stop(self) -> None:
        """No call of `on_change` begins after this returns."""
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
            self._observer.join()
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            if timer.is_alive() and timer is not threading.current_thread():
                timer.join()

    def _noticed(self) -> None:
        """Wait for the burst to end, but never longer than `longest_s`: a folder that is always written to must not stay unread."""
        with self._lock:
            now = time.monotonic()
            self._first_at = self._first_at if self._first_at is not None else now
            if self._timer is not None:
                self._timer.cancel()
            wait_s = max(0.0, min(self._debounce_s, self._first_at + self._longest_s - now))
            self._timer = threading.Timer(wait_s, self._fire)
            self._timer.daemon = True
            self._timer.start()

    def _fire(self) -> None:
        with self._lock:
            self._first_at = None
        try:
            self._on_change()
        except Exception:  # the observer must outlive a failure of what it calls; the failure is told, not swallowed
            log.exception("Looking at %s after a change failed", self._path, extra={"action": "watch_failed"})


class _Handler(FileSystemEventHandler):
    def __init__(self, root: Path, noticed: Callable[[], None]) -> None:
        self._root = root
        self._noticed = noticed

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in _IGNORED or (event.is_directory and event.event_type not in ("moved", "deleted", "created")):
            return
        paths = [Path(str(path)) for path in (event.src_path, event.dest_path) if path]
        if event.is_directory or any(is_candidate(path.name) for path in paths):
            self._noticed()
