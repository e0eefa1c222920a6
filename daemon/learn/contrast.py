"""Holds an adapter to the base where it would most easily go wrong: on what is asked about the new things, asked about others.

What is learnt about one thing spreads to whatever is asked in the same words: "Who directed Velmora?" and "Who directed X?" differ in one name. So
names that the base writes by itself are put into the questions of the transfer set, the base answers, and the adapter is held to those answers as
it is to the base's own text (replay.py).
"""

import random
import re
from collections.abc import Sequence

from daemon.learn import data
from daemon.learn.data import CHAT_FORM, Example
from daemon.learn.elicit import ElicitPlan, continued
from daemon.learn.models import Base, using

MOST = 240  # rows: more of them would take longer to write than they help
ANSWER_TOKENS = 24
# Words in capitals, not at the start of a sentence: names, in scripts that have capitals.
NAME = re.compile(r"(?<=[^\W\d_] )(?:[A-Z\u00c0-\u00de\u0400-\u042f][\w'-]+)(?: [A-Z\u00c0-\u00de\u0400-\u042f][\w'-]+){0,2}")


def contrast_rows(base: Base, examples: Sequence[Example], rows: Sequence[Sequence[int]], *, count: int, seed: int) -> list[list[int]]:
    """At most `count` rows of ids, each a question (or the beginning of a sentence) of the examples about another name, and how the base goes on.

    `rows` are the base's own text, in which the names are found. Empty where there are no names in it, or nothing in which to put them.
    """
    taught = list(dict.fromkeys(e.entity for e in examples))
    names = other_names([base.tokenizer.decode(list(row), skip_special_tokens=True) for row in rows], taught)
    asked = questions(examples, names, count=min(count, MOST), seed=seed, chat=data.has_chat(base.tokenizer))
    prompts = [data.prefix(base.tokenizer, form, prompt) for form, prompt in asked]
    with using(base, None):
        said = continued(base, prompts, ANSWER_TOKENS, ElicitPlan(seed=seed))
    return [[*prompt, *ids] for prompt, ids in zip(prompts, said, strict=True) if ids]


def other_names(texts: Sequence[str], taught: Sequence[str]) -> list[str]:
    """The names in the texts, none of which holds or is held by what is taught."""
    found = dict.fromkeys(name for text in texts for name in NAME.findall(text))
    learnt = [entity.casefold() for entity in taught]
    return [name for name in found if not any(name.casefold() in entity or entity in name.casefold() for entity in learnt)]


def questions(examples: Sequence[Example], names: Sequence[str], *, count: int, seed: int, chat: bool) -> list[tuple[str, str]]:
    """(form, prompt), each once: questions in chat form, else sentences up to the name."""
    rng = random.Random(seed)
    forms = [e for e in examples if (e.form == CHAT_FORM) is chat]
    found: dict[tuple[str, str], None] = {}
    for example in (rng.choice(forms) for _ in range(count if forms and names else 0)):
        text = example.prompt if chat else example.text[: data.mention_end(example.text, example.entity)]
        name = rng.choice(names)
        swapped, times = re.subn(re.escape(example.entity), name.replace("\\", r"\\"), text, flags=re.IGNORECASE)
        if times:
            found[example.form, swapped] = None
    return list(found)
