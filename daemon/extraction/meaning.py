"""Whether a newer definition of an entity says something else than the older one, and why. Compares words; knows no entities and no dates.

Two texts mean the same where they differ in markup, case, punctuation or function words only: then the newer document is one more
witness. Everything else is a change, and the newer definition takes the place of the older.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from daemon.extraction.markup import readable
from daemon.extraction.titles import singular
from daemon.extraction.words import NAME_STOPS, PREPOSITIONS, PRONOUNS

_WORD = re.compile(r"[^\W_]+(?:['’.+#-][^\W_]+)*[+#]*")
# What turns a meaning round is never a mere function word.
_TURNING = frozenset(
    {"not", "no", "never", "nor", "without", "all", "none", "only", "any", "before", "after", "over", "under", "above", "below"}
)
_FUNCTION = (NAME_STOPS | PREPOSITIONS | PRONOUNS | frozenset({"a", "an", "the", "be", "been", "also"})) - _TURNING
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Comparison:
    """`same` and the reason, a sentence for an operator."""

    same: bool
    reason: str


def compare(older: str, newer: str) -> Comparison:
    """Compares two definitions of one entity."""
    before, after = readable(older), readable(newer)
    if before == after:
        return Comparison(True, "The words are the same." if older == newer else "Only the markup differs.")
    words_before, words_after = _words(before), _words(after)
    if words_before == words_after:
        return Comparison(True, "Only case or punctuation differ.")
    told_before, told_after = _told(words_before), _told(words_after)
    if told_before == told_after:
        return Comparison(True, "Only articles, prepositions or the number of a noun differ.")
    new, gone = Counter(told_after) - Counter(told_before), Counter(told_before) - Counter(told_after)
    if not new and not gone:
        return Comparison(False, "The same words stand in another order.")
    parts = [f"{label} {', '.join(list(words)[:_SHOWN])}" for label, words in (("new:", new), ("gone:", gone)) if words]
    return Comparison(False, f"The content differs ({'; '.join(parts)}).")


def _words(text: str) -> list[str]:
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def _told(words: list[str]) -> list[str]:
    return [singular(word) for word in words if word not in _FUNCTION]
