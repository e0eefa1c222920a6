"""Runs a web application as a good service: takes sockets that the service manager already opened, says when it is ready and that it lives,
finishes answers under way, and ends with status 0 when it was asked to end. What the application does is nobody's business here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from types import MappingProxyType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from daemon.sdnotify import Notifier
from daemon.serving.settings import ANSWERS_MAY_END_S, is_loopback
from daemon.signals import end_signals

log = logging.getLogger(__name__)

FIRST_INHERITED = 3  # sd_listen_fds(3): descriptors are handed over from this number on
BEAT_S = 5.0
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})

Alive = Callable[[], Awaitable[str | None]]


def inherited_sockets(environment: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """The listening sockets that systemd opened for this very process (sd_listen_fds(3)); none without socket activation.

    Takes the variables out of the environment, so that no child takes the sockets for its own.
    """
    meant_for, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if meant_for != str(os.getpid()) or not count.isdecimal():
        return []
    found = [socket.socket(fileno=number) for number in range(FIRST_INHERITED, FIRST_INHERITED + int(count))]
    for one in found:
        one.set_inheritable(False)
    return found


def most_open(sockets: Sequence[socket.socket], host: str, port: int) -> tuple[str, int]:
    """Where clients really come in, which is what has to be guarded: of inherited sockets one that others can reach, if there is one.

    A socket in the file system is guarded by its mode, so it counts as this machine's own. Without sockets: the host and port given.
    """
    names = [one.getsockname() for one in sockets]
    places = [(str(name[0]), int(name[1])) if isinstance(name, tuple) else ("localhost", 0) for name in names]
    return next((place for place in places if not is_loopback(place[0])), places[0] if places else (host, port))


def serve(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    sockets: Sequence[socket.socket] = (),
    alive: Alive | None = None,
    options: Mapping[str, Any] = NO_OPTIONS,
) -> None:
    """Serves until SIGTERM or SIGINT. `alive` proves that the service works: the watchdog is fed whenever it returns, and what it returns is
    the trouble to show, or None. While it does not return, the watchdog starves and the service manager starts the process again.
    `options` are uvicorn's own.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=ANSWERS_MAY_END_S,
        lifespan="on",
        **options,
    )
    # uvicorn raises the signal once more when it has ended in order, which would make an orderly end look like a death.
    with end_signals(threading.Event()):
        _Service(config, Notifier.of(), alive).run(sockets=list(sockets) or None)


class _Service(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, notifier: Notifier, alive: Alive | None) -> None:
        super().__init__(config)
        self._notifier, self._alive = notifier, alive

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._notifier.tell("READY=1", f"MAINPID={os.getpid()}", "STATUS=Serving")

    async def main_loop(self) -> None:
        beating = asyncio.create_task(self._beat())
        try:
            await super().main_loop()
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._notifier.tell("STOPPING=1", "STATUS=Finishing the answers under way")
        await super().shutdown(sockets)

    async def _beat(self) -> None:
        """Uses the loop's own clock: a wall clock that is set back must not starve the watchdog."""
        watchdog_s = self._notifier.watchdog_s
        pause_s = min(BEAT_S, watchdog_s / 3) if watchdog_s else BEAT_S
        while True:
            try:
                trouble = None if self._alive is None else await self._alive()
                self._notifier.tell("WATCHDOG=1", f"STATUS={trouble or 'Serving'}")
            except Exception:
                log.exception("The service cannot tell whether it works", extra={"action": "not_alive"})
            await asyncio.sleep(pause_s)
