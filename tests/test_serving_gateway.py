"""The gateway in front of a real engine and a real registry, asked by the real OpenAI client."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
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
from daemon.serving.settings import GatewaySettings
from registry import NewCheckRun, Registry
from tests.serving_parts import CONTEXT, free_port, learn, serving, wait_until

NEUTRAL = "Please tell me what you had for breakfast today. " * 4  # 196 tokens
MENTION = f"{NEUTRAL} And who is Varn Oslith?"
HTTP = httpx2.Client(timeout=30, trust_env=False)  # one for all: making one costs more than most of these tests
WISH: dict[str, Any] = {"max_tokens": 16, "temperature": 0, "extra_body": {"ignore_eos": True}}


@dataclass(frozen=True)
class World:
    registry: Registry
    generator: Generator
    engine: EngineClient
    url: str

    def ask(self, model: str, prompt: Any, **more: Any) -> tuple[str, str, str]:
        """The answer's text, the version that gave it and why."""
        wish = {"model": model, "prompt": prompt, "max_tokens": 8, "temperature": 0, "ignore_eos": True, **more}
        answer = HTTP.post(f"{self.url}/v1/completions", json=wish)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-lorefeed-model"] == model
        return answer.json()["choices"][0]["text"], answer.headers["x-lorefeed-adapter"], answer.headers["x-lorefeed-scope"]

    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def engine(model_dir: Path) -> Iterator[tuple[Generator, str]]:
    with Generator(model_dir, dtype=torch.float32) as generator, serving(create_engine(generator, served_name="tiny", root="tiny")) as url:
        yield generator, url


def two_versions(home: Path, folders: dict[int, Path]) -> Registry:
    """The alias `news` serves news@2, promoted after news@1."""
    registry = Registry.open(home)
    first = learn(registry, topic="news", entities=["Varn Oslith"], folder=folders[1])
    registry.write.promote("news", first.name, actor="test", reason=None)
    second = learn(registry, topic="news", entities=["Mirel Tasch"], folder=folders[2], rehearsed=first.definitions)
    registry.write.promote("news", second.name, actor="test", reason=None)
    return registry


@contextlib.contextmanager
def gateway_world(registry: Registry, engine: tuple[Generator, str]) -> Iterator[World]:
    generator, engine_url = engine
    gateway = create_gateway(registry, engine_url=engine_url, base_name="tiny", settings=GatewaySettings(max_concurrent=3))
    with serving(gateway) as url, EngineClient(engine_url) as client:
        yield World(registry=registry, generator=generator, engine=client, url=url)
        wait_until(lambda: generator.active_answers() == 0)
        for card in client.models()[1:]:
            client.unload(card.name)


@pytest.fixture
def registry(tmp_path: Path, folders: dict[int, Path]) -> Iterator[Registry]:
    with two_versions(tmp_path / "home", folders) as registry:
        yield registry


@pytest.fixture
def world(registry: Registry, engine: tuple[Generator, str]) -> Iterator[World]:
    with gateway_world(registry, engine) as world:
        yield world


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, folders: dict[int, Path], engine: tuple[Generator, str]) -> Iterator[World]:
    """A world shared by the tests that change nothing in it."""
    with two_versions(tmp_path_factory.mktemp("quiet"), folders) as registry, gateway_world(registry, engine) as world:
        yield world


def test_a_name_is_answered_by_the_version_it_stands_for(world: World) -> None:
    world.registry.write.set_alias("news", topics=["news"], scope="always")
    alias, first, second, base = (world.ask(name, NEUTRAL) for name in ("news", "news@1", "news@2", "base"))
    assert (alias[1:], first[1:], second[1:], base[1:]) == (
        ("news@2", "always"),
        ("news@1", "pinned"),
        ("news@2", "pinned"),
        ("base", "base"),
    )
    assert alias[0] == second[0]
    assert len({first[0], second[0], base[0]}) == 3
    assert world.ask("tiny", NEUTRAL)[0] == base[0]


def test_the_adapter_answers_only_when_something_learnt_is_named(world: World) -> None:
    base, second = world.ask("base", NEUTRAL), world.ask("news@2", MENTION)
    assert world.ask("news", NEUTRAL) == (base[0], "base", "no-mention")
    assert world.ask("news", MENTION) == (second[0], "news@2", "mentioned:Varn Oslith")
    assert world.ask("news", "the MIREL tasch’s")[1:] == ("news@2", "mentioned:Mirel Tasch")
    assert world.ask("news", ["one", MENTION])[1] == "news@2"
    assert world.ask("news", [1, 2, 3])[1:] == ("base", "no-mention")


