"""Asks every rule about one sentence and returns the best candidate. Between the rules (data) and find.py (the document)."""

from __future__ import annotations

import re
from dataclasses import replace

from daemon.extraction import embedded, naming
from daemon.extraction.candidates import Candidate, Place, candidate_of
from daemon.extraction.clauses import read
from daemon.extraction.openings import by_entry, by_frame, by_opening, by_pronoun
from daemon.extraction.scoring import speaks_to_someone
from daemon.extraction.verbs import TRIGGER, by_inner_clause, by_meaning, by_predicate

# inside a sentence, May is a month
_WAVERS = re.compile(r"\b(?:may|(?i:might|could|perhaps|probably|possibly|reportedly|allegedly|rumou?red))\b|\A\W*May\b|!\s*\Z")


def best(text: str, start: int, end: int, *, place: Place) -> Candidate | None:
    """The strongest candidate that text[start:end] gives, with the name its title writes; None where no rule holds."""
    sentence = text[start:end]
    if sentence.rstrip('"”’)] ').endswith(("?", ":")) or not (place.opens or TRIGGER.search(sentence)):
        return None
    found = by_pronoun(text, start, end, place=place)
    clause = read(text, start, end) if found is None else None
    if clause is not None:
        options = [
            option
            for option in (
                by_predicate(text, end, clause, place=place),
                by_meaning(text, end, clause, place=place),
                by_opening(text, end, clause, place=place),
                by_entry(text, end, clause, place=place),
            )
            if option
        ]
        found = max(options, key=lambda option: option.score) if options else None
    elif found is None:
        found = by_frame(text, start, end, place=place)
    if found is None or found.score < 0.5:
        found = _naming(text, start, end, place=place) or found
    if found is None or found.score < 0.5:
        found = _embedded(text, start, end, place=place) or found
    if found is None or found.score < 0.5:
        found = by_inner_clause(text, start, end, place=place) or found
    if found is None:
        return None
    if not speaks_to_someone(sentence):
        return found
    # "The harbour is something that we miss" is about one harbour; "a group that we belong to" is not about us.
    one = place.index > 0 or sentence.lstrip('"“*_ ').startswith("The ")
    return replace(found, score=found.score - (0.2 if one and not found.titled else 0.05))


def wavers(sentence: str) -> bool:
    """True where a sentence guesses, shouts or speaks to its reader: it does not go on defining."""
    return bool(_WAVERS.search(sentence)) or speaks_to_someone(sentence)


def speaks(text: str) -> bool:
    return speaks_to_someone(text)


def _naming(text: str, start: int, end: int, *, place: Place) -> Candidate | None:
    """ "A long description is called X" and "a small boat called X, which ...": the sentence names its entity at the end."""
    made = naming.named(text, start, end) if not place.item else None
    if made is None:
        return None
    return candidate_of(made.subject, made.value - (0.03 if place.index else 0.0), made.rule, kind="", place=place)


def _embedded(text: str, start: int, end: int, *, place: Place) -> Candidate | None:
    """ "... dorvils, which are small boats that ...": a definition inside a sentence that is about something else."""
    made = embedded.embedded(text, start, end) if not place.item else None
    if made is None:
        return None
    return candidate_of(made.subject, made.value - (0.02 if place.index else 0.0), made.rule, kind=made.kind, place=place)
