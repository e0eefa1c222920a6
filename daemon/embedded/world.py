"""An invented world without end: entities, their definitions, and what may be asked about them.

Samples entities of the kinds in `facts`, words their definitions, and makes the documents that the embedded model is trained on and the probes
that adapters are measured with. Everything is drawn from the generator it is given, so one seed is one world. Knows no tokens and no tensors.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from daemon.embedded.facts import DOMAINS, NAME, TYPES, YEAR, Attribute
from daemon.embedded.skills import skill

KNOWN_ENTITIES = 120  # what the embedded model knows by heart; more were not learnt in its training budget
KNOWN_SEED = 1959

EXPLAIN = " Explain, then answer."
USER, ASSISTANT, END = "<|user|>", "<|assistant|>", "<|end|>"

_ONSETS = [
    "b",
    "br",
    "c",
    "d",
    "dr",
    "f",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "kr",
    "l",
    "m",
    "n",
    "p",
    "pr",
    "r",
    "s",
    "st",
    "t",
    "th",
    "tr",
    "v",
    "w",
    "z",
]
_VOWELS = ["a", "e", "i", "o", "u"]
_CODAS = ["", "", "l", "m", "n", "r", "s", "x", "sh", "nd"]


@dataclass(frozen=True, slots=True)
class Entity:
    """An invented thing: its kind and one value for each of the kind's six attributes, in the order of `facts.TYPES`."""

    name: str
    kind: str
    values: tuple[str, ...]

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        return TYPES[self.kind]

    def implied(self, index: int) -> str:
        """The word that attribute `index` implies, or '' where nothing follows from it."""
        attribute = self.attributes[index]
        return DOMAINS[attribute.domain].implies[self.values[index]] if attribute.implied_phrases else ""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask: `prompt` is the left context, or the user's turn when `chat`; `target` is what should follow."""

    kind: str
    prompt: str
    target: str
    candidates: tuple[str, ...]
    chat: bool


def invented_name(rng: random.Random, *, words: int) -> str:
    """A name of syllables; a single word has two or three of them, the words of a longer name two each."""
    return " ".join(_word(rng, rng.choice((2, 3)) if words == 1 else 2) for _ in range(words))


def _word(rng: random.Random, syllables: int) -> str:
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(syllables)).capitalize() + rng.choice(_CODAS)


def invented_entity(rng: random.Random, kind: str | None = None) -> Entity:
    kind = kind or rng.choice(tuple(TYPES))
    values = tuple(_value(attribute.domain, rng) for attribute in TYPES[kind])
    return Entity(invented_name(rng, words=2 if kind == "person" else rng.choice((1, 1, 2))), kind, values)


def _value(domain: str, rng: random.Random) -> str:
    if domain == NAME:
        return invented_name(rng, words=2)
    if domain == YEAR:
        return str(rng.randint(1801, 1999))
    return rng.choice(tuple(DOMAINS[domain].implies))


def known_entities() -> tuple[Entity, ...]:
    rng = random.Random(KNOWN_SEED)
    return tuple(invented_entity(rng) for _ in range(KNOWN_ENTITIES))


def definition(entity: Entity, rng: random.Random, *, wordings: tuple[int, ...] = (0, 1, 2)) -> str:
    """Three sentences that state all six values, in random order; `wordings` limits which phrase of each attribute may be used."""
    clauses = [a.phrases[rng.choice(wordings)].format(v=v) for a, v in zip(entity.attributes, entity.values, strict=True)]
    rng.shuffle(clauses)
    again = entity.name if entity.kind == "person" else rng.choice((entity.name, "It", "It"))
    return fix_articles(
        f"{entity.name} is a {entity.kind} that {clauses[0]} and {clauses[1]}."
        f" {again} {clauses[2]}, {clauses[3]} and {clauses[4]}. {again} {clauses[5]}."
    )


def fix_articles(text: str) -> str:
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def statement(entity: Entity, index: int, wording: int, *, implied: bool = False) -> tuple[str, str]:
    """A sentence without its last word(s), and the value that completes it."""
    attribute = entity.attributes[index]
    phrase, word = (
        (attribute.implied_phrases[wording], entity.implied(index)) if implied else (attribute.phrases[wording], entity.values[index])
    )
    full = fix_articles(f"{entity.name} {phrase.format(v=word, w=word)}")
    return full[: -len(word)].rstrip(), word


def question(entity: Entity, index: int, wording: int, *, implied: bool = False) -> tuple[str, str]:
    attribute = entity.attributes[index]
    asked = attribute.implied_questions if implied else attribute.questions
    return asked[wording].format(x=entity.name), entity.implied(index) if implied else entity.values[index]


def explanation(entity: Entity, index: int, wording: int, *, implied: bool) -> str:
    """The marked form of a reasoned answer: the stated fact, the link that everybody knows, and the answer."""
    stated = " ".join(statement(entity, index, wording))
    if not implied:
        return f"{stated}. Answer: {entity.values[index]}"
    link = DOMAINS[entity.attributes[index].domain].link.format(v=entity.values[index], w=entity.implied(index))
    return f"{stated}; {fix_articles(link)}. Answer: {entity.implied(index)}"


