"""One device for learning and serving, in turns (`engine.sharing = "turns"`): vLLM sleeps while a learning worker lives.

Whoever learns holds a marker in the home first, so that the gateway sends new questions away to come back later instead of letting them wait where
nobody takes them up. Then vLLM finishes the answers under way and gives its memory back (its sleep mode, level 1: the weights go to the machine's
memory, the cache is dropped); without a GPU it only stops computing (level 0). The marker is a locked file: the kernel lets go of it when its holder
dies, and whoever looks next wakes vLLM. Each turn ends before anything is asked of the engine.
"""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from pathlib import Path
from typing import IO

from daemon.serving.client import EngineClient
from daemon.serving.errors import EngineDown, EngineFailed
from daemon.serving.started import read_start

log = logging.getLogger(__name__)
MARKER = "engine.asleep"
IDLE_WITHIN_S = 300.0  # longer than any answer takes: the gateway gives none up to `gateway.upstream_timeout_s`
REASON = "Something is being learnt on the device that also answers"


def marker_of(home: Path) -> Path:
    """While this file exists, questions have to wait."""
    return home / MARKER


def is_asleep(home: Path) -> bool:
    return marker_of(home).exists()


def wake_forgotten(home: Path, url: str) -> bool:
    """Wakes the engine if whoever put it to sleep is gone. Whether it may be asked now."""
    try:
        marker = marker_of(home).open("r+b")
    except FileNotFoundError:
        return True
    with marker:
        if not _locked(marker):
            return False
        log.warning("The engine at %s was left asleep; waking it", url, extra={"action": "engine_woken"})
        return _wake(home, url)


class Turn:
    """Learning's turn on the engine's device. `begin` and `end` may be called again and from any thread."""

    def __init__(self, home: Path, url: str) -> None:
        self._home, self._url = home, url
        self._marker: IO[bytes] | None = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Returns when the engine has given its device up. Raises EngineFailed when it does not; one that does not run has nothing to give up."""
        with self._lock:
            started = read_start(self._home)
            if self._marker is not None or started is None or started.sleep_level is None:
                return
            marker = marker_of(self._home).open("a+b")
            if not _locked(marker):
                marker.close()
                raise EngineFailed("Somebody else is learning on the engine's device", status=409, hint="Wait: lorefeed status")
            try:
                with EngineClient(self._url) as client:
                    _wait_idle(client)
                    client.sleep(started.sleep_level)
            except EngineDown as err:
                log.info("The engine was not put to sleep: %s", err)
            except BaseException:
                marker_of(self._home).unlink(missing_ok=True)
                marker.close()
                raise
            self._marker = marker

    def end(self) -> None:
        """An engine that does not wake stays marked; reconciliation tries again."""
        with self._lock:
            if self._marker is not None:
                _wake(self._home, self._url)
                self._marker.close()
                self._marker = None


def _wait_idle(client: EngineClient) -> None:
    """Asked twice, because a question may still be on its way from a gateway that had not seen the marker."""
    quiet, until = 0, time.monotonic() + IDLE_WITHIN_S
    while quiet < 2:
        if time.monotonic() > until:
            raise EngineFailed(
                f"The engine at {client.url} was not idle within {IDLE_WITHIN_S:g} s", status=503, hint="See: lorefeed status"
            )
        quiet = quiet + 1 if client.under_way() == 0 else 0
        time.sleep(0.2)


def _wake(home: Path, url: str) -> bool:
    try:
        with EngineClient(url) as client:
            client.wake_up()
    except EngineDown as err:
        log.info("The engine was not woken: %s", err)  # one that starts is awake
    except EngineFailed as err:
        log.error("The engine at %s does not wake: %s", url, err, extra={"action": "engine_not_woken"})
        return False
    marker_of(home).unlink(missing_ok=True)
    return True


def _locked(marker: IO[bytes]) -> bool:
    try:
        fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