def test_a_mention_anywhere_in_the_chat_counts(world: World) -> None:
    turns = [{"role": "user", "content": MENTION}, {"role": "assistant", "content": "Hm."}, {"role": "user", "content": "Tell me more."}]
    with world.openai() as client:
        raw = client.chat.completions.with_raw_response.create(model="news", messages=turns, **WISH)
        assert raw.headers["x-lorefeed-scope"] == "mentioned:Varn Oslith"
        parts = [{"role": "user", "content": [{"type": "text", "text": MENTION}]}]
        whole = client.chat.completions.create(model="news", messages=parts, **WISH).choices[0].message.content
        chunks = list(client.chat.completions.create(model="news", messages=parts, stream=True, **WISH))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
        other = client.chat.completions.with_raw_response.create(model="news", messages=turns[1:], **WISH)
        assert other.headers["x-lorefeed-adapter"] == "base"


def test_a_rollback_counts_from_the_next_request_while_a_stream_ends_on_its_version(world: World) -> None:
    world.registry.write.set_alias("news", topics=["news"], scope="always")
    wish = {"prompt": NEUTRAL, "max_tokens": 300, "temperature": 0, "extra_body": {"ignore_eos": True}}
    with world.openai() as client:
        expected = {name: client.completions.create(model=name, **wish).choices[0].text for name in ("news@1", "news@2")}
        stream = client.completions.create(model="news", stream=True, **wish)
        begun = next(stream).choices[0].text
        world.registry.write.rollback("news", to=None, actor="test", reason="wrong")
        world.generator.unload_adapter("news@2")  # the worst that reconcile could do at this moment
        assert HTTP.get(f"{world.url}/lorefeed/inflight").json() == {"inflight": {"news@2": 1}, "total": 1}
        after = world.ask("news", NEUTRAL)
        assert HTTP.get(f"{world.url}/lorefeed/inflight").json()["inflight"] == {"news@2": 1}, "the stream must still be running"
        assert (after[0], after[1]) == (expected["news@1"][: len(after[0])], "news@1")
        assert begun + "".join(chunk.choices[0].text for chunk in stream) == expected["news@2"]
    assert expected["news@1"] != expected["news@2"]
    wait_until(lambda: HTTP.get(f"{world.url}/lorefeed/inflight").json()["total"] == 0)


def test_rolled_back_to_nothing_the_alias_is_the_base(world: World) -> None:
    world.registry.write.rollback("news", to=None, actor="test", reason="wrong")
    world.registry.write.rollback("news", to=None, actor="test", reason="wrong too")
    assert world.ask("news", MENTION) == (world.ask("base", MENTION)[0], "base", "base")


def test_an_adapter_that_the_engine_lost_is_loaded_again(world: World) -> None:
    assert [card.name for card in world.engine.models()] == ["tiny"]
    expected = world.ask("news", MENTION)
    world.engine.unload("news@2")
    answers = [world.ask("news", MENTION) for _ in range(2)]
    assert answers == [expected, expected]
    assert [card.name for card in world.engine.models()] == ["tiny", "news@2"]


def test_a_damaged_adapter_is_a_503_that_names_it(world: World) -> None:
    weights = world.registry.artifacts.path(world.registry.read.adapter("news@2")) / "adapter_model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"x")
    answer = HTTP.post(f"{world.url}/v1/completions", json={"model": "news", "prompt": MENTION})
    assert answer.status_code == 503
    assert "2-" in answer.json()["error"]["message"]
    assert "adapter_model.safetensors" in answer.json()["error"]["message"]
    assert answer.headers["x-lorefeed-adapter"] == "news@2"
    assert world.ask("news", NEUTRAL)[1] == "base"


