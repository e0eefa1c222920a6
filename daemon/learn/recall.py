"""What the base demonstrably knows: questions that it asks itself about names of its own, and answers surely. Drawn once per base, kept in a file.

A model's free text (replay.py) is seldom about the single facts that it knows, and those are lost first. So the questions are sought: the base asks
freely; each question is cut off before its name and finished by the base again, which brings the names that it thinks of by itself; then names and
questions are put together anew. Kept is what the base answers with a likelihood of a half or more. Knows ids, not losses.
"""

import json
import math
import random
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from daemon.learn import data
from daemon.learn.contrast import NAME
from daemon.learn.elicit import ElicitPlan, continued, is_question, open_user_turn, plain_text
from daemon.learn.folders import EMBEDDED_FOLDER
from daemon.learn.models import Base, using
from daemon.learn.score import likelihoods_of

FREE, FINISHED, CROSSED = 768, 3072, 3072  # questions of each kind that are drawn
ROWS = 1200  # that are kept
QUESTION_TOKENS, ANSWER_TOKENS = 32, 24
SURE_NATS = math.log(2)  # of the whole answer with its end: more likely than not


@dataclass(frozen=True, slots=True)
class RecallPlan:
    """How much is drawn, and how many rows are kept."""

    free: int = FREE
    finished: int = FINISHED
    crossed: int = CROSSED
    rows: int = ROWS
    seed: int = 23


def recall_rows(base: Base, cache: Path, plan: RecallPlan = RecallPlan()) -> list[list[int]]:
    """Rows of ids, question and answer, from the file made for exactly this base, or drawn now and kept. The embedded model brings its own file.

    Empty for a base without a chat template, and for one that asks about no names or is sure of nothing.
    """
    name = f"recall-{base.digest[:16]}.json"
    for file in (EMBEDDED_FOLDER / "recall.json", cache / name):
        if file.exists():
            kept = json.loads(file.read_text())
            if kept["base_digest"] == base.digest:
                return [list(r) for r in kept["rows"]]
    cache.mkdir(parents=True, exist_ok=True)
    return keep(base, cache / name, plan)


def keep(base: Base, file: Path, plan: RecallPlan = RecallPlan()) -> list[list[int]]:
    """Draws the rows and writes them, whole or not at all."""
    drawn = draw(base, plan)
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps({"base_digest": base.digest, "seed": plan.seed, "rows": drawn}, separators=(",", ":")))
    temporary.rename(file)
    return drawn


def draw(base: Base, plan: RecallPlan) -> list[list[int]]:
    """Distinct rows, in random order."""
    if not data.has_chat(base.tokenizer):
        return []
    rng = random.Random(plan.seed)
    with using(base, None):
        asked = dict.fromkeys(_finished(base, [""] * plan.free, plan.seed))
        openings = list(dict.fromkeys(parts[0] for q in asked if (parts := split_at_name(q))[0]))
        if openings:
            asked |= dict.fromkeys(_finished(base, [rng.choice(openings) for _ in range(plan.finished)], plan.seed + 1))
        sure = _surely_answered(base, [q for q in asked if NAME.search(q)])
        new = [q for q in crossed(sure, count=plan.crossed, rng=rng) if q not in asked]
        sure |= _surely_answered(base, new)
    rows = list(sure.values())
    rng.shuffle(rows)
    return rows[: plan.rows]


def about_others(base: Base, rows: Sequence[Sequence[int]], taught: Iterable[str]) -> list[list[int]]:
    """The rows that name nothing of what is taught: what the base believed of it so far is not to be kept."""
    names = {name: unicodedata.normalize("NFC", name).casefold().split()[:1] for name in dict.fromkeys(taught)}

    def told(text: str) -> bool:
        folded = text.casefold()  # that none of a name's first word is in it is seen at once
        return any(data.mentions(text, name) for name, first in names.items() if all(word in folded for word in first))

    return [list(r) for r in rows if not told(base.tokenizer.decode(list(r)))]


def split_at_name(question: str) -> tuple[str, str, str]:
    """(what stands before the first name, the name, the rest); ('', '', question) where no name stands within it."""
    found = NAME.search(question)
    return (question[: found.start()], found[0], question[found.end() :]) if found else ("", "", question)


def crossed(questions: Iterable[str], *, count: int, rng: random.Random) -> list[str]:
    """At most `count` distinct questions: the forms of the given ones, each with a name of another."""
    parts = [p for q in questions if (p := split_at_name(q))[1]]
    names = list(dict.fromkeys(name for _, name, _ in parts))
    forms = list(dict.fromkeys((before, after) for before, _, after in parts))
    every = len(names) * len(forms)
    picked = rng.sample(range(every), min(count, every))
    return [forms[i // len(names)][0] + names[i % len(names)] + forms[i // len(names)][1] for i in picked]


def _finished(base: Base, openings: Sequence[str], seed: int) -> list[str]:
    """What the base makes of each opening of a question; only what became one."""
    start = open_user_turn(base.tokenizer, "")
    prompts = [[*start, *(data.ids_of(base.tokenizer, opening.rstrip()) if opening else [])] for opening in openings]
    drawn = continued(base, prompts, QUESTION_TOKENS, ElicitPlan(seed=seed))
    texts = (f"{opening.rstrip()} {plain_text(base, ids)}".strip() for opening, ids in zip(openings, drawn, strict=True))
    return [text for text in texts if is_question(text)]


def _surely_answered(base: Base, questions: Sequence[str]) -> dict[str, list[int]]:
    """By question: the row of ids that asks and answers it, where the base is sure of the answer."""
    prompts = [data.chat_prefix(base.tokenizer, q) for q in questions]
    said = continued(base, prompts, ANSWER_TOKENS, replace(ElicitPlan(), temperature=0.0))
    end = data.chat_end(base.tokenizer)
    pairs = [(prompt, [*ids, *end]) for prompt, ids in zip(prompts, said, strict=True)]
    likely = likelihoods_of(base, pairs)
    return {
        q: [*prompt, *answer]
        for q, (prompt, answer), ids, found in zip(questions, pairs, said, likely, strict=True)
        if ids and len(ids) < ANSWER_TOKENS and found.nll < SURE_NATS
    }
