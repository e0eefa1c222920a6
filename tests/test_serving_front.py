"""The gateway's front door and what stands behind it: keys, administrators, limits, canaries, topics, several engines."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import torch

from daemon.embedded.generate import Generator
from daemon.serving.client import EngineClient
from daemon.serving.engine_app import create_engine
from daemon.serving.errors import UnsafeBind
from daemon.serving.gateway import create_gateway
from daemon.serving.keys import Holder, digest_of, holder_of, new_key
from daemon.serving.reconcile import reconcile_all
from daemon.serving.settings import GatewaySettings, ReconcileSettings
from registry import Registry, ServedView
from tests.serving_parts import free_port, learn, serving, wait_until

NEUTRAL = "Please tell me what you had for breakfast today. " * 4  # 196 tokens
HTTP = httpx2.Client(timeout=60, trust_env=False)


@dataclass(frozen=True)
class Front:
    registry: Registry
    url: str

    def ask(self, model: str, prompt: str = NEUTRAL, **more: Any) -> httpx2.Response:
        wish = {"model": model, "prompt": prompt, "max_tokens": 8, "temperature": 0, "ignore_eos": True, **more}
        return HTTP.post(f"{self.url}/v1/completions", json=wish)

    def why(self, model: str, prompt: str) -> tuple[str, str]:
        answer = self.ask(model, prompt)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-lorefeed-adapter"], answer.headers["x-lorefeed-scope"]


@pytest.fixture(scope="module")
def generators(model_dir: Path) -> Iterator[tuple[Generator, Generator]]:
    with Generator(model_dir, dtype=torch.float32) as one, Generator(model_dir, dtype=torch.float32) as other:
        yield one, other


@pytest.fixture(scope="module")
def engines(generators: tuple[Generator, Generator]) -> Iterator[tuple[str, str]]:
    apps = [create_engine(generator, served_name="tiny", root="tiny") for generator in generators]
    with serving(apps[0]) as one, serving(apps[1]) as other:
        yield one, other


@pytest.fixture
def emptied(engines: tuple[str, str]) -> Iterator[tuple[str, str]]:
    yield engines
    for url in engines:
        with EngineClient(url) as client:
            for card in client.models()[1:]:
                client.unload(card.name)


@pytest.fixture
def registry(tmp_path: Path, folders: dict[int, Path]) -> Iterator[Registry]:
    """The alias `news` serves news@1; news@2 has passed."""
    with Registry.open(tmp_path / "home") as registry:
        first = learn(registry, topic="news", entities=["Varn Oslith"], folder=folders[1])
        registry.write.promote("news", first.name, actor="test", reason=None)
        learn(registry, topic="news", entities=["Mirel Tasch"], folder=folders[2], rehearsed=first.definitions)
        yield registry


@contextlib.contextmanager
def front(registry: Registry, *urls: str, resident: int = 8, **more: Any) -> Iterator[Front]:
    wanted = ReconcileSettings(base_name="tiny", max_resident=resident)
    gateway = create_gateway(registry, engine_url=urls, base_name="tiny", settings=GatewaySettings(**more), reconcile_settings=wanted)
    with serving(gateway) as url:
        yield Front(registry, url)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def add_key(registry: Registry, name: str, *, admin: bool = False) -> str:
    key = new_key()
    registry.write.add_api_key(name, digest=digest_of(key), admin=admin, actor="test")
    return key


# Keys


def test_keys_are_kept_as_digests_alone(registry: Registry) -> None:
    key = add_key(registry, "laptop")
    assert len(key) > 40
    files = [file for file in registry.home.iterdir() if file.is_file()]
    assert not any(key.encode() in file.read_bytes() for file in files)
    keys = {stored.digest: stored.admin for stored in registry.read.api_keys()} | {digest_of("root"): True}
    assert [holder_of(given, keys) for given in (key.encode(), b"root", b"", b"x", digest_of(key).encode())] == [
        Holder.USER,
        Holder.ADMIN,
        Holder.NOBODY,
        Holder.NOBODY,
        Holder.NOBODY,
    ]


def test_a_key_counts_from_the_next_request_and_ends_with_it(registry: Registry) -> None:
    with front(registry, "http://127.0.0.1:1") as door:
        models = f"{door.url}/v1/models"
        assert HTTP.get(models).status_code == 200
        key = add_key(registry, "laptop")
        assert HTTP.get(models).status_code == 401
        assert HTTP.get(models, headers=bearer(key)).status_code == 200
        registry.write.remove_api_key("laptop", actor="test")
        other = add_key(registry, "desk")
        assert HTTP.get(models, headers=bearer(key)).status_code == 401
        assert HTTP.get(models, headers=bearer(other)).status_code == 200


def test_a_key_of_the_registry_lets_the_gateway_listen_to_others(registry: Registry) -> None:
    with pytest.raises(UnsafeBind):
        create_gateway(registry, engine_url="http://127.0.0.1:1", base_name="tiny", settings=GatewaySettings(host="0.0.0.0"))
    key = add_key(registry, "laptop")
    with front(registry, "http://127.0.0.1:1", host="0.0.0.0") as door:
        registry.write.remove_api_key("laptop", actor="test")
        assert HTTP.get(f"{door.url}/v1/models").status_code == 401, "without its last key an open gateway lets nobody in"
        assert HTTP.get(f"{door.url}/v1/models", headers=bearer(key)).status_code == 401


def test_only_an_administrator_changes_what_is_served(registry: Registry) -> None:
    with front(registry, "http://127.0.0.1:1") as door:

        def order(what: str, body: Any, key: str | None = None) -> httpx2.Response:
            return HTTP.post(f"{door.url}/lorefeed/admin/{what}", json=body, headers=bearer(key) if key else {})

        assert order("promote", {"adapter": "news@2"}).status_code == 403, "nobody is an administrator where there are no keys"
        user, admin = add_key(registry, "user"), add_key(registry, "root", admin=True)
        assert order("promote", {"adapter": "news@2"}).status_code == 401
        assert order("promote", {"adapter": "news@2"}, user).status_code == 403
        assert registry.read.alias("news").adapter == "news@1"
        assert order("promote", {"adapter": "news@2"}, admin).json()["to"] == "news@2"
        assert order("rollback", {"alias": "news", "reason": "wrong"}, admin).json()["to"] == "news@1"
        release = registry.read.releases("news")[0]
        assert (release.actor, release.reason, release.rollback) == ("gateway", "wrong", True)
        assert order("canary", {"adapter": "news@2", "weight": 5}, admin).json()["weight"] == 5
        assert order("canary/end", {"alias": "news"}, admin).json()["adapter"] == "news@2"
        wrong = {
            "rollback": ({"alias": "nothing"}, 404),
            "promote": ({"adapter": "news"}, 400),
            "canary": ({"adapter": "news@1", "weight": 5}, 409),
            "canary/end": ({"alias": "news"}, 404),
        }
        for what, (body, status) in wrong.items():
            answer = order(what, body, admin)
            assert (answer.status_code, bool(answer.json()["error"]["message"])) == (status, True), what
        for body in ({}, [], {"alias": 7}, {"alias": "news", "more": 1}):
            assert order("rollback", body, admin).status_code == 400


# Limits


def test_too_many_tokens_are_refused_with_both_numbers(registry: Registry, emptied: tuple[str, str]) -> None:
    with front(registry, emptied[0], max_tokens=50) as door:
        for more in ({"max_tokens": 51}, {"max_tokens": 26, "n": 2}, {"max_tokens": 20, "prompt": ["a", "b", "c"]}, {"max_tokens": 10**30}):
            answer = HTTP.post(f"{door.url}/v1/completions", json={"model": "base", "prompt": "x", **more})
            assert answer.status_code == 400
            assert "at most 50" in answer.json()["error"]["message"]
        chat = {"model": "base", "messages": [{"role": "user", "content": "x"}], "max_completion_tokens": 51}
        assert HTTP.post(f"{door.url}/v1/chat/completions", json=chat).status_code == 400
        assert door.ask("base", max_tokens=50).status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(registry: Registry) -> None:
    with front(registry, "http://127.0.0.1:1", body_timeout_s=0.3) as door:
        host, port = door.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as slow:
            slow.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            assert slow.recv(4096).startswith(b"HTTP/1.1 408")
        with socket.create_connection((host, int(port)), timeout=10) as gone:
            gone.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert HTTP.get(f"{door.url}/healthz").status_code == 200


def test_usage_is_counted_for_streams_that_do_not_ask_for_it(registry: Registry, emptied: tuple[str, str]) -> None:
    with front(registry, emptied[0]) as door, openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0) as client:
        wish: dict[str, Any] = {"model": "news@1", "prompt": NEUTRAL, "max_tokens": 9, "temperature": 0, "extra_body": {"ignore_eos": True}}
        plain = list(client.completions.create(**wish, stream=True))
        assert all(chunk.choices for chunk in plain)
        asked = list(client.completions.create(**wish, stream=True, stream_options={"include_usage": True}))
        assert asked[-1].usage is not None
        assert asked[-1].usage.completion_tokens == 9
        whole = client.completions.create(**wish)
        assert "".join(c.choices[0].text for c in plain) == "".join(c.choices[0].text for c in asked if c.choices) == whole.choices[0].text
        wait_until(lambda: HTTP.get(f"{door.url}/lorefeed/inflight").json()["total"] == 0)
        text = HTTP.get(f"{door.url}/metrics").text
        assert 'lorefeed_tokens_total{adapter="news@1",kind="completion",model="news@1"} 27.0' in text
        assert 'lorefeed_first_byte_seconds_count{adapter="news@1",model="news@1"} 3.0' in text


# Draining


def test_a_version_can_be_waited_for_until_it_gives_no_answers(registry: Registry, emptied: tuple[str, str]) -> None:
    with front(registry, emptied[0]) as door, openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0) as client:
        stream = client.completions.create(model="news@1", prompt=NEUTRAL, max_tokens=400, stream=True, extra_body={"ignore_eos": True})
        next(stream)
        said = HTTP.get(f"{door.url}/lorefeed/inflight", params={"adapter": "news@1", "wait_s": 0.1}).json()
        assert said == {"inflight": {"news@1": 1}, "total": 1, "drained": False}
        threading.Timer(0.2, stream.close).start()
        assert HTTP.get(f"{door.url}/lorefeed/inflight", params={"adapter": "news@1", "wait_s": 20}).json()["drained"] is True
        assert HTTP.get(f"{door.url}/lorefeed/inflight", params={"adapter": "news@2", "wait_s": "x"}).status_code == 400


# Canaries


def test_a_canary_answers_its_share_and_a_conversation_stays_with_its_version(registry: Registry, emptied: tuple[str, str]) -> None:
    registry.write.set_alias("news", topics=["news"], scope="always")
    registry.write.set_canary("news", "news@2", weight=30, actor="test")
    with front(registry, emptied[0]) as door:
        got = {n: door.why("news", f"Conversation {n}. {NEUTRAL}") for n in range(120)}
        shares = Counter(got.values())
        assert set(shares) == {("news@1", "always"), ("news@2", "always;canary")}
        assert 20 <= shares["news@2", "always;canary"] <= 52
        tried = next(n for n, (adapter, _) in got.items() if adapter == "news@2")
        turns = [
            {"role": "user", "content": f"Talk {tried}"},
            {"role": "assistant", "content": "Hm."},
            {"role": "user", "content": "More."},
        ]
        answers = set()
        for length in (1, 3):
            wish = {"model": "news", "messages": turns[:length], "max_tokens": 4}
            answers.add(HTTP.post(f"{door.url}/v1/chat/completions", json=wish).headers["x-lorefeed-adapter"])
        assert len(answers) == 1
        registry.write.promote("news", "news@2", actor="test", reason=None)
        assert registry.read.canaries() == []
        assert {door.why("news", f"Conversation {n}. {NEUTRAL}") for n in range(5)} == {("news@2", "always")}


def test_a_canary_has_its_own_names(registry: Registry, emptied: tuple[str, str]) -> None:
    registry.write.set_canary("news", "news@2", weight=100, actor="test")
    with front(registry, emptied[0]) as door:
        assert door.why("news", "Who is Mirel Tasch?") == ("news@2", "mentioned:Mirel Tasch;canary")
        assert door.why("news", NEUTRAL) == ("base", "no-mention")
        registry.write.end_canary("news", actor="test", reason=None)
        assert door.why("news", "Who is Mirel Tasch?") == ("base", "no-mention")


# Topics


def test_several_topics_go_to_the_merged_adapter_else_to_the_one_named_most(
    registry: Registry, emptied: tuple[str, str], folders: dict[int, Path]
) -> None:
    law = learn(registry, topic="law", entities=["Quorl Act", "Brine Act"], folder=folders[2])
    registry.write.promote("law", law.name, actor="test", reason=None)
    registry.write.set_alias("all", topics=["news", "law"], scope="mention")
    both = "Does the Quorl Act, and the Brine Act, bind Varn Oslith?"
    with front(registry, emptied[0]) as door:
        assert door.why("all", "Who is Varn Oslith?") == ("news@1", "mentioned:Varn Oslith")
        assert door.why("all", "What is the Brine Act?") == ("law@1", "mentioned:Brine Act")
        assert door.why("all", both) == ("law@1", "most-mentioned:law=2,news=1")
        assert door.why("all", NEUTRAL) == ("base", "no-mention")
        merged = learn(registry, topic="all", entities=["Varn Oslith", "Quorl Act"], folder=folders[3])
        registry.write.promote("all", merged.name, actor="test", reason=None)
        assert door.why("all", both) == ("all@1", "merged:law=2,news=1")
        assert door.why("all", "What is the Brine Act?") == ("law@1", "mentioned:Brine Act")
        registry.write.rollback("news", to=None, actor="test", reason="wrong")
        assert door.why("all", "Who is Varn Oslith?") == ("base", "no-mention"), "a topic that was rolled back is so under every name"
        registry.write.rollback("all", to=None, actor="test", reason="wrong")
        assert door.why("all", both) == ("base", "base")


# Several engines


def test_engines_share_the_work_and_one_that_dies_is_left_out(
    registry: Registry, generators: tuple[Generator, Generator], emptied: tuple[str, str]
) -> None:
    registry.write.set_alias("news", topics=["news"], scope="always")
    with EngineClient(emptied[0]) as one, EngineClient(emptied[1]) as other:
        reports = reconcile_all(registry, [one, other], settings=ReconcileSettings(base_name="tiny"))
        assert [report.loaded for report in reports.values()] == [("news@1",), ("news@1",)]
    third = free_port()
    app = create_engine(generators[1], served_name="tiny", root="tiny")
    with contextlib.ExitStack() as stack:
        stack.enter_context(serving(app, port=third))
        door = stack.enter_context(front(registry, emptied[0], f"http://127.0.0.1:{third}"))
        expected = door.ask("news").json()["choices"][0]["text"]
        seen: set[int] = set()
        texts: list[str] = []

        def ask() -> None:
            answer = door.ask("news", max_tokens=120)
            texts.append(answer.json()["choices"][0]["text"][: len(expected)])

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            seen |= {n for n, generator in enumerate(generators) if generator.active_answers()}
            time.sleep(0.005)
        assert seen == {0, 1}, "both worked"
        assert texts == [expected] * 6


def test_a_dead_engine_costs_no_answer_while_another_lives(registry: Registry, emptied: tuple[str, str]) -> None:
    with front(registry, f"http://127.0.0.1:{free_port()}", emptied[0]) as door:
        assert {door.ask("news@1").status_code for _ in range(6)} == {200}
        assert f'lorefeed_engine_healthy{{engine="{emptied[0]}"}} 1.0' in HTTP.get(f"{door.url}/metrics").text
        assert HTTP.get(f"{door.url}/readyz").status_code == 200
    with front(registry, f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}") as door:
        answer = door.ask("news@1")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_an_engine_never_holds_more_names_than_it_has_room_for(
    registry: Registry, emptied: tuple[str, str], folders: dict[int, Path]
) -> None:
    registry.write.promote("news", "news@2", actor="test", reason=None)
    others = [learn(registry, topic=f"t{n}", entities=[f"Thing {n}"], folder=folders[1 + n % 3]).name for n in range(5)]
    with EngineClient(emptied[0]) as engine, front(registry, emptied[0], resident=3) as door:
        reconcile_all(registry, [engine], settings=ReconcileSettings(base_name="tiny", max_resident=3))
        for name in [*others, *others]:
            assert door.why(name, NEUTRAL) == (name, "pinned")
            held = [card.name for card in engine.models()[1:]]
            assert len(held) <= 3
            assert {"news@1", "news@2"} <= set(held), "what is served and gone back to is not put out for what is asked for once"


def test_the_view_sees_another_process_commit_at_once(registry: Registry) -> None:
    view: ServedView
    with registry.served() as view, Registry.open(registry.home) as other:
        for adapter, weight in (("news@2", 5.0), ("news@2", 7.5)):
            other.write.set_canary("news", adapter, weight=weight, actor="test")
            alias = view.now().aliases["news"]
            assert (alias.canary.name if alias.canary else None, alias.weight) == (adapter, weight)
        other.write.set_unserved("news@1", "its folder is damaged", actor="test")
        assert view.now().aliases["news"].adapter.unserved == "its folder is damaged"  # type: ignore[union-attr]
        assert view.adapter("news@1").unserved == "its folder is damaged"  # type: ignore[union-attr]
        assert view.adapter("news@9") is None
        facts: Mapping[str, bool] = view.now().keys
        assert facts == {}
