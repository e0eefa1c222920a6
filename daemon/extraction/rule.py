"""What a rule of extraction is, and the fragments of patterns that several rules share. The rules: predicates.py, namings.py, insets.py."""

from __future__ import annotations

import re
from dataclasses import dataclass

ADVERB = (
    r"(?:,?\s+(?:generally|usually|typically|often|commonly|essentially|basically|simply|traditionally|historically|technically|formally|informally|"
    r"originally|broadly|sometimes|officially|primarily|mainly|mostly|also|itself|both|either|especially|effectively|still|strictly|roughly|now|"
    r"currently|formerly|quite|rather|thus|therefore|in general|in essence|by definition|in fact|at its core|in mathematics|in short),?)?"
)
# What a program does.
DOES = (
    r"(?:provides|implements|converts|offers|wraps|exposes|parses|renders|generates|compiles|translates|computes|measures|extracts|encodes|"
    r"decodes|manages|monitors|detects|stores|retrieves|features|automates|maps|selects|combines|returns|calculates|assigns)"
)
BE = r"(?:is|are|was|were|will be)\b"


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    pattern: re.Pattern[str]
    weight: float
    example: str
    counter_example: str
    title: str | None = None  # the title under which the examples stand


def rule(name: str, pattern: str, weight: float, *, example: str, counter_example: str) -> Rule:
    return Rule(name, re.compile(pattern, re.IGNORECASE), weight, example, counter_example)
