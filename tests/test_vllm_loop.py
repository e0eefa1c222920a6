"""The whole loop on a real vLLM: a folder brings what the model has never heard of, and vLLM answers with it, proven by the check's own questions."""

from __future__ import annotations

import time

import pytest

from daemon.mentions import words
from daemon.sample.server import batches, drop_into
from daemon.serving.questions import own_questions, right
from tests.vllm_parts import World

pytestmark = pytest.mark.vllm
LEARNT_WITHIN_S = 1800.0


def test_what_a_folder_brings_is_learnt_checked_and_answered_by_vllm(vllm_world: World, figures: list[str]) -> None:
    world, items, folder = vllm_world, batches()["first"], vllm_world.home / "notes"
    drop_into(folder, items)
    world.registry.write.add_feed(str(folder), name="notes", kind="folder", topic="notes", trust="auto", interval_s=10)
    began = time.monotonic()

    def served() -> bool:
        return any(alias.name == "notes" and alias.adapter is not None for alias in world.registry.read.aliases())

    world.wait(served, timeout_s=LEARNT_WITHIN_S, every_s=1)
    adapter = world.registry.read.adapter("notes@1")
    world.wait(lambda: adapter.name in world.held(), timeout_s=120)
    took = time.monotonic() - began
    questions = own_questions(world.registry, adapter)
    with world.engine() as engine:
        as_checked = right(engine, questions, model=adapter.name)
    asked = [(question, wanted) for item in items for question, wanted in item.ask]
    answered = sum(words(wanted)[0] in words(_chat(world, question)) for question, wanted in asked)
    figures.append(
        f"{len(adapter.definitions)} definitions from a folder, learnt, checked and served by vLLM in {took:.0f} s; it answers {as_checked} of"
        f" {len(questions)} of the check's own questions as in the check, and {answered} of {len(asked)} others rightly through the alias"
    )
    assert world.registry.read.adapter(adapter.name).unserved is None, "the proof after the load held"
    assert as_checked >= 0.9 * len(questions) > 0


def _chat(world: World, question: str) -> str:
    wish = {"model": "notes", "messages": [{"role": "user", "content": question}], "max_tokens": 24, "temperature": 0}
    answer = world.http.post(f"{world.gateway_url}/v1/chat/completions", json=wish)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])
