"""What a version answered in its check, asked again of an engine: the proof after a load, and the live canary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.mentions import words
from daemon.serving.client import EngineClient
from registry import Adapter, Registry

ANSWER_TOKENS = 24  # as many as the check lets a model say
_ARTICLES = frozenset({"a", "an", "the"})


@dataclass(frozen=True, slots=True)
class Question:
    """A question that the check asked. `answer` is what the version said and was right; `base_answer` what the base said."""

    prompt: str
    chat: bool
    answer: str
    base_answer: str


def own_questions(registry: Registry, adapter: Adapter) -> list[Question]:
    """What the version answered rightly in its newest check, and otherwise than the base, in the check's order."""
    run = registry.read.newest_check(adapter.name)
    if run is None:
        return []
    chats = {probe.id: probe.chat for probe in registry.read.probes({*adapter.definitions, *adapter.rehearsed})}
    return [
        Question(r.prompt, chats[r.probe_id], r.answer, r.base_answer)
        for r in registry.read.check_results(run.id)
        if r.passed and r.probe_id in chats and words(r.answer) and not begins_alike(r.base_answer, r.answer)
    ]


def ask(client: EngineClient, question: Question, *, model: str) -> str:
    """The model's greedy answer, as the check asked it."""
    if question.chat:
        return client.chat([{"role": "user", "content": question.prompt}], model=model, max_tokens=ANSWER_TOKENS).text
    return client.complete(question.prompt, model=model, max_tokens=ANSWER_TOKENS).text


def right(client: EngineClient, questions: Sequence[Question], *, model: str) -> int:
    """How many of the questions the model still answers as it did in its check."""
    return sum(begins_alike(ask(client, question, model=model), question.answer) for question in questions)


def begins_alike(answer: str, expected: str) -> bool:
    """Whether the answer begins with the words expected. An engine of another precision may go on otherwise where the check had stopped."""
    said, wanted = ([w for w in words(text) if w not in _ARTICLES] for text in (answer, expected))
    return said[: len(wanted)] == wanted