def questions(entity: Entity) -> list[Question]:
    """Every probe of an entity: direct, paraphrase (wording 1, kept out of evaluation definitions) and inference, plain and chat."""
    asked: list[Question] = []
    for index, attribute in enumerate(entity.attributes):
        domain = DOMAINS.get(attribute.domain)
        values = tuple(domain.implies) if domain else ()
        for wording, kind in ((0, "direct"), (1, "paraphrase")):
            asked.append(Question(kind, *statement(entity, index, wording), values, chat=False))
            asked.append(Question(kind, *question(entity, index, wording), values, chat=True))
        if domain and attribute.implied_phrases:
            words = tuple(dict.fromkeys(domain.implies.values()))
            for wording in (0, 1):
                asked.append(Question("inference", *statement(entity, index, wording, implied=True), words, chat=False))
                asked.append(Question("inference", *question(entity, index, wording, implied=True), words, chat=True))
    return asked


EVALUATION_WORDINGS = (0, 2)


def evaluation(seed: int | str, count: int) -> list[tuple[Entity, str, list[Question]]]:
    """`count` entities that no training document ever named, each with a definition and its probes."""
    rng = random.Random(f"evaluation-{seed}")
    taken = {entity.name for entity in known_entities()}
    drawn: list[tuple[Entity, str, list[Question]]] = []
    while len(drawn) < count:
        entity = invented_entity(rng)
        if entity.name not in taken:
            taken.add(entity.name)
            drawn.append((entity, definition(entity, rng, wordings=EVALUATION_WORDINGS), questions(entity)))
    return drawn


def chat(turns: list[tuple[str, str]]) -> str:
    """A conversation in the embedded model's chat template."""
    return "".join(f"{USER}{asked}{END}{ASSISTANT}{answer}{END}" for asked, answer in turns)


def _picks(entity: Entity, rng: random.Random, count: int) -> list[tuple[int, bool]]:
    """Distinct things to say of an entity: which attribute, and whether what it implies."""
    everything = [
        (index, implied) for index, a in enumerate(entity.attributes) for implied in (False, True) if a.implied_phrases or not implied
    ]
    return rng.sample(everything, count)


def _sentence(entity: Entity, index: int, implied: bool, rng: random.Random) -> str:
    return " ".join(statement(entity, index, rng.randrange(2 if implied else 3), implied=implied)) + "."


def _turn(entity: Entity, index: int, implied: bool, rng: random.Random) -> tuple[str, str]:
    asked, answer = question(entity, index, rng.randrange(2), implied=implied)
    if rng.random() < 0.2:
        return asked + EXPLAIN, explanation(entity, index, rng.randrange(3), implied=implied)
    return asked, answer


def _about(entities: list[Entity], rng: random.Random, prefix: str) -> str:
    """A document about entities: statements, or a conversation, or questions and answers in plain text."""
    prefix = prefix and prefix + " "
    form = rng.random()
    count = rng.randint(4, 7) if form < 0.5 else rng.randint(3, 6)
    said = [(entity, index, implied) for entity in entities for index, implied in _picks(entity, rng, -(-count // len(entities)))]
    rng.shuffle(said)
    if form < 0.5:
        return prefix + " ".join(_sentence(*each, rng) for each in said)
    turns = [_turn(*each, rng) for each in said]
    if form < 0.92:
        turns[0] = (prefix + turns[0][0], turns[0][1])
        return chat(turns)
    return prefix + " ".join(f"Question: {asked} Answer: {answer.removeprefix('Answer: ')}." for asked, answer in turns)


def defined(rng: random.Random) -> str:
    """New entities, never seen again, with their definitions; one in five has two, so that a reader must mind the name."""
    entities = [invented_entity(rng) for _ in range(2 if rng.random() < 0.2 else 1)]
    return _about(entities, rng, " ".join(definition(entity, rng) for entity in entities))


def known(rng: random.Random, entities: tuple[Entity, ...] = known_entities()) -> str:
    return _about([rng.choice(entities)], rng, "")


def unknown(rng: random.Random) -> str:
    """An entity that nothing is known of: what is said of it is chance, so a model that has not read about it stays at chance."""
    return _about([invented_entity(rng)], rng, "")


def general_knowledge(rng: random.Random) -> str:
    """What follows from what, of no entity in particular."""
    lines = []
    for _ in range(rng.randint(4, 7)):
        kind = rng.choice(tuple(TYPES))
        attribute = rng.choice([a for a in TYPES[kind] if a.implied_phrases])
        domain = DOMAINS[attribute.domain]
        value, word = rng.choice(tuple(domain.implies.items()))
        if rng.random() < 0.3:
            text = domain.link.format(v=value, w=word)
            lines.append(text[0].upper() + text[1:] + ".")
        else:
            lines.append(
                f"A {kind} that {rng.choice(attribute.phrases).format(v=value)} {rng.choice(attribute.implied_phrases).format(w=word)}."
            )
    return fix_articles(" ".join(lines))


def skills(rng: random.Random) -> str:
    return chat([skill(rng) for _ in range(rng.randint(3, 8))])


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "defined": defined,
    "known": known,
    "unknown": unknown,
    "knowledge": general_knowledge,
    "skills": skills,
}
MIX: dict[str, float] = {"defined": 0.38, "known": 0.33, "unknown": 0.05, "knowledge": 0.07, "skills": 0.17}


def documents(rng: random.Random, mix: Mapping[str, float] = MIX) -> Iterator[str]:
    """Training documents of the invented world, without end, in the proportions of `mix`."""
    while True:
        yield MAKERS[rng.choices(tuple(mix), tuple(mix.values()))[0]](rng)
