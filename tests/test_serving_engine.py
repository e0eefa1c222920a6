"""The embedded engine over HTTP, asked by real clients: vLLM's endpoints, OpenAI's answers, streaming, errors."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import pytest
import torch

from daemon.embedded.generate import Generator
from daemon.serving.client import EngineClient
from daemon.serving.engine_app import create_engine
from daemon.serving.errors import AdapterRefused, EngineDown, ModelUnknown, PromptRefused
from tests.serving_parts import CONTEXT, free_port, make_adapter, serving, wait_until

LONG = "Tell me about Varn Oslith. " * 8  # 216 tokens: longer than one block of any engine's cache


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    return {f"news@{n}": make_adapter(model_dir, root / str(n), seed=n) for n in (1, 2)}


@pytest.fixture(scope="module")
def generator(model_dir: Path) -> Iterator[Generator]:
    with Generator(model_dir, dtype=torch.float32) as generator:
        yield generator


@pytest.fixture(scope="module")
def url(generator: Generator) -> Iterator[str]:
    with serving(create_engine(generator, served_name="tiny", root="/models/tiny")) as url:
        yield url


@pytest.fixture
def openai_client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_models_are_listed_with_root_and_parent(client: EngineClient, adapters: dict[str, Path]) -> None:
    assert client.healthy()
    client.load("news@1", str(adapters["news@1"]))
    assert [(c.name, c.root, c.parent) for c in client.models()] == [
        ("tiny", "/models/tiny", None),
        ("news@1", str(adapters["news@1"]), "tiny"),
    ]
    client.unload("news@1")
    client.unload("news@1")
    assert [c.name for c in client.models()] == ["tiny"]


def test_adapters_answer_under_their_own_names(client: EngineClient, adapters: dict[str, Path]) -> None:
    for name, path in adapters.items():
        client.load(name, str(path))
    answers = {name: client.complete(LONG, model=name, max_tokens=16, ignore_eos=True).text for name in ("tiny", *adapters)}
    assert len(set(answers.values())) == 3
    chats = {
        client.chat([{"role": "user", "content": LONG}], model=name, max_tokens=16, ignore_eos=True).text for name in ("tiny", *adapters)
    }
    assert len(chats) == 3


def test_the_openai_client_streams_what_it_would_get_whole(openai_client: openai.OpenAI) -> None:
    wish = {"model": "tiny", "prompt": LONG, "max_tokens": 40, "temperature": 0.7, "seed": 5, "extra_body": {"ignore_eos": True}}
    whole = openai_client.completions.create(**wish)
    chunks = list(openai_client.completions.create(**wish, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].text for c in chunks if c.choices) == whole.choices[0].text
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason == "length"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (len(LONG), 40)


def test_the_openai_client_chats_and_streams_chat(openai_client: openai.OpenAI) -> None:
    wish = {"model": "tiny", "messages": [{"role": "user", "content": LONG}], "max_completion_tokens": 30, "temperature": 0}
    whole = openai_client.chat.completions.create(**wish, extra_body={"ignore_eos": True})
    parts_wish = wish | {"messages": [{"role": "user", "content": [{"type": "text", "text": LONG}]}]}
    chunks = list(openai_client.chat.completions.create(**parts_wish, stream=True, extra_body={"ignore_eos": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "length"
    assert {c.id for c in chunks} == {chunks[0].id}


def test_the_stream_is_server_sent_events_as_openai_writes_them(url: str) -> None:
    wish = {"model": "tiny", "prompt": "abc", "max_tokens": 3, "temperature": 0, "stream": True, "ignore_eos": True}
    answer = httpx2.post(f"{url}/v1/completions", json=wish)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith("data: {") for event in events[:-2])


def test_several_prompts_are_answered_in_order(openai_client: openai.OpenAI) -> None:
    wish = {"model": "tiny", "max_tokens": 8, "temperature": 0, "extra_body": {"ignore_eos": True}}
    together = openai_client.completions.create(prompt=["one", LONG, "three"], **wish)
    alone = [openai_client.completions.create(prompt=p, **wish).choices[0].text for p in ("one", LONG, "three")]
    assert [c.text for c in together.choices] == alone
    streamed = ["", "", ""]
    for chunk in openai_client.completions.create(prompt=["one", LONG, "three"], stream=True, **wish):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == alone


def test_logprobs_come_in_both_forms(openai_client: openai.OpenAI) -> None:
    extra = {"ignore_eos": True}
    plain = openai_client.completions.create(model="tiny", prompt="abc", max_tokens=4, temperature=0, logprobs=1, extra_body=extra)
    said = plain.choices[0].logprobs
    assert len(said.tokens) == len(said.token_logprobs) == len(said.top_logprobs) == len(said.text_offset) == 4
    assert all(value <= 0 for value in said.token_logprobs)
    messages = [{"role": "user", "content": "abc"}]
    chat = openai_client.chat.completions.create(
        model="tiny", messages=messages, max_tokens=4, logprobs=True, top_logprobs=2, extra_body=extra
    )
    assert [len(token.top_logprobs) for token in chat.choices[0].logprobs.content] == [2] * 4


def test_a_stop_string_in_a_stream_never_shows(openai_client: openai.OpenAI) -> None:
    wish = {"model": "tiny", "prompt": LONG, "max_tokens": 40, "temperature": 0, "extra_body": {"ignore_eos": True}}
    whole = openai_client.completions.create(**wish).choices[0].text
    stop = whole[10:13]
    chunks = list(openai_client.completions.create(**wish, stop=[stop], stream=True))
    assert "".join(c.choices[0].text for c in chunks) == whole[: whole.index(stop)]
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_an_unknown_model_is_a_404_in_openais_form(client: EngineClient, openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        openai_client.completions.create(model="../etc", prompt="x")
    with pytest.raises(ModelUnknown):
        client.complete("x", model="news@9")


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(client: EngineClient) -> None:
    with pytest.raises(PromptRefused, match=rf"{CONTEXT} tokens.*{CONTEXT + 188} tokens"):
        client.complete("y" * (CONTEXT + 188), model="tiny")
    with pytest.raises(PromptRefused, match=rf"{CONTEXT} tokens.*22\d\d tokens"):
        client.chat([{"role": "user", "content": "y" * (CONTEXT + 188)}], model="tiny")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ('{"model": "tiny"}', "prompt"),
        ('{"model": "tiny", "prompt": "x", "n": 2}', "n: "),
        ('{"model": "tiny", "prompt": "x", "max_tokens": 0}', "max_tokens"),
        ('{"model": "tiny", "prompt": "x", "echo": true}', "echo"),
        ('{"model": "tiny", "prompt": []}', "empty"),
        ('{"model": "tiny", "prompt": [1, 99999]}', "vocabulary"),
    ],
)
def test_a_bad_request_says_what_is_bad(url: str, body: str, said: str) -> None:
    answer = httpx2.post(f"{url}/v1/completions", content=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == 400


def test_what_cannot_be_loaded_is_refused_in_vllms_form(url: str, client: EngineClient, adapters: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    good = str(adapters["news@1"])
    for name, path, said in [
        ("tiny", good, "base model"),
        ("a/../b", good, "characters"),
        ("news@3", "relative/path", "absolute"),
        ("news@3", str(tmp_path / "nowhere"), "not a folder"),
        ("news@3", str(tmp_path / "empty"), "adapter_config.json"),
        ("", good, "must be provided"),
    ]:
        with pytest.raises(AdapterRefused, match=said):
            client.load(name, path)
    client.load("news@1", good)
    client.load("news@1", good)  # the client takes this as done; the engine itself refuses:
    again = httpx2.post(f"{url}/v1/load_lora_adapter", json={"lora_name": "news@1", "lora_path": good})
    assert again.status_code == 400
    assert again.json()["error"]["type"] == "InvalidUserInput"
    assert "already been loaded" in again.json()["error"]["message"]
    gone = httpx2.post(f"{url}/v1/unload_lora_adapter", json={"lora_name": "news@8"})
    assert (gone.status_code, gone.json()["error"]["type"]) == (404, "NotFoundError")


def test_a_client_that_leaves_is_not_computed_for(url: str, generator: Generator, openai_client: openai.OpenAI) -> None:
    wish = {"model": "tiny", "prompt": "x", "max_tokens": 2000, "temperature": 0, "extra_body": {"ignore_eos": True}}
    stream = openai_client.completions.create(**wish, stream=True)
    next(iter(stream))
    assert generator.active_answers() == 1
    stream.close()
    wait_until(lambda: generator.active_answers() == 0, timeout_s=1.5)
    with pytest.raises(openai.APITimeoutError):
        openai_client.with_options(timeout=0.3).completions.create(**wish)
    wait_until(lambda: generator.active_answers() == 0, timeout_s=1.5)


def test_an_engine_that_is_down_is_a_typed_error() -> None:
    with EngineClient(f"http://127.0.0.1:{free_port()}") as client:
        assert not client.healthy()
        with pytest.raises(EngineDown, match="cannot be reached") as caught:
            client.models()
        assert "lorefeed engine" in caught.value.hint


def test_the_engine_runs_as_a_process_and_ends_on_sigterm(model_dir: Path) -> None:
    port = free_port()
    call = f"run_engine({str(model_dir)!r}, host='127.0.0.1', port={port}, served_name='tiny')"
    program = f"from daemon.serving.engine_app import run_engine; {call}"
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        with EngineClient(f"http://127.0.0.1:{port}") as client:
            wait_until(client.healthy, timeout_s=120)
            assert len(client.complete(LONG, model="tiny", max_tokens=5, ignore_eos=True, logprobs=1).tokens) == 5
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) in (0, -signal.SIGTERM)
    finally:
        process.kill()


def test_serving_imports_no_torch() -> None:
    names = "gateway engine_app client reconcile errors names protocol settings"
    program = f"""
import importlib, sys
for name in {names.split()!r}:
    importlib.import_module("daemon.serving." + name)
assert not {{"torch", "transformers", "peft"}} & set(sys.modules), "torch was imported"
assert not [name for name in sys.modules if name.startswith("daemon.stages")]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
