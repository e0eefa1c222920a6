"""One host is asked by few at a time and not in quick succession, however many feeds lie on it. Process-wide; knows no feeds.

Waiting would hold a worker that other hosts could use, so a long wait is an answer (`Busy`) that the caller schedules by, not a sleep.
"""

from __future__ import annotations

import threading
import time

from .base import FetchSettings
from .errors import Busy

#: Longest sleep inside a fetch; a wait beyond it goes back to the schedule.
SLEEP_S = 1.0
#: Hosts remembered; one that was not asked for the longest time is forgotten first.
_REMEMBERED = 10_000


class Hosts:
    """When each host may be asked next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at: dict[str, float] = {}

    def enter(self, host: str, settings: FetchSettings, shown: str) -> None:
        """Returns when the host may be asked, or raises Busy with the seconds until then. An allowed private host is the operator's own."""
        if settings.host_gap_s <= 0 or host.lower() in settings.allowed_hosts():
            return
        with self._lock:
            now = time.monotonic()
            wait_s = max(0.0, self._free_at.get(host, 0.0) - now)
            if wait_s > SLEEP_S:
                raise Busy(shown, f"{host} is asked for other feeds just now; this one waits {wait_s:.0f} s", retry_after_s=wait_s)
            self._free_at.pop(host, None)  # asked last, remembered longest
            self._free_at[host] = now + wait_s + settings.host_gap_s
            while len(self._free_at) > _REMEMBERED:
                del self._free_at[next(iter(self._free_at))]
        time.sleep(wait_s)

    def forget(self) -> None:
        with self._lock:
            self._free_at.clear()


HOSTS = Hosts()
