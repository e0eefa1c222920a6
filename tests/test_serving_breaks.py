"""Engines that break off, fall silent or close a kept connection: what the client is told, and that nothing is left counted as under way."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from daemon.serving.client import EngineClient
from daemon.serving.errors import EngineDown
from daemon.serving.gateway import create_gateway
from daemon.serving.settings import GatewaySettings
from registry import Registry
from tests.serving_parts import serving, wait_until

HTTP = httpx2.Client(timeout=30, trust_env=False)
WISH = {"model": "base", "prompt": "x"}
JSON_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n" + b'{"id": "x"}'


@contextlib.contextmanager
def engine(answer: Callable[[socket.socket, int], None]) -> Iterator[str]:
    """A TCP server that reads a request and lets `answer` do what it likes; its connections are numbered. Never lists its models."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    over = threading.Event()

    def accept() -> None:
        number = 0
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                connection.settimeout(10)
                number += 1
                threading.Thread(target=serve, args=(connection, number), daemon=True).start()

    def serve(connection: socket.socket, number: int) -> None:
        with connection, contextlib.suppress(OSError):
            while (request := connection.recv(65536)) and not over.is_set():
                if request.startswith(b"GET"):
                    connection.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}")
                    continue
                answer(connection, number)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        thread.join()
        listener.close()


@contextlib.contextmanager
def gateway(home: Path, url: str) -> Iterator[str]:
    settings = GatewaySettings(upstream_timeout_s=0.5)
    with Registry.open(home) as registry, serving(create_gateway(registry, engine_url=url, base_name="tiny", settings=settings)) as front:
        yield front
        wait_until(lambda: HTTP.get(f"{front}/lorefeed/inflight").json() == {"inflight": {}, "total": 0})


def test_a_stream_that_breaks_off_ends_with_an_error_that_says_so(tmp_path: Path) -> None:
    def half(connection: socket.socket, _: int) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        connection.sendall(b"d\r\ndata: {'a'}\n\n\r\n")
        connection.shutdown(socket.SHUT_RDWR)

    with engine(half) as url, gateway(tmp_path / "home", url) as front:
        answer = HTTP.post(f"{front}/v1/completions", json={**WISH, "stream": True})
        assert answer.status_code == 200
        first, last, end = answer.text.split("\n\n")
        assert (first, end) == ("data: {'a'}", "")
        assert "broke off the answer" in last
        assert "[DONE]" not in answer.text


def test_a_whole_answer_that_breaks_off_is_a_503_to_come_back_for(tmp_path: Path) -> None:
    def half(connection: socket.socket, _: int) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
        connection.shutdown(socket.SHUT_RDWR)

    with engine(half) as url, gateway(tmp_path / "home", url) as front:
        answer = HTTP.post(f"{front}/v1/completions", json=WISH)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "broke off its answer" in answer.json()["error"]["message"]


def test_an_engine_that_falls_silent_is_a_504(tmp_path: Path) -> None:
    with engine(lambda *_: None) as url, gateway(tmp_path / "home", url) as front:
        answer = HTTP.post(f"{front}/v1/completions", json=WISH)
        assert answer.status_code == 504
        assert "within 0.5 s" in answer.json()["error"]["message"]


def test_a_kept_connection_that_the_engine_had_closed_costs_no_answer(tmp_path: Path) -> None:
    served: list[int] = []

    def once(connection: socket.socket, number: int) -> None:
        if number in served:
            connection.shutdown(socket.SHUT_RDWR)  # as an engine does that was restarted between two requests
            return
        served.append(number)
        connection.sendall(JSON_ANSWER)

    with engine(once) as url, gateway(tmp_path / "home", url) as front:
        assert [HTTP.post(f"{front}/v1/completions", json=WISH).status_code for _ in range(3)] == [200] * 3
        assert len(served) >= 3


@pytest.mark.parametrize("status", [502, 503])
def test_an_engine_that_says_it_is_not_ready_is_to_be_asked_again(tmp_path: Path, status: int) -> None:
    def busy(connection: socket.socket, _: int) -> None:
        connection.sendall(b"HTTP/1.1 %d Busy\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}" % status)

    with engine(busy) as url, gateway(tmp_path / "home", url) as front:
        answer = HTTP.post(f"{front}/v1/completions", json=WISH)
        assert (answer.status_code, answer.headers["retry-after"]) == (status, "5")


def test_an_engine_that_dies_of_a_load_is_not_held_against_the_adapter() -> None:
    def dies(connection: socket.socket, _: int) -> None:
        connection.sendall(
            b"HTTP/1.1 500 Error\r\ncontent-type: application/json\r\ncontent-length: 25\r\n\r\n" + b'{"error": "EngineCore"}   '
        )

    with engine(dies) as url, EngineClient(url) as client, pytest.raises(EngineDown, match="died while it was to load news@1"):
        client.load("news@1", "/adapters/news/1")


def test_a_name_that_is_none_never_reaches_the_engine(tmp_path: Path) -> None:
    with engine(lambda connection, _: connection.sendall(JSON_ANSWER)) as url, gateway(tmp_path / "home", url) as front:
        for name in ("../tiny", "tiny/..", "/etc/passwd", "tiny\u0000"):
            assert HTTP.post(f"{front}/v1/completions", json={**WISH, "model": name}).status_code == 404
        assert HTTP.post(f"{front}/v1/completions", json=WISH).json() == {"id": "x"}
