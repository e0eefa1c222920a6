"""A watcher for every active folder feed, kept equal to the feeds' rows. Says only which feed changed; polling is the jobs' work."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from registry import Feed, FeedState
from sources import FolderWatcher, SourceError
from sources.files import folder_path

log = logging.getLogger(__name__)

Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Watched:
    name: str
    path: Path
    identity: Identity
    watcher: FolderWatcher


class Watchers:
    """Calls `changed(feed name)` when something happens in a folder.

    And once when watching begins, since what came before was announced to nobody.
    """

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._watched: dict[int, _Watched] = {}
        self._told: set[int] = set()

    def follow(self, feeds: Iterable[Feed]) -> None:
        """Starts and stops watchers until they are what the feeds say. A folder that is missing is looked for again at the next call."""
        wanted = {feed.id: feed for feed in feeds if feed.kind == "folder" and feed.state is FeedState.ACTIVE}
        for feed_id, watched in list(self._watched.items()):
            if feed_id not in wanted or wanted[feed_id].name != watched.name or _identity(watched.path) != watched.identity:
                # A folder that was deleted and made again is another folder, which the old watch will never speak of.
                watched.watcher.stop()
                del self._watched[feed_id]
        for feed in wanted.values():
            if feed.id not in self._watched:
                self._watch(feed)

    def close(self) -> None:
        for watched in self._watched.values():
            watched.watcher.stop()
        self._watched.clear()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(watched.name for watched in self._watched.values())

    def _watch(self, feed: Feed) -> None:
        try:
            path = folder_path(feed.location)
            identity = _identity(path)
            watcher = FolderWatcher(path, partial(self._changed, feed.name))
            watcher.start()
        except SourceError as err:
            if feed.id not in self._told:  # the poll records it on the feed's row; here once is enough
                log.info("Folder of feed %s is not watched: %s", feed.name, err, extra={"action": "not_watched", "feed": feed.name})
            self._told.add(feed.id)
            return
        if identity is None:  # it appeared between two looks: the next one takes it
            watcher.stop()
            return
        self._told.discard(feed.id)
        self._watched[feed.id] = _Watched(feed.name, path, identity, watcher)
        self._changed(feed.name)


def _identity(path: Path) -> Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None  # not there, or not to be looked at: in both cases there is nothing to watch
    return found.st_dev, found.st_ino
