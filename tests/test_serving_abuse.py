"""The gateway's door under abuse, as a process of its own: what is oversized, slow or malformed costs no memory and nobody else an answer."""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.serving_parts import free_port, wait_until

HTTP = httpx2.Client(timeout=30, trust_env=False)
REQUESTS = int(os.environ.get("LOREFEED_ABUSE", "1500"))
AT_A_TIME = 32
GROWTH_MAX_BYTES = 20 << 20
BODY_LIMIT = 1 << 16
HEAD = "POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[str, int, int]]:
    """Its address, port and process id. No engine stands behind it: nothing of all this may reach one."""
    port = free_port()
    ours = {"HOME": tmp_path / "home", "GATEWAY__PORT": port, "ENGINE__PORT": free_port(), "GATEWAY__BODY_LIMIT_BYTES": BODY_LIMIT}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LOREFEED_")}
    environment |= {f"LOREFEED_{key}": str(value) for key, value in ours.items()}
    process = subprocess.Popen([sys.executable, "-m", "daemon.cli", "gateway"], env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(url), timeout_s=120)
        yield url, port, process.pid
    finally:
        process.terminate()
        process.wait(timeout=60)


def answers(url: str) -> bool:
    try:
        return HTTP.get(f"{url}/healthz").status_code == 200
    except httpx2.HTTPError:
        return False


def resident_bytes(pid: int) -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024  # type: ignore[index]


def abuse(chance: random.Random) -> tuple[str, bytes]:
    """A request that is wrong in one way, and the name of the way."""
    kind = chance.choice(
        ["said too large", "too large in pieces", "half", "no JSON", "no HTTP", "deep", "odd name", "no length", "nothing"]
    )
    junk = chance.randbytes(chance.randint(1, 2000))
    match kind:
        case "said too large":
            return kind, f"{HEAD}content-length: {1 << 40}\r\n\r\n".encode() + junk
        case "too large in pieces":
            piece = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
            return kind, f"{HEAD}transfer-encoding: chunked\r\n\r\n".encode() + piece * 5
        case "half":
            return kind, f"{HEAD}content-length: 5000\r\n\r\n".encode() + b'{"model": "base", "prompt": "'
        case "no JSON":
            return kind, f"{HEAD}content-length: {len(junk)}\r\n\r\n".encode() + junk
        case "no HTTP":
            return kind, junk + b"\r\n\r\n"
        case "deep":
            return kind, f"{HEAD}content-length: 60000\r\n\r\n".encode() + b"[" * 60000
        case "odd name":
            body = b'{"model": "' + bytes(chance.choices(b"abc@/.<>", k=200)) + b'", "prompt": "x"}'
            return kind, f"{HEAD}content-length: {len(body)}\r\n\r\n".encode() + body
        case "no length":
            return kind, f"{HEAD}\r\n".encode()
        case _:
            return kind, b""


async def send_all(port: int, *, count: int, seed: int) -> Counter[tuple[str, str]]:
    """So many requests, each on a connection of its own; what each kind was answered with, "" when nothing came or was waited for."""
    chance, seen, places = random.Random(seed), Counter[tuple[str, str]](), asyncio.Semaphore(AT_A_TIME)

    async def send_one(kind: str, content: bytes) -> None:
        async with places:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            first = b""
            try:
                writer.write(content)
                await writer.drain()
                async with asyncio.timeout(0.05 if kind in ("half", "nothing") else 30):
                    first = await reader.readline()
            except (TimeoutError, OSError):
                first = b""  # a slow one is left where it is, which for the gateway is a client that goes away
            finally:
                writer.close()
            seen[kind, first[9:12].decode()] += 1

    await asyncio.gather(*(send_one(*abuse(chance)) for _ in range(count)))
    return seen


def test_abuse_costs_no_memory_and_nobody_else_an_answer(gateway: tuple[str, int, int], figures: list[str]) -> None:
    url, port, pid = gateway
    asyncio.run(send_all(port, count=REQUESTS // 4, seed=1))  # what is allocated once is no growth
    before = resident_bytes(pid)
    seen = asyncio.run(send_all(port, count=REQUESTS, seed=2))
    wait_until(lambda: HTTP.get(f"{url}/lorefeed/inflight").json()["total"] == 0)
    grown = resident_bytes(pid) - before
    statuses = Counter(status for _, status in seen.elements())
    figures.append(
        f"gateway after {REQUESTS} abusive requests: {grown / 2**20:+.1f} MiB of {before / 2**20:.0f}; answers {dict(sorted(statuses.items()))}"
    )
    assert not {status for status in statuses if status.startswith("5")}
    assert {status for kind, status in seen if kind in ("said too large", "too large in pieces")} <= {"413", ""}
    assert {status for kind, status in seen if kind in ("no JSON", "deep", "no length")} == {"400"}
    assert {status for kind, status in seen if kind == "odd name"} == {"404"}
    assert grown < GROWTH_MAX_BYTES
    assert HTTP.get(f"{url}/v1/models").status_code == 200
