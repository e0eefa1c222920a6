"""A server of feeds for the bench of polling: many hosts of one machine (127.0.0.1, 127.0.0.2, ...), some of whose feeds hang or fail.

`python -m daemon.benches.feed_server PLAN.json` prints its port. A process of its own, so that it takes nothing from what is measured but
the machine's time. It remembers how it was asked: `/report` tells the least gap and the most requests at one time of any host.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

_HANGS_S = 600.0
_WORDS = "tarn harbour barge grain pier lamp fisher delta sail bridge clerk water stone winter market rope".split()  # noqa: SIM905


@dataclass(frozen=True, slots=True)
class Plan:
    """`files` are served as /file/N; /made/N is made up, and hangs or fails for the numbers named."""

    files: list[str] = field(default_factory=list)
    hosts: int = 1
    hanging: list[int] = field(default_factory=list)
    failing: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Asked:
    """How one host was asked: when last, how many now, and the worst of both."""

    last_at: float = float("-inf")
    now: int = 0
    most: int = 0
    least_gap_s: float = float("inf")
    requests: int = 0


@contextlib.contextmanager
def serving(plan: Plan, folder: Path) -> Iterator[int]:
    """The running server's port. The plan is left in `folder`."""
    file = folder / "plan.json"
    file.write_text(json.dumps(asdict(plan)))
    with subprocess.Popen([sys.executable, "-m", __name__, str(file)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def address(host: int, port: int) -> str:
    """Of the so-and-so-manieth host, counted from 0."""
    return f"http://127.0.{host // 250}.{host % 250 + 1}:{port}"


def report(port: int) -> dict[str, Any]:
    with urlopen(f"{address(0, port)}/report") as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
        return found


def made_feed(number: int, *, items: int = 10, paragraphs: int = 1) -> bytes:
    """A feed of so many items of HTML, the same for the same number."""
    told = "".join(
        f"<item><guid>{number}-{n}</guid><title>Item {n} of {number}</title><link>http://x.example/{number}/{n}</link>"
        f"<pubDate>Mon, 02 Mar 2026 {n % 24:02}:00:00 GMT</pubDate><description>{_escaped(number, n, paragraphs)}</description></item>"
        for n in range(items)
    )
    return f"<?xml version='1.0'?><rss version='2.0'><channel><title>Feed {number}</title>{told}</channel></rss>".encode()


def _escaped(number: int, n: int, paragraphs: int) -> str:
    told = []
    for p in range(paragraphs):
        words = " ".join(_WORDS[(number * 7 + n * 5 + p * 3 + w * (1 + p)) % len(_WORDS)] for w in range(40))
        told.append(f"<p>Feed {number} says in item {n}: a <b>tarn{number}x{n}</b> is a small lake. <a href='/{p}'>The</a> {words}.</p>")
    return "".join(told).replace("<", "&lt;")


class _Server:
    def __init__(self, plan: Plan) -> None:
        self._files = [Path(file).read_bytes() for file in plan.files]
        self._hanging, self._failing = frozenset(plan.hanging), frozenset(plan.failing)
        self._asked: dict[str, _Asked] = {}

    async def run(self, hosts: int) -> None:
        first = _listening("127.0.0.1", 0)
        port = int(first.getsockname()[1])
        sockets = [first, *(_listening(address(host, port).split("//")[1].split(":")[0], port) for host in range(1, hosts))]
        servers = [await asyncio.start_server(self._answer, sock=one) for one in sockets]
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await asyncio.gather(*(server.serve_forever() for server in servers))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            path = (await reader.readline()).split(b" ")[1].decode()
            await reader.readuntil(b"\r\n\r\n")
            if path == "/report":
                _send(writer, 200, json.dumps(self._report()).encode())
            else:
                await self._feed(path, reader, writer)
            await writer.drain()
        writer.close()

    async def _feed(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = self._asked.setdefault(writer.get_extra_info("sockname")[0], _Asked())
        now = time.monotonic()
        asked.least_gap_s, asked.last_at = min(asked.least_gap_s, now - asked.last_at), now
        asked.now += 1
        asked.requests += 1
        asked.most = max(asked.most, asked.now)
        try:
            kind, number = path.split("?")[0].strip("/").split("/")
            if kind == "made" and int(number) in self._hanging:
                await asyncio.wait_for(reader.read(), _HANGS_S)  # until the other side gives up
            elif kind == "made":
                _send(writer, 503 if int(number) in self._failing else 200, made_feed(int(number)))
            else:
                _send(writer, 200, self._files[int(number)])
        finally:
            asked.now -= 1

    def _report(self) -> dict[str, Any]:
        return {
            "hosts": len(self._asked),
            "requests": sum(one.requests for one in self._asked.values()),
            "least_gap_s": round(min((one.least_gap_s for one in self._asked.values()), default=float("inf")), 3),
            "most_at_once": max((one.most for one in self._asked.values()), default=0),
        }


def _listening(host: str, port: int) -> socket.socket:
    made = socket.create_server((host, port), backlog=512)
    made.setblocking(False)
    return made


def _send(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    kind = "application/json" if body.startswith(b"{") else "application/xml"
    head = f"HTTP/1.1 {status} .\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)


def main(arguments: list[str]) -> int:
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(_run(Plan(**json.loads(Path(arguments[0]).read_text()))))
    return 0


async def _run(plan: Plan) -> None:
    await _Server(plan).run(plan.hosts)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
