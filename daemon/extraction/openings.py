"""Definitions by where a sentence stands: a name and what its first comma adds, an entry under its title, "It is a ..." at a page's start."""

from __future__ import annotations

import re
from dataclasses import replace

from daemon.extraction.candidates import Candidate, Place, candidate_of, setting_of, titled_by
from daemon.extraction.clauses import Clause
from daemon.extraction.insets import APPOSITIVE, RELATIVE
from daemon.extraction.predicates import PREDICATES
from daemon.extraction.rules import ENTRY
from daemon.extraction.scoring import Setting, kind_head, names_a_document, predicate, score
from daemon.extraction.subjects import Subject, name_from_words, read_subject
from daemon.extraction.titles import same_thing
from daemon.extraction.words import DETERMINERS, EVENT_VERBS, PREPOSITIONS, PRONOUNS, REPORTING_VERBS, ROLE_VERBS, SOFT_ADVERBS

_PRONOUN = re.compile(r"[\"“(\s]*(?P<word>it|this)\s+(?=(?:is|was)\s+(?:an?|the|one of)\s)", re.IGNORECASE)
_PRONOUN_RULES = tuple(rule for rule in PREDICATES if rule.name in ("copula-one-of", "copula-a", "copula-the"))
_TITLE_BONUS_ROOM = 12
_FRAME = re.compile(
    r"(?:when|if)\s+(?:we|you|people|one|developers|engineers)\s+(?:speak|speaks|talk|talks|refer|refers)\s+(?:of|about|to)\s+(?P<topic>[^,;:.]{2,200}),"
    r"\s+(?:[\w’'()-]+\s+){1,6}(?:refers?\s+to|means?|is|are)\b",
    re.IGNORECASE,
)
_BY_DOING = re.compile(r"\bby\s+\w+ing\b")


def by_opening(text: str, end: int, clause: Clause, *, place: Place) -> Candidate | None:
    """ "X, a ..., ..." and "X, which is a ...": the name that opens the sentence, and what its first comma adds."""
    comma = next((n for n in range(clause.first + 1, min(len(clause.tokens), clause.first + 9)) if clause.tokens[n].text == ","), None)
    if comma is None or (clause.verb is not None and clause.verb < comma):
        return None
    for rule in (RELATIVE, APPOSITIVE):
        at = clause.tokens[comma].start
        match = rule.pattern.match(text, at, end)
        subject = read_subject(clause, until=comma) if match else None
        if match is None or subject is None:
            continue
        inside = text[match.end(1) : end].split(",")[0]
        if rule is APPOSITIVE and not _stands_in_apposition(subject, clause, comma, inside=inside):
            continue
        if rule is APPOSITIVE and match.group(1).lower() == "the" and titled_by(subject, place) is None:
            continue  # "Ostin Brael, the director of the NYA, hired ...": it says which one, not what
        said = predicate(rule.name, rule.weight - (0.1 if match.group(1).lower() == "the" else 0.0), "is", text=inside, bare=False)
        return candidate_of(subject, score(subject, said, setting_of(subject, clause, place)), rule, kind=kind_head(said), place=place)
    return None


def _stands_in_apposition(subject: Subject, clause: Clause, comma: int, *, inside: str) -> bool:
    """A proper name of its own, a second comma, no "and" in between: not a list, not a lead-in."""
    name = clause.tokens[clause.first : comma]
    capitals = sum(token.text[0].isupper() or token.text[0].isdigit() for token in name)
    closed = next((n for n in range(comma + 1, min(len(clause.tokens), comma + 40)) if clause.tokens[n].text == ","), None)
    if closed is None or closed + 1 >= len(clause.tokens) or len(inside.split()) < 2:
        return False
    after = clause.tokens[closed + 1].lower
    follows = after not in PREPOSITIONS | DETERMINERS | PRONOUNS | REPORTING_VERBS | {"and", "or", "but"}
    words = [word for word in name if word.lower not in PREPOSITIONS | DETERMINERS]
    return subject.proper and capitals >= len(words) and follows and " and " not in f" {inside} " and clause.lead != "connective"


def by_entry(text: str, end: int, clause: Clause, *, place: Place) -> Candidate | None:
    """ "A service relay intercepts ...": the page's title as the subject of a plain present verb, in the first paragraph."""
    if place.page is None or not place.opens or place.index > 2:
        return None
    explained = _BY_DOING.search(text, clause.tokens[0].start, end) is not None
    for until in range(min(len(clause.tokens) - 2, clause.first + _TITLE_BONUS_ROOM), clause.first, -1):
        subject = read_subject(clause, until=until)
        if (
            subject is None
            or not same_thing(place.page, subject.entity, subject.aliases)
            or not _defining_verb(clause, until, explained=explained)
        ):
            continue
        value = ENTRY.weight - 0.04 * place.index - (0.06 if clause.lead == "connective" else 0.0)
        return candidate_of(subject, value, ENTRY, kind="", place=place)
    return None


def by_frame(text: str, start: int, end: int, *, place: Place) -> Candidate | None:
    """ "When we speak of service relays, a relay refers to ...": the frame names the page's thing, the clause behind it says what it is."""
    framed = _FRAME.match(text, start, end) if place.page is not None and place.opens and place.index == 0 else None
    topic = name_from_words(re.sub(r"\([^()]*\)", " ", framed["topic"])) if framed is not None else None
    if place.page is None or topic is None or not same_thing(place.page, topic.entity, topic.aliases):
        return None
    return candidate_of(topic, ENTRY.weight, ENTRY, kind="", place=place)


def by_pronoun(text: str, start: int, end: int, *, place: Place) -> Candidate | None:
    """ "It is a ..." at the very start of a page whose title is the plain name of a thing."""
    match = _PRONOUN.match(text, start, end)
    if match is None or place.page is None or not place.page.plain or not place.opens or place.index > 0:
        return None
    for rule in _PRONOUN_RULES:
        held = rule.pattern.match(text, match.end(), end)
        if held is None:
            continue
        said = predicate(rule.name, rule.weight, "is", text=text[held.end(1) : end], bare=False)
        if match["word"].lower() == "this" and names_a_document(said):
            return None
        name = name_from_words(place.page.name)
        if name is None:
            return None
        value = score(name, said, Setting(0, True, "", opens_document=True)) - 0.2
        return replace(candidate_of(name, value, rule, kind=kind_head(said), place=place), entity=place.page.name, titled=True, paged=True)
    return None


def _defining_verb(clause: Clause, at: int, *, explained: bool) -> bool:
    """A plain present verb. What happened to a thing defines it only where the sentence goes on to say by doing what (`explained`)."""
    while at < len(clause.tokens) - 1 and (clause.tokens[at].lower in SOFT_ADVERBS or clause.tokens[at].text == ","):
        at += 1
    word, before = clause.tokens[at], clause.tokens[at - 1].lower
    if word.lower in ROLE_VERBS:
        return True
    told = word.lower in EVENT_VERBS and not explained
    if word.text != word.lower or told or word.lower in PREPOSITIONS | PRONOUNS | DETERMINERS or not word.lower.isalpha():
        return False
    singular = not (before.endswith("s") and not before.endswith(("ss", "us", "is")))
    third_person = word.lower.endswith("s") and not word.lower.endswith(("ss", "us"))
    blocked = word.lower in {"and", "or", "but", "not", "is", "are", "was", "were", "can", "may", "will", "must", "should", "did", "had"}
    return not blocked and (third_person if singular else not re.search(r"(?:ed|ing|ly|s)\Z", word.lower))
