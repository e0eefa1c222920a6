"""Split contexts (DiSC, arXiv 2602.16093): a document teaches itself, without generation. What stands before a sentence is its context.

A document is tokenized once, so every sentence keeps its leading space and both sides read the same ids. One causal pass over the document gives
the teacher's distributions for all splits: the logits inside sentence i already have everything before it as context. Knows no optimiser.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from daemon.extraction.sentences import sentences
from daemon.learn import data
from daemon.learn.batches import by_length, hidden_states, logits_at
from daemon.learn.data import PLAIN_FORM, Example, Tokenizer
from daemon.learn.errors import NothingToLearn
from daemon.learn.losses import top_k
from daemon.learn.models import Base, using
from daemon.learn.train import Target, TrainPlan

_PASS_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Article:
    """A text to learn from, about an entity that its definition introduces."""

    entity: str
    definition: str
    text: str


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """`splits`: the paper's k; 0 takes every interior sentence. `first_token`: also learn a sentence's first token, after a neutral prefix."""

    splits: int = 5
    first_token: bool = False
    seed: int = 1234


@dataclass(frozen=True, slots=True)
class Sides:
    """One split as ids. `teacher_at` and `student_at` are the positions whose next token is shared and supervised."""

    document: tuple[int, ...]
    student: tuple[int, ...]
    teacher_at: tuple[int, ...]
    student_at: tuple[int, ...]


def articles_of(examples: Sequence[Example], given: Sequence[Article]) -> list[Article]:
    """The given articles, and for each definition without one of two sentences or more the definition with what was written about it.

    Split contexts learn nothing from a definition of one sentence: nothing in it repeats.
    """
    kept = [a for a in given if len(sentences(a.text)) > 1]
    covered = {(a.entity, a.definition) for a in kept}
    texts: dict[tuple[str, str], list[str]] = {}
    for e in examples:
        if e.form == PLAIN_FORM and (e.entity, e.definition) not in covered:
            texts.setdefault((e.entity, e.definition), []).append(e.text)
    made = [Article(entity, told, " ".join([told, *dict.fromkeys(said)])) for (entity, told), said in texts.items()]
    return [*kept, *made]


def drawn_splits(count: int, k: int, rng: random.Random) -> list[int]:
    """Which sentences (0-based) of `count` are targets: min(k - 1, count - 1) distinct interior ones at random, and the last. Never the first."""
    if count < 2:
        return []
    inner = range(1, count)
    return sorted({*(rng.sample(inner, min(k - 1, count - 1)) if k else inner), count - 1})


def sides_of(tokenizer: Tokenizer, text: str, plan: SplitPlan, rng: random.Random, *, context: int) -> list[Sides]:
    """Every drawn split of a text; what is longer than the model's context is taken in windows of whole sentences."""
    found: list[Sides] = []
    start = data.start_ids(tokenizer)
    # a tokenizer that begins with nothing has nothing to predict a first token from: a line break says as little as BOS does
    neutral = (start or data.ids_of(tokenizer, "\n")) if plan.first_token else start
    for parts in _windows(_sentence_ids(tokenizer, text), context - max(len(start), len(neutral))):
        document = (*start, *(i for part in parts for i in part))
        ends = [len(start)]
        for part in parts:
            ends.append(ends[-1] + len(part))
        for index in drawn_splits(len(parts), plan.splits, rng):
            suffix, before = parts[index], ends[index]  # the prefix is all before it, the suffix this sentence only
            if len(suffix) < 2:
                continue
            first = 0 if plan.first_token else 1
            # logits at position j predict token j + 1
            learnt = range(first, len(suffix))
            found.append(
                Sides(
                    document,
                    (*neutral, *suffix),
                    tuple(before + i - 1 for i in learnt),
                    tuple(len(neutral) + i - 1 for i in learnt),
                )
            )
    return found


def split_targets(base: Base, articles: Sequence[Article], plan: TrainPlan, split: SplitPlan) -> list[Target]:
    """Targets of all drawn splits. Each window of a document is read once, however many splits it has."""
    rng = random.Random(split.seed)
    texts = dict.fromkeys(a.text for a in articles)  # a document that defines several entities is learnt once
    sides = [s for text in texts for s in sides_of(base.tokenizer, text, split, rng, context=base.context)]
    if not sides:
        raise NothingToLearn(
            f"None of {len(articles)} documents has two sentences.",
            hint="Split contexts learn from documents of several sentences; choose another learn.method for bare definitions.",
        )
    by_document: dict[tuple[int, ...], list[Sides]] = {}
    for each in sides:
        by_document.setdefault(each.document, []).append(each)
    documents = list(by_document)
    targets: dict[int, Target] = {}
    with using(base, None), torch.no_grad():
        for group in by_length(documents, tokens=_PASS_TOKENS):
            states = hidden_states(base, [documents[i] for i in group])
            for row, i in enumerate(group):
                for each in by_document[documents[i]]:
                    at = torch.tensor(each.teacher_at, device=base.device)
                    teacher = top_k(logits_at(base, states, torch.full_like(at, row), at), plan.top_k, temperature=plan.temperature)
                    targets[id(each)] = Target(each.student, each.student_at, teacher)
    return [targets[id(each)] for each in sides]


def _sentence_ids(tokenizer: Tokenizer, text: str) -> list[list[int]]:
    """The ids of one tokenization of the whole text, by sentence: a token belongs to the sentence in which it ends."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    bounds = [end for _, end in sentences(text)]
    parts: list[list[int]] = [[] for _ in bounds]
    index = 0
    for token, (_, last) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
        while index + 1 < len(bounds) and last > bounds[index]:
            index += 1
        parts[index].append(token)
    return [p for p in parts if p]


def _windows(parts: Sequence[list[int]], room: int) -> Iterator[list[list[int]]]:
    """Runs of whole sentences that fit; a sentence longer than that alone is left out, and nothing spans it."""
    window: list[list[int]] = []
    for part in parts:
        if window and sum(map(len, window)) + len(part) > room:
            yield window
            window = []
        if len(part) <= room:
            window.append(part)
    if window:
        yield window
