"""A real vLLM under load: aliases that move and go back, engines, gateways and daemons that are killed. Nothing wrong may be answered."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import openai
import pytest

from tests.vllm_parts import LONG, VERSIONS, World

pytestmark = pytest.mark.vllm
CLIENTS = 16
MOVES = int(os.environ.get("LOREFEED_MOVES", "100"))
ANSWERS_MIN = 20 * MOVES
TOKENS = 8
BACK_WITHIN_S = 1800.0
TOP = VERSIONS["news"]
MOVING = [f"news@{n}" for n in range(TOP - 3, TOP + 1)]
ANSWERING = [*MOVING, "base"]  # the base in the same batches: no adapter may leak into it
# All longer than a block of the cache, and mostly the same: what one version has computed must not serve another.
PROMPTS = [
    f"{LONG}{end}" for end in ("In the morning", "After the storm", "Her brother", "Nobody knew", "At the market", "The old captain")
]
Key = tuple[str, str]  # the version that the header names, the prompt


@dataclass
class Seen:
    """What came back. `wrong`: an answer that is not the greedy one of the version in its header."""

    expected: dict[Key, str]
    answers: Counter[str] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self, adapter: str, prompt: str, text: str) -> None:
        with self.lock:
            self.answers[adapter] += 1
            if self.expected.get((adapter, prompt)) != text:
                self.wrong.append((adapter, prompt[-20:], text))

    @property
    def total(self) -> int:
        return sum(self.answers.values())


@pytest.fixture
def expected(vllm_world: World) -> dict[Key, str]:
    """The greedy answer of every version and of the base to every prompt, asked alone and twice. No two versions answer alike, the base seldom."""
    found = {}
    for name in ANSWERING:
        for prompt in PROMPTS:
            found[name, prompt] = vllm_world.text(name, prompt, max_tokens=TOKENS)
            assert vllm_world.text(name, prompt, max_tokens=TOKENS) == found[name, prompt]
    for prompt in PROMPTS:
        assert len({found[name, prompt] for name in MOVING}) == len(MOVING)
    assert sum(found["base", p] not in {found[name, p] for name in MOVING} for p in PROMPTS) > len(PROMPTS) / 2
    return found


@contextmanager
def asking(world: World, seen: Seen) -> Iterator[None]:
    """So many clients, half of them streaming, each asking again as soon as it was answered."""
    over = threading.Event()
    threads = [threading.Thread(target=_client, args=(world.gateway_url, number, seen, over)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(timeout=120)
        assert not any(thread.is_alive() for thread in threads)


def _client(url: str, number: int, seen: Seen, over: threading.Event) -> None:
    chance, stream = random.Random(number), number % 2 == 0
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=120) as client:
        while not over.is_set():
            prompt, model = chance.choice(PROMPTS), chance.choice(("news", "news", "news", "base"))
            try:
                adapter, text = _ask(client, model, prompt, stream=stream)
                seen.answered(adapter, prompt, text)
            except openai.APIStatusError as err:
                with seen.lock:
                    seen.refused[err.status_code] += 1
                    if err.status_code == 503 and "retry-after" not in err.response.headers:
                        seen.broken["503 without Retry-After"] += 1
                over.wait(0.2)
            except (openai.APIError, httpx2.HTTPError) as err:  # no connection, or a stream that ended with an error
                with seen.lock:
                    seen.broken[type(err).__name__] += 1
                over.wait(0.2)


def _ask(client: openai.OpenAI, model: str, prompt: str, *, stream: bool) -> tuple[str, str]:
    wish = {"model": model, "prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "stream": stream, "extra_body": {"ignore_eos": True}}
    raw = client.completions.with_raw_response.create(**wish)
    adapter = raw.headers["x-lorefeed-adapter"]
    if not stream:
        return adapter, raw.parse().choices[0].text
    chunks = list(raw.parse())
    if [c.choices[0].finish_reason for c in chunks if c.choices][-1:] != ["length"]:
        raise openai.APIError("the stream ended before its answer did", raw.http_request, body=None)
    return adapter, "".join(c.choices[0].text for c in chunks if c.choices)


def _move(world: World, chance: random.Random) -> None:
    """Another version, chosen at random: forwards by a release, backwards by a rollback."""
    now = world.registry.read.alias("news").adapter
    to = chance.choice([name for name in MOVING if name != now])
    if int(to.partition("@")[2]) > int(str(now).partition("@")[2]):
        world.serve("news", to)
    else:
        world.registry.write.rollback("news", to=int(to.partition("@")[2]), actor="test", reason="load test")


def test_a_hundred_releases_and_rollbacks_under_load_give_no_wrong_answer(
    vllm_world: World, expected: dict[Key, str], figures: list[str]
) -> None:
    seen, chance, began = Seen(expected), random.Random(7), time.monotonic()
    with asking(vllm_world, seen):
        for moved in range(1, MOVES + 1):
            _move(vllm_world, chance)
            vllm_world.wait(lambda moved=moved: seen.total >= ANSWERS_MIN * moved / MOVES, timeout_s=300, every_s=0.02)
    took = time.monotonic() - began
    figures.append(
        f"{MOVES} releases and rollbacks under {CLIENTS} clients: {seen.total} answers in {took:.0f} s by {dict(sorted(seen.answers.items()))},"
        f" {len(seen.wrong)} wrong, {sum(seen.refused.values())} refused, {sum(seen.broken.values())} broken"
    )
    assert seen.total >= ANSWERS_MIN
    assert seen.wrong == []
    assert (dict(seen.refused), dict(seen.broken)) == ({}, {})
    assert set(seen.answers) == set(ANSWERING)


@pytest.mark.parametrize("command", ["engine", "gateway", "daemon"])
def test_what_is_killed_under_load_comes_back_and_answers_nothing_wrong(
    vllm_world: World, expected: dict[Key, str], figures: list[str], command: str
) -> None:
    world, seen = vllm_world, Seen(expected)
    served = world.registry.read.alias("news").adapter
    releases = len(world.registry.read.releases("news"))
    world.wait(lambda: served in world.held(), timeout_s=120)
    held = {name for name in world.held() if name in (served, "law@2")}
    with asking(world, seen):
        world.wait(lambda: seen.total > 50, timeout_s=300)
        killed, began = world.kill(command), time.monotonic()
        world.wait(lambda: bool(set(world.pids(command)) - set(killed)), timeout_s=120)
        world.wait(world.ready, timeout_s=BACK_WITHIN_S)
        before = seen.total
        world.wait(lambda: seen.total > before + 50, timeout_s=BACK_WITHIN_S)
        world.wait(lambda: held <= set(world.held()), timeout_s=BACK_WITHIN_S)
        took = time.monotonic() - began
    figures.append(
        f"{command} killed under load ({len(killed)} processes): all resident and answering again after {took:.0f} s; {seen.total} answers,"
        f" {len(seen.wrong)} wrong, refused {dict(seen.refused)}, broken off {dict(seen.broken)}"
    )
    assert seen.wrong == []
    assert set(seen.refused) <= {502, 503}
    assert "503 without Retry-After" not in seen.broken
    if command == "daemon":
        assert (dict(seen.refused), dict(seen.broken)) == ({}, {}), "serving does not need the daemon"
    assert world.registry.read.alias("news").adapter == served
    assert len(world.registry.read.releases("news")) == releases, "no alias moved"


def test_an_engine_that_is_away_is_a_503_to_come_back_for(vllm_world: World) -> None:
    world = vllm_world
    world.kill("engine")
    answer = httpx2.post(
        f"{world.gateway_url}/v1/completions", content=json.dumps({"model": "news", "prompt": LONG}), trust_env=False, timeout=60
    )
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert world.engine_url in answer.json()["error"]["message"]
    world.wait(world.ready, timeout_s=BACK_WITHIN_S)
    world.wait(lambda: world.registry.read.alias("news").adapter in world.held(), timeout_s=120)
    assert world.complete("news").status_code == 200


def test_an_orderly_end_lets_answers_under_way_end(vllm_world: World) -> None:
    world = vllm_world
    served = str(world.registry.read.alias("news").adapter)
    wish = {"model": "news", "prompt": LONG, "max_tokens": 250, "temperature": 0, "extra_body": {"ignore_eos": True}}
    with openai.OpenAI(base_url=f"{world.gateway_url}/v1", api_key="none", max_retries=0) as client:
        whole = client.completions.create(**wish).choices[0].text
        stream = client.completions.create(stream=True, **wish)
        begun = next(stream).choices[0].text
        first = world.pids("engine")
        os.kill(first[0], signal.SIGTERM)
        assert begun + "".join(chunk.choices[0].text for chunk in stream) == whole
    world.wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in first), timeout_s=60)
    world.wait(world.ready, timeout_s=BACK_WITHIN_S)
    world.wait(lambda: served in world.held(), timeout_s=120)