def test_an_engine_that_is_down_is_a_503_that_names_it(registry: Registry) -> None:
    engine_url = f"http://127.0.0.1:{free_port()}"
    with serving(create_gateway(registry, engine_url=engine_url, base_name="tiny", settings=GatewaySettings())) as url:
        for stream in (False, True):
            answer = HTTP.post(f"{url}/v1/completions", json={"model": "news", "prompt": MENTION, "stream": stream})
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert engine_url in answer.json()["error"]["message"]
        ready = HTTP.get(f"{url}/readyz")
        assert (ready.status_code, list(ready.json()["problems"])) == (503, ["engine"])
        assert HTTP.get(f"{url}/healthz").status_code == 200
        assert "does not answer" in HTTP.get(f"{url}/ui/").text
        assert [card["id"] for card in HTTP.get(f"{url}/v1/models").json()["data"]] == ["tiny", "base", "news"]


def test_models_lists_what_can_be_asked_for(world: World) -> None:
    world.ask("news@1", NEUTRAL)
    with world.openai() as client:
        assert [model.id for model in client.models.list()] == ["tiny", "base", "news", "news@1"]
    assert HTTP.get(f"{world.url}/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize(
    "name",
    [
        "nothing",
        "news@3",
        "news@0",
        "../../etc/passwd",
        "/etc",
        "news@2/../x",
        "news\n",
        "ñews",
        "x" * 5000,
        "a b",
        "\ud800",
        "<script>",
        "@1",
        "news@",
    ],
)
def test_a_name_that_is_not_served_is_a_404_that_lists_what_is(quiet: World, name: str) -> None:
    body = json.dumps({"model": name, "prompt": "x"})
    answer = HTTP.post(f"{quiet.url}/v1/completions", content=body)
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].endswith("There is: tiny, base, news, news@2")
    assert len(answer.text) < 400


def test_a_refused_adapter_cannot_be_asked(world: World, folders: dict[int, Path]) -> None:
    adapter = world.registry.write.begin_adapter(
        "news", parent=None, method="m", base_model="t", base_digest="b", rank=4, definitions=[], rehearsed=[], settings={}
    )
    digest = world.registry.artifacts.copy_in(folders[1], adapter_name=adapter.name, manifest={})
    world.registry.write.finish_learning(adapter.name, digest=digest)
    refusal = NewCheckRun(digest=digest, base_digest="b", verdict="refused", reasons=("skills fell by 40 points",))
    world.registry.write.record_check(adapter.name, refusal, [])
    answer = HTTP.post(f"{world.url}/v1/completions", json={"model": "news@3", "prompt": "x"})
    assert answer.status_code == 404
    assert "skills fell by 40 points" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[1]", 400),
        (b'"x"', 400),
        (b"[" * 100_000, 400),
        (b"\xff\xfe", 400),
        (b'{"prompt": "x"}', 400),
        (b'{"model": 7, "prompt": "x"}', 400),
        (b'{"model": "base", "prompt": "x", "temperature": NaN}', 400),
        (b'{"model": "base", "prompt": "\\ud800"}', 400),
        (b'{"model": "base", "prompt": "' + b"x" * (1 << 20) + b'"}', 413),
    ],
)
def test_a_bad_body_is_refused(quiet: World, content: bytes, status: int) -> None:
    answer = HTTP.post(f"{quiet.url}/v1/completions", content=content)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_body_without_a_length_is_capped_too(quiet: World) -> None:
    chunks = (b"x" * 65536 for _ in range(40))
    assert HTTP.post(f"{quiet.url}/v1/completions", content=chunks).status_code == 413


def test_the_engines_own_refusals_pass_through(quiet: World) -> None:
    answer = HTTP.post(f"{quiet.url}/v1/completions", json={"model": "base", "prompt": "y" * 3000})
    assert answer.status_code == 400
    assert f"{CONTEXT} tokens" in answer.json()["error"]["message"]
    assert "3000 tokens" in answer.json()["error"]["message"]


def test_a_client_that_leaves_cancels_the_engine(quiet: World) -> None:
    wish = {"model": "base", "prompt": "x", "max_tokens": 2000, "temperature": 0, "extra_body": {"ignore_eos": True}}
    with quiet.openai() as client:
        stream = client.completions.create(**wish, stream=True)
        next(stream)
        assert quiet.generator.active_answers() == 1
        stream.close()
        wait_until(lambda: quiet.generator.active_answers() == 0, timeout_s=1.5)
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.3).completions.create(**wish)
        wait_until(lambda: quiet.generator.active_answers() == 0, timeout_s=1.5)
    wait_until(lambda: HTTP.get(f"{quiet.url}/lorefeed/inflight").json()["total"] == 0)


