"""Measures what a model answers: likelihood of the right target, choice among candidates, greedy answers, distance from the base.

Every figure is computed the same way for the base, the base with the definition in context, and an adapter. Knows no thresholds.
"""

import re
import unicodedata
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from daemon.learn import data
from daemon.learn.batches import beginnings, by_length, hidden_rest, hidden_states, logits_at
from daemon.learn.data import CHAT_FORM, PLAIN_FORM
from daemon.learn.elicit import greedy_answers
from daemon.learn.models import Base, using

ANSWER_TOKENS = 24
_PASS_TOKENS, _SHARED_TOKENS = 8192, 2048  # read at once; fewer where the keys and values of what is shared are kept for each row
_LOGITS = 1024  # positions whose logits exist at one time: a row of the whole vocabulary for each is what takes the memory


@dataclass(frozen=True, slots=True)
class Ask:
    """A probe as the scorer needs it. `context` is the definition, used only where a score is asked for with context."""

    prompt: str
    target: str
    chat: bool
    context: str = ""
    candidates: tuple[str, ...] = ()

    @property
    def form(self) -> str:
        return CHAT_FORM if self.chat else PLAIN_FORM


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Summed negative log-likelihood of the target's tokens, in nats, and how many tokens it has."""

    nll: float
    tokens: int

    @property
    def mean(self) -> float:
        return self.nll / self.tokens


def likelihoods(base: Base, asks: Sequence[Ask], *, adapter: str | None = None, in_context: bool = False) -> list[Likelihood]:
    """Teacher-forced likelihood of each target."""
    pairs = [(_prefix(base, a, in_context), data.target_ids(base.tokenizer, a.form, a.target)) for a in asks]
    return likelihoods_of(base, pairs, adapter, about=[a.context for a in asks] if in_context else None)


def choices(base: Base, asks: Sequence[Ask], *, adapter: str | None = None, in_context: bool = False) -> list[str | None]:
    """The candidate with the highest summed log-probability; None where there are no candidates."""
    pairs, owner = [], []
    for index, ask in enumerate(asks):
        left = _prefix(base, ask, in_context)
        for candidate in ask.candidates:
            pairs.append((left, data.target_ids(base.tokenizer, ask.form, candidate)))
            owner.append((index, candidate))
    best: list[tuple[float, str | None]] = [(float("inf"), None)] * len(asks)
    for (index, candidate), scored in zip(owner, likelihoods_of(base, pairs, adapter, about=[index for index, _ in owner]), strict=True):
        best[index] = min(best[index], (scored.nll, candidate), key=lambda pair: pair[0])
    return [candidate for _, candidate in best]


def answers(base: Base, asks: Sequence[Ask], *, adapter: str | None = None, in_context: bool = False) -> list[str]:
    """Greedy, free generation to a natural stop: the end token, or the first sentence of plain text."""
    raw = greedy_answers(
        base, [(a.form, a.prompt, a.context if in_context else "") for a in asks], new_tokens=ANSWER_TOKENS, adapter=adapter
    )
    return [text if ask.chat else first_sentence(text) for ask, text in zip(asks, raw, strict=True)]


def first_sentence(text: str) -> str:
    return re.split(r"(?<=[^.])[.!?](?:\s|$)|\n", text, maxsplit=1)[0].strip()


def says(answer: str, target: str) -> bool:
    """Exact match, but for letter case, articles, punctuation and spacing. Of a reasoned answer, what stands after 'Answer:' counts."""
    return _normal(answer.rsplit("Answer:", 1)[-1]) == _normal(target.rsplit("Answer:", 1)[-1])


def _normal(text: str) -> str:
    return " ".join(words_of(text))


def words_of(text: str) -> list[str]:
    """The words that are compared: without case, articles and punctuation."""
    text = re.sub(r"[^\w\s()\[\]{}]", " ", unicodedata.normalize("NFKC", text).casefold())
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


@dataclass(frozen=True, slots=True)
class Distance:
    """How far an adapter is from the base on one text: summed KL(base || adapted) in nats, positions with the same likeliest token, positions."""

    kl: float
    same: float
    tokens: int


