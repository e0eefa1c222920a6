"""Makes a transfer set: what the model itself writes and asks about an entity while its definition is in the context (arXiv 2306.09306 section 3).

Plain form: sentences that go on from the definition. Chat form: the model continues a user's turn that holds the definition, which yields a
question, then answers it. Whatever does not name the entity is dropped. Knows the model, not how it learns.
"""

import random
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from daemon.learn import data
from daemon.learn.batches import beginnings
from daemon.learn.data import CHAT_FORM, PLAIN_FORM, Example
from daemon.learn.errors import TooLong
from daemon.learn.models import Base, using
from daemon.learn.sample import sample

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[\"'(]?[A-Z0-9])")
_CLOZE_WORDS = 5
_MARKER = "\u241fhere\u241f"


@dataclass(frozen=True, slots=True)
class ElicitPlan:
    """How much is drawn, per definition. Lengths in tokens."""

    samples: int = 16  # runs of plain text, and as many times `turns` questions
    plain_tokens: int = 64
    question_tokens: int = 40
    answer_tokens: int = 40
    turns: int = 8  # questions for each run of text: a fact that nobody asks about is learnt badly
    temperature: float = 1.0
    seed: int = 0
    batch: int = 192


@dataclass(frozen=True, slots=True)
class Told:
    """A definition to be taught."""

    id: int
    entity: str
    definition: str


def check_lengths(base: Base, told: Sequence[Told], *, room: int = 96) -> None:
    """Raises TooLong for a definition that leaves no room for text about it."""
    for each in told:
        length = len(data.plain_prefix(base.tokenizer, each.definition))
        if length + room > base.context:
            raise TooLong(
                f"The definition of {each.entity!r} is {length} tokens long; with {room} for text about it,"
                f" it does not fit the model's {base.context}."
            )


def elicit(base: Base, told: Sequence[Told], plan: ElicitPlan) -> dict[int, list[Example]]:
    """Distinct examples by definition id, in the order they were drawn."""
    check_lengths(base, told)
    with using(base, None):
        drawn = _plain(base, told, plan)
        if data.has_chat(base.tokenizer):
            for id_, examples in conversations(base, told, plan).items():
                drawn[id_] += examples
    return {id_: list(dict.fromkeys(examples)) for id_, examples in drawn.items()}


