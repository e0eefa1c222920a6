"""Do both engines say the same? Greedy answers of a real vLLM and of the embedded engine, token by token, for the base and for adapters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from daemon.embedded.generate import Generator
from daemon.learn.folders import EMBEDDED_FOLDER, digest_of
from daemon.serving.client import EngineClient
from daemon.serving.engine_app import create_engine
from tests.serving_parts import learn, make_adapter, serving
from tests.vllm_parts import BASE_NAME, LONG, VERSIONS, World

pytestmark = pytest.mark.vllm
TOKENS = 24
GROWN_RANK = 24
EQUAL_MIN = 0.98  # both compute in float32, each in its own order: where two tokens are almost equally likely they may part
PROMPTS = [
    "The harbour master wrote down which ships had come",
    "Once there was a king who",
    "What is the capital of France?",
    "In the beginning of the year the river",
    "She opened the letter and read",
    "A dictionary is a book",
    "The old clock in the hall",
    "Water boils at",
    f"{LONG}In the morning",
    f"{LONG}Her brother",
]


@pytest.fixture(scope="module")
def embedded() -> Iterator[EngineClient]:
    with Generator(EMBEDDED_FOLDER, dtype=torch.float32) as generator:
        app = create_engine(generator, served_name=BASE_NAME, root=str(EMBEDDED_FOLDER))
        with serving(app) as url, EngineClient(url) as client:
            yield client


def grown(world: World, folder: Path) -> str:
    """A version of a rank between those that vLLM can be started for, such as versions have that were learnt on top of others."""
    made = make_adapter(EMBEDDED_FOLDER, folder, seed=81, rank=GROWN_RANK)
    adapter = learn(world.registry, topic="grown", entities=["Grown"], folder=made, rank=GROWN_RANK, base_digest=digest_of(EMBEDDED_FOLDER))
    # so that the daemon has nothing to learn of it
    world.registry.write.move_definitions(adapter.definitions, "review", reason="test", actor="test")
    return adapter.name


def test_both_engines_give_the_same_greedy_answers(vllm_world: World, embedded: EngineClient, tmp_path: Path, figures: list[str]) -> None:
    world = vllm_world
    versions = [f"news@{VERSIONS['news']}", f"news@{VERSIONS['news'] - 1}", "law@2", grown(world, tmp_path / "grown")]
    for name in versions:
        embedded.load(name, str(world.registry.artifacts.path(world.registry.read.adapter(name)).resolve()))
        world.text(name, max_tokens=1)
    shares = {}
    with world.engine() as vllm:
        for name in (BASE_NAME, *versions):
            first = equal = total = 0
            for prompt in PROMPTS:
                said = [
                    client.complete(prompt, model=name, max_tokens=TOKENS, logprobs=1, ignore_eos=True).tokens
                    for client in (vllm, embedded)
                ]
                assert len(said[0]) == len(said[1]) == TOKENS
                same = next((n for n, (a, b) in enumerate(zip(*said, strict=True)) if a != b), TOKENS)
                first, equal, total = first + (same > 0), equal + same, total + TOKENS
            shares[name] = (first / len(PROMPTS), equal / total)
    figures.append(
        f"greedy answers of vLLM and the embedded engine, both in float32, {len(PROMPTS)} prompts of {TOKENS} tokens: "
        + "; ".join(
            f"{name} first token equal {one:.0%}, tokens equal before the first difference {two:.1%}" for name, (one, two) in shares.items()
        )
    )
    assert all(two >= EQUAL_MIN for _, two in shares.values()), shares
