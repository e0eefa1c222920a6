"""One contract, two engines: what reconcile and the gateway rely on holds for the embedded engine and for a real vLLM alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import torch

from daemon.embedded.generate import Generator
from daemon.learn.folders import EMBEDDED_FOLDER
from daemon.serving.client import EngineClient
from daemon.serving.engine_app import create_engine
from daemon.serving.errors import AdapterRefused, ModelUnknown, PromptRefused
from tests.serving_parts import make_adapter, serving
from tests.vllm_parts import BASE_NAME, LONG, RANK

CONTEXT = 512  # tokens
HTTP = httpx2.Client(timeout=120, trust_env=False)


@dataclass(frozen=True)
class Engine:
    """An engine that serves the embedded model, and two adapters that no registry knows, so that nobody else moves them."""

    url: str
    adapters: dict[str, Path]

    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("contract")
    return {f"contract@{n}": make_adapter(EMBEDDED_FOLDER, root / str(n), seed=n, rank=RANK) for n in (1, 2)}


def embedded(generator: Generator) -> AbstractContextManager[str]:
    return serving(create_engine(generator, served_name=BASE_NAME, root=str(EMBEDDED_FOLDER)))


@pytest.fixture(scope="module", params=["embedded", pytest.param("vllm", marks=pytest.mark.vllm)])
def engine(request: pytest.FixtureRequest, adapters: dict[str, Path]) -> Iterator[Engine]:
    if request.param == "vllm":
        yield Engine(request.getfixturevalue("vllm_world").engine_url, adapters)
        return
    with Generator(EMBEDDED_FOLDER, dtype=torch.float32) as generator, embedded(generator) as url:
        yield Engine(url, adapters)


@pytest.fixture
def client(engine: Engine) -> Iterator[EngineClient]:
    with EngineClient(engine.url) as client:
        yield client
        for card in client.models()[1:]:
            if card.name in engine.adapters:
                client.unload(card.name)


@pytest.fixture
def loaded(client: EngineClient, engine: Engine) -> EngineClient:
    for name, path in engine.adapters.items():
        client.load(name, str(path))
    return client


def test_models_are_listed_with_root_and_parent(client: EngineClient, engine: Engine) -> None:
    assert client.healthy()
    name, path = next(iter(engine.adapters.items()))
    client.load(name, str(path))
    base, *others = client.models()
    assert (base.name, base.parent) == (BASE_NAME, None)
    assert [(c.root, c.parent) for c in others if c.name == name] == [(str(path), BASE_NAME)]
    client.unload(name)
    client.unload(name)
    assert name not in [card.name for card in client.models()]


def test_loading_twice_is_refused_by_the_engine_and_done_for_the_client(loaded: EngineClient, engine: Engine) -> None:
    name, path = next(iter(engine.adapters.items()))
    loaded.load(name, str(path))
    again = HTTP.post(f"{engine.url}/v1/load_lora_adapter", json={"lora_name": name, "lora_path": str(path)})
    assert again.status_code == 400
    assert "already been loaded" in again.text
    gone = HTTP.post(f"{engine.url}/v1/unload_lora_adapter", json={"lora_name": "contract@9"})
    assert gone.status_code == 404


def test_adapters_answer_under_their_own_names(loaded: EngineClient, engine: Engine) -> None:
    names = (BASE_NAME, *engine.adapters)
    for _ in range(2):
        answers = {name: loaded.complete(LONG, model=name, max_tokens=16, ignore_eos=True).text for name in names}
        assert len(set(answers.values())) == 3
    chats = {loaded.chat([{"role": "user", "content": LONG}], model=name, max_tokens=16, ignore_eos=True).text for name in names}
    assert len(chats) == 3


def test_a_version_loaded_again_answers_as_before(loaded: EngineClient, engine: Engine) -> None:
    name, path = next(iter(engine.adapters.items()))
    before = loaded.complete(LONG, model=name, max_tokens=16, ignore_eos=True).text
    loaded.unload(name)
    with pytest.raises(ModelUnknown):
        loaded.complete(LONG, model=name)
    loaded.load(name, str(path))
    assert loaded.complete(LONG, model=name, max_tokens=16, ignore_eos=True).text == before


def test_the_openai_client_streams_what_it_would_get_whole(loaded: EngineClient, engine: Engine) -> None:
    wish: dict[str, Any] = {"prompt": LONG, "max_tokens": 24, "temperature": 0, "extra_body": {"ignore_eos": True}}
    with engine.openai() as client:
        for model in (BASE_NAME, *engine.adapters):
            whole = client.completions.create(model=model, **wish)
            chunks = list(client.completions.create(model=model, **wish, stream=True, stream_options={"include_usage": True}))
            assert "".join(c.choices[0].text for c in chunks if c.choices) == whole.choices[0].text
            assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason == "length"
            assert (chunks[-1].choices, chunks[-1].usage.completion_tokens) == ([], 24)


def test_the_openai_client_streams_chat(loaded: EngineClient, engine: Engine) -> None:
    wish: dict[str, Any] = {"messages": [{"role": "user", "content": LONG}], "max_completion_tokens": 20, "temperature": 0}
    more = {"extra_body": {"ignore_eos": True}}
    with engine.openai() as client:
        whole = client.chat.completions.create(model="contract@1", **wish, **more)
        chunks = list(client.chat.completions.create(model="contract@1", **wish, stream=True, **more))
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.choices[0].message.content


def test_the_stream_is_server_sent_events_as_openai_writes_them(engine: Engine) -> None:
    wish = {"model": BASE_NAME, "prompt": "abc", "max_tokens": 3, "temperature": 0, "stream": True, "ignore_eos": True}
    answer = HTTP.post(f"{engine.url}/v1/completions", json=wish)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith("data: {") for event in events[:-2])


def test_several_prompts_are_answered_in_order(engine: Engine) -> None:
    wish: dict[str, Any] = {"model": BASE_NAME, "max_tokens": 8, "temperature": 0, "extra_body": {"ignore_eos": True}}
    prompts = ["One is", LONG, "The third of them"]
    with engine.openai() as client:
        together = client.completions.create(prompt=prompts, **wish)
        alone = [client.completions.create(prompt=p, **wish).choices[0].text for p in prompts]
    assert [choice.text for choice in together.choices] == alone


def test_logprobs_come_in_both_forms(engine: Engine) -> None:
    extra = {"ignore_eos": True}
    with engine.openai() as client:
        plain = client.completions.create(model=BASE_NAME, prompt="The sea", max_tokens=4, temperature=0, logprobs=1, extra_body=extra)
        said = plain.choices[0].logprobs
        assert len(said.tokens) == len(said.token_logprobs) == len(said.text_offset) == 4
        assert all(value <= 0 for value in said.token_logprobs)
        wish = {"messages": [{"role": "user", "content": "The sea"}], "max_tokens": 4, "logprobs": True, "top_logprobs": 2}
        chat = client.chat.completions.create(model=BASE_NAME, **wish, extra_body=extra)
    assert [len(token.top_logprobs) for token in chat.choices[0].logprobs.content] == [2] * 4


@pytest.mark.parametrize("name", ["contract@9", "../etc/passwd", "/etc", "contract@1/../x"])
def test_an_unknown_model_is_a_404_in_openais_form(client: EngineClient, engine: Engine, name: str) -> None:
    with engine.openai() as asked, pytest.raises(openai.NotFoundError, match="does not exist"):
        asked.completions.create(model=name, prompt="x")
    with pytest.raises(ModelUnknown):
        client.complete("x", model=name)


def test_a_prompt_longer_than_the_context_is_refused(client: EngineClient) -> None:
    with pytest.raises(PromptRefused, match=str(CONTEXT)):
        client.complete("one two three " * CONTEXT, model=BASE_NAME)
    with pytest.raises(PromptRefused, match=str(CONTEXT)):
        client.chat([{"role": "user", "content": "one two three " * CONTEXT}], model=BASE_NAME)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"model": "lorefeed-embedded"}', '{"model": "lorefeed-embedded", "prompt": "x", "max_tokens": 0}']
)
def test_a_bad_request_is_a_400_and_nothing_else(engine: Engine, content: str) -> None:
    answer = HTTP.post(f"{engine.url}/v1/completions", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert json.loads(answer.text)


def test_what_cannot_be_loaded_is_refused_and_the_engine_lives(loaded: EngineClient, adapters: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "adapter_config.json").write_text("no JSON")
    good = str(adapters["contract@1"])
    for name, path in [
        (BASE_NAME, good),
        ("contract@3", "relative/path"),
        ("contract@3", str(tmp_path / "nowhere")),
        ("contract@3", str(tmp_path / "empty")),
        ("contract@3", str(tmp_path / "odd")),
        ("", good),
    ]:
        with pytest.raises(AdapterRefused):
            loaded.load(name, path)
    assert loaded.healthy()
    assert "contract@3" not in [card.name for card in loaded.models()]
    assert loaded.complete(LONG, model="contract@1", max_tokens=4).text is not None
