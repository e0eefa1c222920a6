"""A server as a good service: sockets from systemd, READY, watchdog, answers that end, status 0."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from daemon.serving.listen import inherited_sockets, most_open
from tests.service_parts import wait_until

PROGRAM = """
import asyncio, os, sys
from daemon.serving.listen import inherited_sockets, serve
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
hang = asyncio.Event()
async def slow(request):
    await asyncio.sleep(1.0)
    return PlainTextResponse("whole")
async def stop_beating(request):
    global beating
    beating = False
    return PlainTextResponse("ok")
beating = True
async def alive():
    if not beating:
        await hang.wait()
os.environ["LISTEN_PID"] = str(os.getpid())
sockets = inherited_sockets() if sys.argv[1] == "inherited" else []
serve(Starlette(routes=[Route("/slow", slow), Route("/stop", stop_beating)]), host="127.0.0.1", port=int(sys.argv[2]), sockets=sockets, alive=alive)
"""


class Manager:
    """The part of systemd that the service sees: a socket that listens, and one that is told things."""

    def __init__(self, place: Path) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listening.getsockname()[1])
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.bind(str(place / "notify"))
        self._told.settimeout(0.1)
        self.environment = {"NOTIFY_SOCKET": str(place / "notify"), "WATCHDOG_USEC": "900000"}
        self.said: list[str] = []
        self._over = threading.Event()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def start(self, *, inherited: bool = True) -> subprocess.Popen[bytes]:
        def hand_over() -> None:
            os.dup2(self.listening.fileno(), 3)

        environment = {**os.environ, **self.environment} | ({"LISTEN_FDS": "1"} if inherited else {})
        command = [sys.executable, "-c", PROGRAM, "inherited" if inherited else "own", str(self.port)]
        return subprocess.Popen(command, env=environment, pass_fds=(3,) if inherited else (), preexec_fn=hand_over if inherited else None)

    def count(self, line: str) -> int:
        return sum(line in message.splitlines() for message in self.said)

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                self.said.append(self._told.recv(4096).decode())
            except TimeoutError:
                continue

    def close(self) -> None:
        self._over.set()
        self._listener.join()
        self._told.close()
        self.listening.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    one = Manager(tmp_path)
    yield one
    one.close()


def ask(port: int, path: str) -> str:
    return httpx2.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=60).text


def test_a_restart_loses_no_answer_and_each_end_is_status_0(manager: Manager) -> None:
    """An answer under way ends; a request that comes in between waits in the socket for the next process."""
    answers: list[str] = []
    first = manager.start()
    wait_until(lambda: manager.count("READY=1") == 1, what="READY")
    under_way = threading.Thread(target=lambda: answers.append(ask(manager.port, "/slow")))
    under_way.start()
    time.sleep(0.4)
    first.send_signal(signal.SIGTERM)
    wait_until(lambda: manager.count("STOPPING=1") == 1, what="STOPPING")
    waiting = threading.Thread(target=lambda: answers.append(ask(manager.port, "/slow")))
    waiting.start()
    assert first.wait(30) == 0
    second = manager.start()
    for thread in (under_way, waiting):
        thread.join(60)
    second.send_signal(signal.SIGINT)

    assert second.wait(30) == 0
    assert answers == ["whole", "whole"]


def test_the_watchdog_is_fed_while_the_service_works_and_starves_when_it_hangs(manager: Manager) -> None:
    manager.listening.close()  # this one opens the port itself
    process = manager.start(inherited=False)
    wait_until(lambda: manager.count("WATCHDOG=1") >= 3, what="three signs of life")
    assert ask(manager.port, "/stop") == "ok"
    time.sleep(0.5)
    before = manager.count("WATCHDOG=1")
    time.sleep(1.0)

    assert manager.count("WATCHDOG=1") == before
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_sockets_meant_for_another_process_are_left_alone() -> None:
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x"}

    assert inherited_sockets(environment) == []
    assert environment == {}


def test_what_has_to_be_guarded_is_the_most_open_door() -> None:
    with socket.create_server(("127.0.0.1", 0)) as local, socket.create_server(("0.0.0.0", 0)) as everywhere:
        assert most_open([local], "configured", 1) == ("127.0.0.1", local.getsockname()[1])
        assert most_open([local, everywhere], "configured", 1) == ("0.0.0.0", everywhere.getsockname()[1])
        assert most_open([], "configured", 1) == ("configured", 1)
