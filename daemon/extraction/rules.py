"""The predicates and shapes that make a sentence a definition, as data: every rule has a name, a pattern, a weight and two examples.

A predicate rule is matched at the main verb, after the subject was found (clauses.py); a naming rule names its entity itself.
Weights are where a plain case starts; scoring.py raises and lowers them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ADVERB = (
    r"(?:,?\s+(?:generally|usually|typically|often|commonly|essentially|basically|simply|traditionally|historically|technically|formally|informally|"
    r"originally|broadly|sometimes|officially|primarily|mainly|mostly|also|itself|both|either|especially|effectively|still|strictly|roughly|now|"
    r"currently|formerly|quite|rather|thus|therefore|in general|in essence|by definition|in fact|at its core|in mathematics|in short),?)?"
)
_BE = r"(?:is|are|was|were|will be)\b"
_KIND = (
    r"(?:kind|type|form|sort|class|family|genus|species|group|set|collection|series|branch|member|variety|style|method|subset|category|"
    r"breed|pair)"
)


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    pattern: re.Pattern[str]
    weight: float
    example: str
    counter_example: str
    title: str | None = None  # the title under which the examples stand


def _rule(name: str, pattern: str, weight: float, *, example: str, counter_example: str) -> Rule:
    return Rule(name, re.compile(pattern, re.IGNORECASE), weight, example, counter_example)


# Matched at the main verb; group 1, where there is one, starts the defining noun phrase.
PREDICATES: tuple[Rule, ...] = (
    _rule(
        "copula-one-of",
        rf"{_BE}{_ADVERB}\s+(one of|any of|any|either of|either|some of)\s+\w",
        0.62,
        example="A dorvil is any of the small boats used by the fishers of Kesh.",
        counter_example="The weather is one of many reasons why we stayed.",
    ),
    _rule(
        "copula-a",
        rf"{_BE}{_ADVERB}\s+(an?)\s+[^\W_]",
        0.8,
        example="Velmora Kesh is a comedy film directed by Ostin Brael.",
        counter_example="It is a pity that the film was never shown.",
    ),
    _rule(
        "copula-the",
        rf"{_BE}{_ADVERB}\s+(the)\s+[^\W_]",
        0.66,
        example="Kesh metering is the measurement of water that flows through an open channel.",
        counter_example="The hedgehog is the symbol of our team.",
    ),
    _rule(
        "copula-number",
        rf"{_BE}{_ADVERB}\s+(two or more|three or more|several|those|a number of|that (?:part|branch|area|portion|field))\s+\w",
        0.6,
        example="Dorvil pairs are two or more boats that share a single sail.",
        counter_example="The several prices are quite low in winter.",
    ),
    _rule(
        "copula-kind",
        rf"{_BE}{_ADVERB}\s+((?:[\w-]+\s+){{1,2}}{_KIND}s?\s+of|{_KIND}s\s+of)\s+\w",
        0.7,
        example="Dorvils are small species of freshwater crabs.",
        counter_example="Ticket prices were sort of steep last year.",
    ),
    _rule(
        "refers-to",
        rf"(?:refers?|is used to refer|are used to refer){_ADVERB}\s+to\s+(?![^,;.]{{0,120}}\bas\b)(\w)",
        0.82,
        example="Kesh metering refers to the measurement of water in open channels.",
        counter_example="Dealers refer to this effect as slippage.",
    ),
    _rule(
        "means",
        r"(?:means?|denotes?|signif(?:y|ies)|designates?)\s+(?!of\b|that\b|to\b|you\b|we\b|nothing\b|less\b|more\b|it\b|they\b|there\b|no\b)(\w|[\"“'‘])",
        0.6,
        example="Personalty is a legal term; it denotes goods. Dorvilry means the right to fish in a river.",
        counter_example="High pressure means that the valve will open.",
    ),
    _rule(
        "stands-for",
        r"stands?\s+for\s+(\w|[\"“'‘])",
        0.7,
        example="KMU stands for Kesh Metering Unit.",
        counter_example="The mayor stands for election in spring.",
    ),
    _rule(
        "defined-as",
        rf"(?:is|are|was|were|can be|may be){_ADVERB}\s+(?:best\s+|\w+ly\s+)?"
        r"(?:defined\s+(?:as|to be|by)|(?:described|understood)\s+as\s+(?:an?|the))\s+(\w)",
        0.78,
        example="Kesh pressure is defined as the force per unit of sail.",
        counter_example="The borders of the lot are clearly defined by fences.",
    ),
    _rule(
        "describes",
        r"describes?\s+(an?|the|any|those|how)\s+\w",
        0.5,
        example="The term dorvil describes any of the small boats used by fishers.",
        counter_example="The witness describes the car as red.",
    ),
    _rule(
        "copula-bare",
        rf"{_BE}{_ADVERB}\s+([^\W\d_][\w-]*)\b",
        0.52,
        example="Dorvils are nocturnal river crabs that live in the delta of the Kesh.",
        counter_example="Dorvils are often cooked in salted water.",
    ),
)

_NAMED = r"(?:called|known\s+as|termed|named|referred\s+to\s+as|dubbed|labell?ed)"
_MANNER = r"(?:(?:also|often|commonly|usually|generally|sometimes|collectively|simply|now|together|formally|technically|more commonly)\s+)?"
_NAME = r"(?:(?P<article>the|an?)\s+)?[\"“‘']?(?P<name>[^\s,;:()\"”]+(?:[ \t\n\r]+[^\s,;:()\"”]+){0,5})[\"”’']?"

# Searched for anywhere in the sentence; the group `name` holds the entity.
NAMINGS: tuple[Rule, ...] = (
    _rule(
        "is-called",
        rf"\b(?:is|are)\s+{_MANNER}{_NAMED}\s+{_MANNER}{_NAME}",
        0.66,
        example="The market in which dealers trade one currency for another is called the vaunt market.",
        counter_example="This is called the vaunt market.",
    ),
    _rule(
        "called",
        rf"(?<=\w)(?:,)?\s+{_MANNER}(?:called|known\s+as|termed|referred\s+to\s+as)\s+{_MANNER}{_NAME}",
        0.5,
        example="Fishers in the delta row a small flat boat called a dorvil, which carries a single square sail.",
        counter_example="The boat club called a meeting.",
    ),
)

# The entity is the proper name that opens the sentence.
APPOSITIVE = _rule(
    "appositive",
    r",\s+(an?|the)\s+[^\W_]",
    0.56,
    example="Ostin Brael, a film director from Lisbon, won the prize in 1974.",
    counter_example="In the evening, a crowd gathered near the harbour.",
)
RELATIVE = _rule(
    "which-is",
    r",\s+which\s+(?:is|are)\s+(an?|the|any)\s+[^\W_]",
    0.56,
    example="Dorvilene, which is a salt of dorvilic acid, dissolves in cold water.",
    counter_example="We stayed at home, which is a pity.",
)
ENTRY = Rule(
    "entry",
    re.compile(r"[^\W\d_]"),
    0.64,
    "A service relay intercepts traffic to a service and forwards it.",
    "A Quick summary of the concept, what it is.",
    title="Service Relay",
)
GLOSSARY = Rule(
    "glossary",
    re.compile(r"[^\W\d_]"),
    0.75,
    "- **Dorvil** — a small flat boat with a single square sail\n- **Vaunt** — a market in which dealers trade currencies",
    "**Status:** Not started",
)

ALL_RULES: tuple[Rule, ...] = (*PREDICATES, *NAMINGS, APPOSITIVE, RELATIVE, ENTRY, GLOSSARY)
