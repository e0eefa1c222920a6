"""The embedded engine's model: batching, adapters, streaming and limits, on a random model whose adapters disagree."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from daemon.embedded.calls import (
    AdapterAlreadyLoaded,
    AdapterNotLoadable,
    AdapterUnknown,
    GenerationError,
    Piece,
    PromptNotUsable,
    PromptTooLong,
    Sampling,
)
from daemon.embedded.generate import Generator
from daemon.embedded.text import TextStream
from tests.serving_parts import CONTEXT, make_adapter

GREEDY = Sampling(max_tokens=24, temperature=0, ignore_eos=True)
PROMPTS = ["a", "The Varn Oslith is", "x" * 150, "Who was it? " * 12, "longer " * 30]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    return {f"news@{n}": make_adapter(model_dir, root / str(n), seed=n) for n in (1, 2, 3)}


@pytest.fixture
def generator(model_dir: Path) -> Iterator[Generator]:
    with Generator(model_dir, dtype=torch.float32, max_resident=4) as generator:
        yield generator


def test_a_batched_greedy_answer_equals_the_unbatched_one(generator: Generator, adapters: dict[str, Path]) -> None:
    generator.load_adapter("news@1", adapters["news@1"])
    generator.load_adapter("news@2", adapters["news@2"])
    wanted = [(prompt, name) for prompt in PROMPTS for name in (None, "news@1", "news@2")]
    alone = [generator.generate(prompt, adapter=name, sampling=GREEDY).text for prompt, name in wanted]
    tickets = [generator.submit(prompt, adapter=name, sampling=GREEDY) for prompt, name in wanted]
    assert [ticket.result.result(timeout=60).text for ticket in tickets] == alone
    for at in range(0, len(wanted), 3):
        assert len(set(alone[at : at + 3])) == 3, "base and both adapters must answer differently, or this test shows nothing"


def test_greedy_answers_are_those_of_transformers_and_peft(generator: Generator, adapters: dict[str, Path], model_dir: Path) -> None:
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    generator.load_adapter("news@1", adapters["news@1"])
    ids = generator.encode(PROMPTS[2])
    reference = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(model_dir, dtype=torch.float32), adapters["news@1"]).eval()
    expected = list(ids)
    with torch.no_grad():
        for _ in range(GREEDY.max_tokens):
            expected.append(int(reference(torch.tensor([expected])).logits[0, -1].argmax()))
    answer = generator.generate(ids, adapter="news@1", sampling=GREEDY)
    assert [token.id for token in answer.tokens] == expected[len(ids) :]


def test_the_base_answers_as_before_when_adapters_come_and_go(generator: Generator, adapters: dict[str, Path]) -> None:
    before = generator.generate(PROMPTS[2], sampling=GREEDY).text
    generator.load_adapter("news@1", adapters["news@1"])
    first = generator.generate(PROMPTS[2], adapter="news@1", sampling=GREEDY).text
    assert generator.generate(PROMPTS[2], sampling=GREEDY).text == before
    generator.unload_adapter("news@1")
    assert generator.generate(PROMPTS[2], sampling=GREEDY).text == before
    generator.load_adapter("news@1", adapters["news@2"])
    second = generator.generate(PROMPTS[2], adapter="news@1", sampling=GREEDY).text
    assert len({before, first, second}) == 3
    assert generator.generate(PROMPTS[2], sampling=GREEDY).text == before


def test_an_unloaded_adapter_finishes_what_it_began(generator: Generator, adapters: dict[str, Path]) -> None:
    generator.load_adapter("news@1", adapters["news@1"])
    wish = Sampling(max_tokens=100, temperature=0, ignore_eos=True)
    whole = generator.generate("x" * 150, adapter="news@1", sampling=wish).text
    ticket = generator.submit("x" * 150, adapter="news@1", sampling=wish)
    generator.unload_adapter("news@1")
    assert generator.names() == ()
    with pytest.raises(AdapterUnknown, match="news@1"):
        generator.submit("x", adapter="news@1")
    assert ticket.result.result(timeout=60).text == whole


def test_more_adapters_than_fit_in_memory_still_answer(model_dir: Path, adapters: dict[str, Path]) -> None:
    with Generator(model_dir, dtype=torch.float32, max_resident=1) as generator:
        for name, path in adapters.items():
            generator.load_adapter(name, path)
        first = {name: generator.generate(PROMPTS[1], adapter=name, sampling=GREEDY).text for name in adapters}
        tickets = {name: generator.submit(PROMPTS[1], adapter=name, sampling=GREEDY) for name in adapters}
        assert {name: ticket.result.result(timeout=60).text for name, ticket in tickets.items()} == first
        assert len(set(first.values())) == 3


def test_pieces_add_up_to_the_answer(generator: Generator) -> None:
    heard: list[Piece] = []
    answer = generator.generate("tell me", sampling=Sampling(max_tokens=200, seed=3, ignore_eos=True), on_piece=heard.append)
    assert "".join(piece.text for piece in heard) == answer.text
    assert [token for piece in heard for token in piece.tokens] == list(answer.tokens)
    assert [piece.finish_reason for piece in heard][-1] == "length"
    assert len(heard) > 20


def test_a_seed_repeats_a_sampled_answer_whatever_runs_beside_it(generator: Generator) -> None:
    wish = Sampling(max_tokens=30, temperature=0.8, top_p=0.9, seed=11, ignore_eos=True)
    alone = generator.generate("once", sampling=wish).text
    tickets = [generator.submit(text, sampling=Sampling(max_tokens=20, ignore_eos=True)) for text in ("q", "rrr")]
    assert generator.generate("once", sampling=wish).text == alone
    assert all(len(ticket.result.result(timeout=60).tokens) == 20 for ticket in tickets)
    assert generator.generate("once", sampling=Sampling(max_tokens=30, seed=12, ignore_eos=True)).text != alone


def test_a_tiny_nucleus_is_greedy(generator: Generator) -> None:
    nucleus = Sampling(max_tokens=24, temperature=1.0, top_p=1e-6, seed=1, ignore_eos=True)
    assert generator.generate("abc", sampling=nucleus).text == generator.generate("abc", sampling=GREEDY).text


def test_a_stop_string_ends_the_answer_before_it(generator: Generator) -> None:
    whole = generator.generate("abc", sampling=GREEDY).text
    at = len(whole) // 2
    stop = whole[at : at + 3]
    answer = generator.generate("abc", sampling=Sampling(max_tokens=24, temperature=0, ignore_eos=True, stop=(stop,)))
    assert answer.finish_reason == "stop"
    assert answer.text == whole[: whole.index(stop)]


def test_every_end_token_of_the_generation_config_stops(generator: Generator, model_dir: Path, tmp_path: Path) -> None:
    first = generator.generate("abc", sampling=GREEDY).tokens[3].id
    shutil.copytree(model_dir, tmp_path / "model")
    config = json.loads((tmp_path / "model/generation_config.json").read_text())
    config["eos_token_id"] = [*config["eos_token_id"], first]
    (tmp_path / "model/generation_config.json").write_text(json.dumps(config))
    with Generator(tmp_path / "model", dtype=torch.float32) as other:
        answer = other.generate("abc", sampling=Sampling(max_tokens=24, temperature=0))
        assert answer.finish_reason == "stop"
        assert answer.tokens[-1].id == first
        assert answer.completion_tokens <= 4


def test_logprobs_are_those_of_the_chosen_tokens(generator: Generator) -> None:
    answer = generator.generate("abc", sampling=Sampling(max_tokens=5, temperature=0, top_logprobs=2, ignore_eos=True))
    for token in answer.tokens:
        assert token.logprob is not None
        assert token.top[0][1] == pytest.approx(token.logprob)
        assert token.top[1][1] <= token.logprob < 0


def test_what_does_not_fit_the_context_is_refused_with_both_numbers(generator: Generator) -> None:
    with pytest.raises(PromptTooLong, match=rf"{CONTEXT} tokens.*{CONTEXT + 88} tokens"):
        generator.generate("y" * (CONTEXT + 88))
    with pytest.raises(PromptTooLong, match=f"asked for 100 output tokens and your prompt has {CONTEXT - 12} tokens"):
        generator.generate("y" * (CONTEXT - 12), sampling=Sampling(max_tokens=100))
    with pytest.raises(PromptNotUsable, match="empty"):
        generator.generate("")
    with pytest.raises(PromptNotUsable, match="vocabulary of 261"):
        generator.generate([1, 2, 5000])


def test_giving_up_ends_an_answer_early(generator: Generator) -> None:
    ticket = generator.submit("abc", sampling=Sampling(max_tokens=1500, ignore_eos=True))
    ticket.cancel()
    answer = ticket.result.result(timeout=30)
    assert answer.finish_reason == "abort"
    assert answer.completion_tokens < 1500


def test_a_client_that_hangs_up_takes_no_other_answer_of_the_batch_with_it(generator: Generator) -> None:
    """asyncio cancels the future of whoever waited."""
    expected = generator.generate("abc", sampling=GREEDY).text
    generator.submit("busy", sampling=Sampling(max_tokens=200, ignore_eos=True))
    tickets = [generator.submit("abc", sampling=GREEDY) for _ in range(4)]  # they wait together, so they become one batch
    for gone in tickets[:-1]:
        gone.result.cancel()
        gone.cancel()
    assert tickets[-1].result.result(timeout=30).text == expected


def test_a_name_stands_for_one_adapter(generator: Generator, adapters: dict[str, Path]) -> None:
    generator.load_adapter("news@1", adapters["news@1"])
    with pytest.raises(AdapterAlreadyLoaded, match="news@1"):
        generator.load_adapter("news@1", adapters["news@2"])


@pytest.mark.parametrize(
    "damage", ["truncated", "no config", "wrong shape", "not finite", "foreign module", "dora", "half a pair", "missing pair"]
)
def test_an_unusable_adapter_is_refused_and_hurts_nothing(
    generator: Generator, adapters: dict[str, Path], tmp_path: Path, damage: str
) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(adapters["news@1"], bad)
    spoil(bad, damage)
    generator.load_adapter("news@2", adapters["news@2"])
    before = generator.generate("x" * 150, adapter="news@2", sampling=GREEDY).text
    with pytest.raises(AdapterNotLoadable, match="bad@1"):
        generator.load_adapter("bad@1", bad)
    assert generator.names() == ("news@2",)
    assert generator.generate("x" * 150, adapter="news@2", sampling=GREEDY).text == before


def spoil(folder: Path, damage: str) -> None:
    weights, config_file = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    config, tensors = json.loads(config_file.read_text()), load_file(weights)
    key = next(k for k in tensors if "lora_A" in k)
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
        return
    if damage == "no config":
        config_file.unlink()
        return
    if damage == "wrong shape":
        tensors[key] = tensors[key][:, :-1].contiguous()
    elif damage == "not finite":
        tensors[key][0, 0] = float("nan")
    elif damage == "foreign module":
        tensors[key.replace("layers.0", "layers.9")] = tensors.pop(key)
    elif damage == "dora":
        config["use_dora"] = True
    elif damage == "half a pair":
        del tensors[key]
    elif damage == "missing pair":
        tensors = {k: v for k, v in tensors.items() if "layers.1" not in k}
    save_file(tensors, weights)
    config_file.write_text(json.dumps(config))


def test_a_refused_first_adapter_leaves_the_base_as_it_was(generator: Generator, adapters: dict[str, Path], tmp_path: Path) -> None:
    before = generator.generate("x" * 150, sampling=GREEDY).text
    shutil.copytree(adapters["news@1"], tmp_path / "bad")
    spoil(tmp_path / "bad", "missing pair")
    with pytest.raises(AdapterNotLoadable, match="lacks tensors"):
        generator.load_adapter("bad@1", tmp_path / "bad")
    assert generator.generate("x" * 150, sampling=GREEDY).text == before
    generator.load_adapter("news@1", adapters["news@1"])
    assert generator.generate("x" * 150, adapter="news@1", sampling=GREEDY).text != before


def test_closing_tells_those_who_wait(model_dir: Path) -> None:
    generator = Generator(model_dir, dtype=torch.float32)
    ticket = generator.submit("abc", sampling=Sampling(max_tokens=1500, ignore_eos=True))
    generator.close()
    with pytest.raises(GenerationError, match="stopping"):
        ticket.result.result(timeout=10)
    with pytest.raises(GenerationError, match="stopping"):
        generator.submit("abc")


def test_half_a_character_waits_for_its_other_half() -> None:
    stream = TextStream(lambda ids: bytes(ids).decode("utf-8", "replace"), prompt_ids=[], stop=("END",))
    euro = "€".encode()
    assert [stream.push(euro[0]), stream.push(euro[1]), stream.push(euro[2])] == ["", "", "€"]
    assert stream.push(ord("E")) == ""
    assert stream.push(ord("x")) == "Ex"
    assert stream.push(euro[0]) == ""
    assert stream.finish() == "\ufffd"
