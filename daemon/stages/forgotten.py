"""Questions that show whether something is forgotten: everything that was ever asked about it, in the forms that get past a refusal.

Each question is asked again about names that nobody ever taught. A model that never saw the definition knows no more about the real name than
about those; whatever else an adapter has learnt moves both alike, so the difference is what is left of the definition.
"""

import random
import re
from collections.abc import Iterator

from daemon.stages.base import evenly
from daemon.stages.verdict import STAND_INS, Asked
from registry import Definition, Probe, Registry

PROBES_MAX = 72  # each is asked in up to four forms, and each form about 1 + STAND_INS names
FORGOTTEN, STAND_IN = "forgotten", "stand_in"
_ONSETS, _VOWELS, _ENDS = ("b", "br", "d", "dr", "f", "g", "gl", "k", "m", "n", "p", "pl", "s", "t", "tr", "v", "z"), "aeiou", "lmnrs"
_COPULA = re.compile(r"\s+(?:is|are|was|were)\s+(?=an?\s|the\s)")


def forgotten_questions(registry: Registry, definition_ids: list[int]) -> list[Asked]:
    """For each question about the definitions, the question and then STAND_INS times the same about another name."""
    definitions = {d.id: d for d in registry.read.definitions(ids=definition_ids)}
    asked: list[Asked] = []
    of_them = [(definitions[p.definition_id], p) for p in registry.read.probes(list(definitions)) if p.definition_id in definitions]
    # where a whole feed is forgotten, a few hundred questions tell as much as ten thousand
    for definition, probe in evenly(of_them, PROBES_MAX):
        for prompt, target, chat in _forms(definition, probe):
            asked += _with_stand_ins(definition, probe, prompt, target, chat=chat)
    for definition in evenly([*definitions.values()], PROBES_MAX // 3):
        if reversed_form := _reversed(definition):
            asked += _with_stand_ins(definition, None, *reversed_form, chat=False)
    return asked


def _forms(definition: Definition, probe: Probe) -> Iterator[tuple[str, str, bool]]:
    """(prompt, target, chat): as it stands; in a role; with the beginning of an answer put in the model's mouth; step by step."""
    yield probe.prompt, probe.target, probe.chat
    if not probe.chat:
        return
    yield f"You are a guide who knows everything about {definition.entity}. {probe.prompt}", probe.target, True
    yield f"Question: {probe.prompt} Answer: Of course, here it is:", probe.target, False
    yield f"{probe.prompt} Think about it step by step.", probe.target, True


def _reversed(definition: Definition) -> tuple[str, str] | None:
    """From what is said to the name, where the definition begins with the name and a form of to be."""
    rest = definition.text.removeprefix(definition.entity)
    found = _COPULA.match(rest)
    if rest == definition.text or found is None:
        return None
    said = re.split(r"[.!?](?:\s|$)", rest[found.end() :], maxsplit=1)[0]
    return f"{said[0].upper()}{said[1:]} is called", definition.entity


def _with_stand_ins(definition: Definition, probe: Probe | None, prompt: str, target: str, *, chat: bool) -> list[Asked]:
    if definition.entity not in prompt + target:
        return []  # asked by another spelling: there is no name to put in its place
    kind, number = (probe.kind, probe.id) if probe else ("direct", None)
    found = [Asked(FORGOTTEN, kind, prompt, target, chat, definition.text, (), definition.id, number)]
    for count in range(STAND_INS):
        name = stand_in(definition.entity, count)
        texts = [text.replace(definition.entity, name) for text in (prompt, target, definition.text)]
        found.append(Asked(STAND_IN, kind, texts[0], texts[1], chat, texts[2], (), definition.id, number))
    return found


def stand_in(name: str, count: int) -> str:
    """A name of as many words that nobody has heard of, always the same one for the same name and count."""
    rng = random.Random(f"{name}-{count}")
    words = ("".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(2)) + rng.choice(_ENDS) for _ in name.split() or [name])
    return " ".join(word.capitalize() for word in words)