@torch.no_grad()
def distances(base: Base, rows: Sequence[Sequence[int]], *, adapter: str) -> list[Distance]:
    """For each of the given id rows (beginning with BOS where the tokenizer has one), over its first `context` tokens."""
    found = [Distance(0.0, 0.0, 0)] * len(rows)
    kept = [tuple(r[: base.context]) for r in rows]
    for group in by_length(kept, tokens=4096):
        batch = [kept[i] for i in group]
        at_row = torch.tensor([b for b, r in enumerate(batch) for _ in range(len(r) - 1)], device=base.device)
        at = torch.tensor([p for r in batch for p in range(len(r) - 1)], device=base.device)
        with using(base, None):
            p = torch.log_softmax(logits_at(base, hidden_states(base, batch), at_row, at).float(), -1)
        with using(base, adapter):
            q = torch.log_softmax(logits_at(base, hidden_states(base, batch), at_row, at).float(), -1)
        kl = (p.exp() * (p - q)).sum(-1)
        same = (p.argmax(-1) == q.argmax(-1)).float()
        sizes = [len(r) - 1 for r in batch]
        for i, kl_part, same_part in zip(group, kl.split(sizes), same.split(sizes), strict=True):
            found[i] = Distance(float(kl_part.sum()), float(same_part.sum()), len(kl_part))
    return found


def recovered(before: Sequence[Likelihood], after: Sequence[Likelihood], ceiling: Sequence[Likelihood]) -> float | None:
    """Share of the in-context gain that went into the weights: (NLL_base - NLL_adapter) / (NLL_base - NLL_in_context), over mean token NLLs.

    None where the context gains nothing, so that there is nothing to recover.
    """
    gain = sum(b.mean for b in before) - sum(c.mean for c in ceiling)
    return (sum(b.mean for b in before) - sum(a.mean for a in after)) / gain if gain > 1e-6 else None


def _prefix(base: Base, ask: Ask, in_context: bool) -> list[int]:
    return data.prefix(base.tokenizer, ask.form, ask.prompt, ask.context if in_context else "")


@torch.no_grad()
def likelihoods_of(
    base: Base, pairs: Sequence[tuple[list[int], list[int]]], adapter: str | None = None, *, about: Sequence[Hashable] | None = None
) -> list[Likelihood]:
    """Negative log-likelihood of each second part after its first; overlong left contexts lose their beginning, never the target.

    What pairs `about` one thing begin with (a question, of its candidates) is read once a batch.
    """
    lefts = [left[max(0, len(left) + len(right) - base.context) :] for left, right in pairs]
    rows = [tuple(left + right) for left, (_, right) in zip(lefts, pairs, strict=True)]
    common = beginnings(rows, about) if about is not None else [0] * len(rows)
    # the last token before the target is read with it: its state predicts the target's first
    first = [max(0, min(n, len(left) - 1)) for n, left in zip(common, lefts, strict=True)]
    if min(first, default=0) < 1:
        first = [0] * len(rows)
    found = [Likelihood(0.0, 1)] * len(pairs)
    with using(base, adapter):
        for group in by_length(rows, tokens=_SHARED_TOKENS if any(first) else _PASS_TOKENS):
            part = [rows[i] for i in group]
            states = hidden_rest(base, part, [first[i] for i in group]) if first[group[0]] else hidden_states(base, part)
            begin = [max(len(lefts[i]), 1) for i in group]  # nothing predicts the very first token
            counts = [len(r) - b for r, b in zip(part, begin, strict=True)]
            row = torch.repeat_interleave(torch.arange(len(group), device=base.device), torch.tensor(counts, device=base.device))
            at = torch.tensor(
                [p - 1 - first[i] for i, r, b in zip(group, part, begin, strict=True) for p in range(b, len(r))], device=base.device
            )
            wanted = torch.tensor([t for r, b in zip(part, begin, strict=True) for t in r[b:]], device=base.device)
            parts = zip(row.split(_LOGITS), at.split(_LOGITS), wanted.split(_LOGITS), strict=True)
            nll = torch.cat([cross_entropy(logits_at(base, states, r, a).float(), w, reduction="none") for r, a, w in parts])
            for i, one in zip(group, nll.split(counts), strict=True):
                found[i] = Likelihood(float(one.sum()), max(1, len(one)))
    return found
