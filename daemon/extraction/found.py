"""What extraction hands to the rest: one found definition, and the whitespace rule that ties it to its span. Knows no rules."""

from __future__ import annotations

from dataclasses import dataclass

MAX_DEFINITION_CHARACTERS = 600
MAX_SENTENCES = 3


@dataclass(frozen=True, slots=True)
class FoundDefinition:
    """An entity and the sentences that define it, at a place in the text: `definition == collapse(text[span[0]:span[1]])`."""

    entity: str
    definition: str
    span: tuple[int, int]
    score: float
    pattern: str
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A definition that the screen refused: whose it was, where it stood, and the sentence that names the rule."""

    entity: str
    span: tuple[int, int]
    reason: str


@dataclass(frozen=True, slots=True)
class Examined:
    """What a text defines, and what was refused of it."""

    found: tuple[FoundDefinition, ...]
    refused: tuple[Refused, ...]


def collapse(text: str) -> str:
    """Every run of white space as one space, none at the ends."""
    return " ".join(text.split())
