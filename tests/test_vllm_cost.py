"""What the gateway costs in front of a real vLLM: the same questions direct and through it, in turns, in one run."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

import pytest

from tests.vllm_parts import LONG, VERSIONS, World

pytestmark = pytest.mark.vllm
CLIENTS, SECONDS, ROUNDS, TOKENS = 16, 15.0, 4, 16
# On two cores the gateway and the load generator take their time from vLLM itself, which on a GPU they do not.
THROUGHPUT_MIN = 0.85


def turn(url: str, model: str, *, seconds: float) -> dict[str, Any]:
    body = {"model": model, "prompt": LONG, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
    wish = {"url": f"{url}/v1/completions", "body": body, "clients": CLIENTS, "seconds": seconds}
    done = subprocess.run([sys.executable, "-m", "daemon.serving.load"], input=json.dumps(wish), capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_gateway_costs_almost_nothing(vllm_world: World, figures: list[str]) -> None:
    world, newest = vllm_world, f"news@{VERSIONS['news']}"
    world.wait(lambda: newest in world.held(), timeout_s=120)
    ways = {"direct": (world.engine_url, newest), "gateway": (world.gateway_url, newest)}
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, (url, model) in ways.items():
            found = turn(url, model, seconds=SECONDS if number else 2.0)
            if number:
                turns[name].append(found)
    per_second, p50, p99 = (
        {name: statistics.median(one[key] for one in found) for name, found in turns.items()} for key in ("per_second", "p50_ms", "p99_ms")
    )
    share = per_second["gateway"] / per_second["direct"]
    figures.append(
        f"gateway before vLLM, {CLIENTS} clients, {TOKENS} tokens: {per_second['gateway']:.1f} answers/s, direct {per_second['direct']:.1f}"
        f" ({share:.3f}); p50 {p50['gateway']:.1f} against {p50['direct']:.1f} ms, p99 {p99['gateway']:.1f} against {p99['direct']:.1f} ms"
    )
    assert all(one["failed"] == 0 for found in turns.values() for one in found)
    assert share >= THROUGHPUT_MIN