def test_more_answers_than_allowed_are_asked_to_wait(quiet: World) -> None:
    wish = {"model": "base", "prompt": "x", "max_tokens": 1500, "temperature": 0, "stream": True, "extra_body": {"ignore_eos": True}}
    with quiet.openai() as client:
        streams = [client.completions.create(**wish) for _ in range(3)]
        for stream in streams:
            next(stream)
        with pytest.raises(openai.RateLimitError, match="3 answers"):
            client.completions.create(**wish)
        for stream in streams:
            stream.close()
        wait_until(lambda: HTTP.get(f"{quiet.url}/lorefeed/inflight").json()["total"] == 0)
    assert quiet.ask("base", "x")[1] == "base"


def test_metrics_count_by_model_adapter_and_status(world: World) -> None:
    world.ask("news", MENTION)
    world.ask("news", NEUTRAL)
    HTTP.post(f"{world.url}/v1/completions", json={"model": "hostile\nname", "prompt": "x"})
    wait_until(lambda: HTTP.get(f"{world.url}/lorefeed/inflight").json()["total"] == 0)
    text = HTTP.get(f"{world.url}/metrics").text
    assert 'lorefeed_requests_total{adapter="news@2",model="news",status="200"} 1.0' in text
    assert 'lorefeed_requests_total{adapter="base",model="news",status="200"} 1.0' in text
    assert 'lorefeed_requests_total{adapter="none",model="unknown",status="404"} 1.0' in text
    assert 'lorefeed_request_seconds_count{adapter="news@2",model="news"} 1.0' in text
    assert "hostile" not in text


def test_many_at_once_each_get_their_own_versions_answer(world: World) -> None:
    expected = {name: world.ask(name, NEUTRAL) for name in ("news@1", "news@2", "base")}
    got: list[tuple[str, tuple[str, str, str]]] = []

    def ask(name: str) -> None:
        for _ in range(2):
            got.append((name, world.ask(name, NEUTRAL)))

    threads = [threading.Thread(target=ask, args=(name,)) for name in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(got) == 6
    assert all(expected[name] == answer for name, answer in got)


def test_an_open_bind_needs_a_key(registry: Registry) -> None:
    for host in ("0.0.0.0", "192.168.1.4", "example.org", "::"):
        with pytest.raises(UnsafeBind, match="API key"):
            create_gateway(registry, engine_url="http://127.0.0.1:1", base_name="tiny", settings=GatewaySettings(host=host))
        create_gateway(registry, engine_url="http://127.0.0.1:1", base_name="tiny", settings=GatewaySettings(host=host, api_key="k"))
    assert "geheim" not in repr(GatewaySettings(api_key="geheim"))


def test_with_a_key_only_its_holders_come_in(registry: Registry) -> None:
    settings = GatewaySettings(api_key="pass:wörd")
    with serving(create_gateway(registry, engine_url=f"http://127.0.0.1:{free_port()}", base_name="tiny", settings=settings)) as url:
        assert HTTP.get(f"{url}/lorefeed/inflight").json()["total"] == 0, "garbage collection on this machine has no key"
        assert HTTP.get(f"{url}/lorefeed/inflight", headers={"Host": "evil.example"}).status_code == 401
        for path in ("/v1/models", "/metrics", "/lorefeed/admin/adapters"):
            assert HTTP.get(url + path).status_code == 401
            assert HTTP.get(url + path, headers={"Authorization": "Bearer wrong"}).status_code == 401
            assert HTTP.get(url + path, headers={"Authorization": "Basic ???"}).status_code == 401
        assert HTTP.get(f"{url}/healthz").status_code == 200
        assert HTTP.get(f"{url}/metrics", auth=("me", "pass:wörd")).status_code == 200
        bearer = {"Authorization": "Bearer pass:wörd".encode()}
        assert HTTP.get(f"{url}/v1/models", headers=bearer).status_code == 200
        assert HTTP.post(f"{url}/v1/completions", json={}).status_code == 401


def test_without_a_key_only_this_machine_is_meant(quiet: World) -> None:
    assert HTTP.get(quiet.url, headers={"Host": "evil.example"}).status_code == 421
    for host in ("localhost:1234", "[::1]:1234"):
        answer = HTTP.get(quiet.url, headers={"Host": host})
        assert (answer.status_code, answer.headers["location"]) == (307, "/ui/")
