"""A load generator: so many clients, each asking again as soon as it was answered. Cheap, because it shares the machine with what it measures.

echo '{"url": "http://127.0.0.1:8090/v1/completions", "clients": 16, "seconds": 5, "body": {...}}' | python -m daemon.serving.load
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import uvloop


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it. Latencies in milliseconds, from the first byte sent to the last byte received."""

    answers: int
    failed: int
    seconds: float
    per_second: float
    p50_ms: float
    p99_ms: float


class _Client(asyncio.Protocol):
    def __init__(self, request: bytes, until: float) -> None:
        self._request, self._until = request, until
        self.latencies: list[float] = []
        self.failed = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is one in all but its ancestors
        self._ask()

    def _ask(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._at = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        self.latencies.append(now - self._at)
        self.failed += self._parser.get_status_code() != 200
        if now < self._until:
            asyncio.get_running_loop().call_soon(self._ask)
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if time.perf_counter() < self._until:
            self.failed += 1
        if not self.over.done():
            self.over.set_result(None)


async def load(url: str, body: dict[str, Any], *, clients: int, seconds: float) -> Load:
    parts = urlsplit(url)
    content = json.dumps(body).encode()
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    loop, started = asyncio.get_running_loop(), time.perf_counter()
    until = started + seconds

    def client() -> _Client:
        return _Client(head.encode() + content, until)

    made = [(await loop.create_connection(client, parts.hostname or "127.0.0.1", parts.port or 80))[1] for _ in range(clients)]
    await asyncio.gather(*(one.over for one in made))
    took = time.perf_counter() - started
    latencies = sorted(latency for one in made for latency in one.latencies) or [float("inf")]
    p50, p99 = (round(latencies[int(len(latencies) * share)] * 1000, 3) for share in (0.5, 0.99))
    answers = sum(len(one.latencies) for one in made)
    return Load(answers, sum(one.failed for one in made), round(took, 3), round(answers / took, 1), p50, p99)


if __name__ == "__main__":
    wish = json.loads(sys.stdin.read())
    found = uvloop.run(load(wish["url"], wish["body"], clients=wish["clients"], seconds=wish["seconds"]))
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
