"""One host is asked by one at a time and not in quick succession, however many feeds lie on it. Process-wide; knows no feeds.

Waiting would hold a worker that other hosts could use, so a long wait is an answer (`Busy`) that the caller schedules by, not a sleep. Who
is sent away has a turn of its own, so that five hundred feeds of one host come back one after another and not all at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .base import FetchSettings
from .errors import Busy

#: Longest sleep inside a fetch; a wait beyond it goes back to the schedule.
SLEEP_S = 1.0
#: Hosts remembered; one that was not asked for the longest time is forgotten first.
_REMEMBERED = 10_000
#: A host that held us up for longer than the first rests the second times as long: one that hangs takes a quarter of one worker at most.
_LONG_S = 5.0
_REST_SHARE = 3.0
#: How soon a host that is just being asked is tried again; its answer may take far longer than the gap.
_OCCUPIED_S = 5.0
#: A turn that was not taken for this long is void: its feed was removed, or polled through another way.
_TURN_KEPT_S = 3600.0


@dataclass(slots=True)
class _Host:
    """`free_at` is the first turn that nobody has, `asked_at` when the last visitor was there; all in `time.monotonic()`."""

    free_at: float = 0.0
    asked_at: float = float("-inf")
    inside: bool = False
    turns: dict[str, float] = field(default_factory=dict)


class Hosts:
    """Who may ask which host when."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}

    @contextmanager
    def visit(self, host: str, settings: FetchSettings, shown: str) -> Iterator[None]:
        """Held while the host is asked for the location `shown`, after a sleep of at most `SLEEP_S` seconds.

        Raises Busy with the seconds until the location's own turn. An allowed private host is the operator's own, and never kept waiting
        for; neither is any where `host_gap_s` is 0.
        """
        if settings.host_gap_s <= 0 or host.lower() in settings.allowed_hosts():
            yield
            return
        begin_at = self._admit(host.lower(), settings.host_gap_s, shown)
        try:
            time.sleep(max(0.0, begin_at - time.monotonic()))
            yield
        finally:
            self._leave(host.lower(), begin_at)

    def forget(self) -> None:
        with self._lock:
            self._hosts.clear()

    def _admit(self, name: str, gap_s: float, shown: str) -> float:
        """When to begin, in `time.monotonic()`: within `SLEEP_S` from now."""
        with self._lock:
            now = time.monotonic()
            host = self._hosts.pop(name, None) or _Host()
            self._hosts[name] = host  # asked last, remembered longest
            self._forget_old()
            begin_at = max(now, host.turns.pop(shown, host.free_at), host.asked_at + gap_s)
            if not host.inside and begin_at - now <= SLEEP_S:
                host.inside, host.asked_at = True, begin_at
                host.free_at = max(host.free_at, begin_at + gap_s)
                return begin_at
            turn = max(begin_at, host.free_at, now + (_OCCUPIED_S if host.inside else 0.0))
            host.turns = {one: at for one, at in host.turns.items() if at > now - _TURN_KEPT_S} | {shown: turn}
            host.free_at = turn + gap_s
        raise Busy(shown, f"{name} is asked for other feeds just now; this one waits {turn - now:.0f} s", retry_after_s=turn - now)

    def _leave(self, name: str, began_at: float) -> None:
        with self._lock:
            host = self._hosts.get(name)
            if host is None:
                return  # forgotten meanwhile
            host.inside = False
            now = time.monotonic()
            # The gap counts from the end: a busy machine sends late what began in time, and the next would come too soon after it.
            rest_s = _REST_SHARE * (now - began_at) if now - began_at > _LONG_S else 0.0
            host.asked_at = now + rest_s

    def _forget_old(self) -> None:
        for name in list(self._hosts)[: max(0, len(self._hosts) - _REMEMBERED)]:
            if not self._hosts[name].inside:
                del self._hosts[name]


HOSTS = Hosts()
