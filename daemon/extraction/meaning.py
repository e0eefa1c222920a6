"""How two definitions under one name stand to each other, and why. Compares words; knows no dates and no sources.

- same: they differ in markup, case, punctuation, spelling or function words only; the newer document is one more witness.
- contradicts: nearly the same is said, but one denies or counts where the other does not: both cannot be true at one time.
- other: not one word of substance is shared, and there were enough to share: they may be two things of one name.
- changed: everything else; the newer says more, less or something else of the same thing.

What a paraphrase in other words comes to is not told by words; the model's own novelty tells it (daemon/stages/novelty.py).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from daemon.extraction.markup import readable
from daemon.extraction.titles import singular
from daemon.extraction.words import NAME_STOPS, PREPOSITIONS, PRONOUNS, words

Kind = Literal["same", "changed", "contradicts", "other"]

_WORD = re.compile(r"[^\W_]+(?:['’.+#-][^\W_]+)*[+#]*")
# What turns a meaning round is never a mere function word.
_TURNING = frozenset(
    {"not", "no", "never", "nor", "without", "all", "none", "only", "any", "before", "after", "over", "under", "above", "below"}
)
_FUNCTION = (NAME_STOPS | PREPOSITIONS | PRONOUNS | frozenset({"a", "an", "the", "be", "been", "also"})) - _TURNING
_DENYING = frozenset({"not", "no", "never", "nor", "without", "none"})
_NUMBERS = words("zero two three four five six seven eight nine ten eleven twelve hundred thousand million billion single double triple")
# Between the name and what is said of it; "Oslith: a lamp", "An oslith is a lamp" and "Oslith refers to a lamp" say one thing.
_DEFINING = frozenset(
    {"mean", "means", "meant", "refer", "refers", "referred", "denote", "denotes", "denoted", "called", "defined", "known"}
)
_LEAD_WORDS = 8
_SPELLINGS = ((re.compile(r"isation(?=s?\b)"), "ization"), (re.compile(r"is(e|ed|es|ing)\b"), r"iz\1"), (re.compile(r"our(?=s?\b)"), "or"))
_SHOWN = 4
#: Fewest words of substance on each side for saying that nothing is shared, and the share of them that two readings of one thing have in common.
_ENOUGH = 4
_NEARLY = 0.5


@dataclass(frozen=True, slots=True)
class Comparison:
    """The kind and the reason, a sentence for an operator. `close`: most of what the shorter one says stands in the other."""

    kind: Kind
    reason: str
    close: bool = True

    @property
    def same(self) -> bool:
        return self.kind == "same"


def compare(older: str, newer: str, *, name: str = "") -> Comparison:
    """Compares two definitions of what is called `name`, whose own words say nothing about what they have in common."""
    before, after = readable(older), readable(newer)
    if before == after:
        return Comparison("same", "The words are the same." if older == newer else "Only the markup differs.")
    words_before, words_after = _words(before), _words(after)
    if words_before == words_after:
        return Comparison("same", "Only case or punctuation differ.")
    told_before, told_after = _told(words_before), _told(words_after)
    if told_before == told_after:
        return Comparison("same", "Only articles, prepositions, spelling or the number of a noun differ.")
    named = set(_told(_words(name)))
    bare_before, bare_after = ([word for word in told if word not in named] for told in (told_before, told_after))
    if bare_before and bare_before == bare_after:
        return Comparison("same", "Only the name is written otherwise.")
    new, gone = Counter(told_after) - Counter(told_before), Counter(told_before) - Counter(told_after)
    if not new and not gone:
        return Comparison("changed", "The same words stand in another order.")
    parts = [f"{label} {', '.join(list(words)[:_SHOWN])}" for label, words in (("new:", new), ("gone:", gone)) if words]
    one, other = Counter(bare_before), Counter(bare_after)
    least, shared = min(one.total(), other.total()), (one & other).total()
    close = 0 < _NEARLY * least <= shared
    return Comparison(_kind(one, other, least=least, shared=shared, close=close), f"The content differs ({'; '.join(parts)}).", close)


def _kind(one: Counter[str], other: Counter[str], *, least: int, shared: int, close: bool) -> Kind:
    if not shared and least >= _ENOUGH:
        return "other"
    denied = any((word in one) != (word in other) for word in _DENYING)
    counted = any(_numbers(one - other)) and any(_numbers(other - one))
    return "contradicts" if close and (denied or counted) else "changed"


def _numbers(said: Counter[str]) -> list[str]:
    return [word for word in said if word in _NUMBERS or any(character.isdigit() for character in word)]


def _words(text: str) -> list[str]:
    return [part for word in _WORD.findall(text) for part in word.lower().replace("’", "'").split("-")]


def _told(spoken: list[str]) -> list[str]:
    lead = {word for word in spoken[:_LEAD_WORDS] if word in _DEFINING}
    return [singular(_spelt(word)) for word in spoken if word not in _FUNCTION and word not in lead]


def _spelt(word: str) -> str:
    for british, american in _SPELLINGS:
        word = british.sub(american, word)
    return word
