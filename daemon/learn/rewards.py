"""What a reasoned answer is worth, by term, from its text alone: the rewards of arXiv 2512.04753's consolidation, for answers that end in 'Answer:'.

The paper's weights are kept: 0.70 accuracy, 0.05 format, 0.15 cleanliness, 0.10 consistency, and nothing at all without the form. Its released
consistency term is a constant, because its caller leaves out what it needs; this one reads the reasoning and varies. Pure.
"""

import re
from dataclasses import dataclass

from daemon.learn.score import says, words_of

MARKER = "Answer:"
WEIGHTS = {"accuracy": 0.70, "format": 0.05, "cleanliness": 0.15, "consistency": 0.10}
LONGEST_ANSWER = 12  # words
_NEGATIONS = frozenset({"no", "not", "never"})
_SIMILAR = 0.5  # share of words in common from which an answer counts as near


@dataclass(frozen=True, slots=True)
class Said:
    """A response to judge. `gold`: the right answer; `old`: what the base answers without the definition; `whole`: it ended by itself."""

    text: str
    gold: str
    old: str
    whole: bool

    @property
    def reasoning(self) -> str:
        return self.text.split(MARKER, 1)[0]

    @property
    def answer(self) -> str | None:
        """What stands after the first marker, or None without one."""
        parts = self.text.split(MARKER)
        return parts[1].strip() if len(parts) > 1 else None


def rewards(said: Said) -> dict[str, float]:
    """Each term in 0..1, and their weighted `total`, which is 0 where the form is wholly missed."""
    terms = {"accuracy": accuracy(said), "format": form(said), "cleanliness": cleanliness(said), "consistency": consistency(said)}
    total = sum(WEIGHTS[name] * value for name, value in terms.items()) if terms["format"] > 0 else 0.0
    return {**terms, "total": total}


def accuracy(said: Said) -> float:
    """1 for the answer itself; 0.75 where it holds every word of it and denies nothing; 0.4 to 0.6 for one that shares most of its words.

    The last step stands for the paper's sentence embeddings (cosine of 0.85 and more), which would be one more model to load.
    """
    if said.answer is None:
        return 0.0
    if says(said.answer, said.gold):
        return 1.0
    gold, given = words_of(said.gold), words_of(said.answer)
    if gold and set(gold) <= set(given) and not (_NEGATIONS & set(given)) - set(gold):
        return 0.75
    common = len(set(gold) & set(given))
    share = 2 * common / (len(set(gold)) + len(set(given))) if common else 0.0
    return 0.4 + 0.2 * (share - _SIMILAR) / (1 - _SIMILAR) if share >= _SIMILAR else 0.0


def form(said: Said) -> float:
    """1; half off unless the marker stands there exactly once, half off unless a short answer follows it."""
    once = said.text.count(MARKER) == 1
    short = said.answer is not None and 1 <= len(said.answer.split()) <= LONGEST_ANSWER
    return 0.5 * once + 0.5 * short


def cleanliness(said: Said) -> float:
    """1; 0.2 off for each further marker (0.8 at most), 0.6 for text after the answer, 0.4 for a response that never ended."""
    repeated = min(0.8, 0.2 * max(0, said.text.count(MARKER) - 1))
    after = said.answer is not None and re.search(r"[.!?;]\s+\S", said.answer) is not None
    return max(0.0, 1 - repeated - 0.6 * after - 0.4 * (not said.whole))


def consistency(said: Said) -> float:
    """1; half off where the reasoning does not lead to the answer it gives, half off where it still holds the old answer to be true."""
    answer, reasoning = words_of(said.answer or ""), words_of(said.reasoning)
    leads = bool(answer) and set(answer) <= set(reasoning)
    still = bool(words_of(said.old)) and not says(said.old, said.gold) and _holds(words_of(said.text), words_of(said.old))
    return 0.5 * leads + 0.5 * (not still)


def _holds(text: list[str], phrase: list[str]) -> bool:
    return any(text[i : i + len(phrase)] == phrase for i in range(len(text) - len(phrase) + 1))