def _plain(base: Base, told: Sequence[Told], plan: ElicitPlan) -> dict[int, list[Example]]:
    """Half of the runs start freely after the definition, half with the entity's name, which small models otherwise leave out."""
    tasks = [(t, lead) for t in told for lead in ([""] * (plan.samples // 2) + [t.entity] * (plan.samples - plan.samples // 2))]
    prompts = [data.plain_prefix(base.tokenizer, t.definition) + (data.ids_of(base.tokenizer, lead) if lead else []) for t, lead in tasks]
    found: dict[int, list[Example]] = {t.id: [] for t in told}
    for (t, lead), ids in zip(tasks, _sampled(base, prompts, [t.id for t, _ in tasks], plan.plain_tokens, plan), strict=True):
        text = f"{lead} {plain_text(base, ids)}".strip()
        for sentence in _sentences(text)[:12]:
            if _is_whole(sentence) and data.mentions(sentence, t.entity):
                found[t.id].append(Example(t.entity, t.definition, PLAIN_FORM, "", sentence))
    return found


def conversations(base: Base, told: Sequence[Told], plan: ElicitPlan) -> dict[int, list[Example]]:
    """Questions by the base, each beside the definition alone, so that none leans on an earlier answer, and what it answers."""
    check_lengths(base, told)
    with using(base, None):
        return _conversations(base, told, plan)


def _conversations(base: Base, told: Sequence[Told], plan: ElicitPlan) -> dict[int, list[Example]]:
    found: dict[int, list[Example]] = {t.id: [] for t in told}
    askers = [t for t in told for _ in range(plan.samples * plan.turns)]
    openings = [open_user_turn(base.tokenizer, t.definition) for t in askers]
    questions = _sampled(base, openings, [t.id for t in askers], plan.question_tokens, plan)
    texts = ((t, plain_text(base, ids)) for t, ids in zip(askers, questions, strict=True))
    asked = list(dict.fromkeys((t, q) for t, q in texts if is_question(q) and data.mentions(q, t.entity)))
    prompts = [data.chat_prefix(base.tokenizer, q, t.definition) for t, q in asked]
    answers = _sampled(base, prompts, [t.id for t, _ in asked], plan.answer_tokens, replace(plan, seed=plan.seed + 101))
    for (t, q), ids in zip(asked, answers, strict=True):
        if text := plain_text(base, ids):
            found[t.id].append(Example(t.entity, t.definition, CHAT_FORM, q, text))
    return found


def greedy_answers(
    base: Base, asked: Sequence[tuple[str, str, str]], *, new_tokens: int, adapter: str | None = None, batch: int = 96
) -> list[str]:
    """The greedy answer to each (form, prompt, context), with an adapter or with none."""
    prompts = [data.prefix(base.tokenizer, form, prompt, context) for form, prompt, context in asked]
    with using(base, adapter):
        plan = ElicitPlan(temperature=0.0, batch=batch)
        return [plain_text(base, ids) for ids in _sampled(base, prompts, [(form, context) for form, _, context in asked], new_tokens, plan)]


def continued(base: Base, prompts: list[list[int]], new_tokens: int, plan: ElicitPlan) -> list[list[int]]:
    """How the active model goes on after each prompt, in ids."""
    return _sampled(base, prompts, [0] * len(prompts), new_tokens, plan)


def _sampled(base: Base, prompts: list[list[int]], of: Sequence[Hashable], new_tokens: int, plan: ElicitPlan) -> list[list[int]]:
    """Sampled in batches of similar length, given back in order. `of`: what each is about; the beginning that the prompts about one thing have
    in common is read once a batch. A prompt that leaves no room yields nothing."""
    results: list[list[int]] = [[] for _ in prompts]
    shared = beginnings(prompts, of)
    order = sorted((i for i, p in enumerate(prompts) if len(p) + 1 < base.context), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), plan.batch):
        group = order[start : start + plan.batch]
        room = base.context - max(len(prompts[i]) for i in group)
        rows = sample(
            base,
            [prompts[i] for i in group],
            new_tokens=min(new_tokens, room),
            temperature=plan.temperature,
            seed=plan.seed + start,
            shared=[shared[i] for i in group],
        )
        for index, ids in zip(group, rows, strict=True):
            results[index] = ids
    return results


def open_user_turn(tokenizer: Any, definition: str) -> list[int]:
    """The template up to the end of the definition (or of nothing) inside an unfinished user's turn."""
    joint = data.separator(tokenizer)
    content = definition + joint + _MARKER if definition else _MARKER
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": content}], tokenize=False, add_generation_prompt=False)
    return data.ids_of(tokenizer, rendered[: rendered.index(_MARKER)])


def plain_text(base: Base, ids: list[int]) -> str:
    return " ".join(base.tokenizer.decode(ids, skip_special_tokens=True).split())


def _sentences(text: str) -> list[str]:
    """Sentences, a question joined to the answer that follows it: alone it says nothing of the entity, and the answer does not name it."""
    joined: list[str] = []
    for sentence in _SENTENCE.split(text):
        if joined and joined[-1].endswith("?"):
            joined[-1] = f"{joined[-1]} {sentence}"
        else:
            joined.append(sentence)
    return joined


def _is_whole(sentence: str) -> bool:
    return sentence.endswith((".", "!")) and 3 <= len(sentence.split()) <= 60


def is_question(text: str) -> bool:
    return 3 <= len(text.split()) <= 40 and "?" in text


def cloze(sentence: str) -> tuple[str, str] | None:
    """A sentence as left context and its last word as what should follow; None where it says too little to go by."""
    words = sentence.rstrip(".!?").split()
    return (" ".join(words[:-1]), words[-1]) if len(words) >= _CLOZE_WORDS else None


def hold_out(examples: Sequence[Example], *, share: float, at_most: int, seed: int) -> tuple[list[Example], list[Example]]:
    """(transfer set, held out): whole prompts or sentences are set aside, so that no probe was ever trained on, whatever its answer."""
    chats = sorted({e.prompt for e in examples if e.form == CHAT_FORM})
    plains = sorted({e.text for e in examples if e.form == PLAIN_FORM})
    rng = random.Random(seed)
    aside = {
        *rng.sample(chats, min(at_most, int(len(chats) * share))),
        *rng.sample(plains, min(max(1, at_most // 2), int(len(plains) * share / 2))),
    }
    key = [e.prompt if e.form == CHAT_FORM else e.text for e in examples]
    return [e for e, k in zip(examples, key, strict=True) if k not in aside], [e for e, k in zip(examples, key, strict=True) if k in aside]
