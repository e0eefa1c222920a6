"""Asks every rule about one sentence and returns the best candidate. Between the rules (data) and find.py (the document)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from daemon.extraction import embedded, naming
from daemon.extraction.clauses import Clause, read
from daemon.extraction.rules import APPOSITIVE, ENTRY, PREDICATES, RELATIVE, STATEMENTS, VERBS_OF_MEANING, Rule
from daemon.extraction.scoring import Setting, kind_head, names_a_document, predicate, score, speaks_to_someone
from daemon.extraction.subjects import Subject, name_from_words, read_subject
from daemon.extraction.titles import Title, fuller_name, same_thing
from daemon.extraction.words import (
    DETERMINERS,
    EVENT_VERBS,
    PREPOSITIONS,
    PRONOUNS,
    REPORTING_VERBS,
    ROLE_VERBS,
    SOFT_ADVERBS,
    SOFTWARE,
    is_plural,
    words,
)

_TRIGGER = re.compile(
    r"\b(?:is|are|was|were|refers?|means?|denotes?|signif(?:y|ies)|designates?|stands?|called|known|termed|named|defined?|defines|referred|dubbed|"
    r"consists?|comprises?|occurs?|happens?|arises?|exists?|results?|takes?|involves?|states?|holds?|says|posits?|asserts?|proposes?|suggests?|"
    r"predicts?|maintains?|describes?|measures|represents|indicates|specifies|signals|provides|implements|converts|offers|wraps|exposes|"
    r"acts?|serves?|functions?|parses|renders|generates|compiles|translates|computes|extracts|encodes|decodes|manages|monitors|detects|stores|retrieves|features|automates|"
    r"maps|selects|combines|returns|calculates|assigns)\b"
    r"|[,—–]\s*(?:an?|the|which|or|that is)\s|\((?:the|an?|any|those)\s|;\s+that is,",
    re.IGNORECASE,
)
_PRONOUN = re.compile(r"[\"“(\s]*(?P<word>it|this)\s+(?=(?:is|was)\s+(?:an?|the|one of)\s)", re.IGNORECASE)
# inside a sentence, May is a month
_WAVERS = re.compile(r"\b(?:may|(?i:might|could|perhaps|probably|possibly|reportedly|allegedly|rumou?red))\b|\A\W*May\b|!\s*\Z")
_TITLE_BONUS_ROOM = 12
_FRAME = re.compile(
    r"(?:when|if)\s+(?:we|you|people|one|developers|engineers)\s+(?:speak|speaks|talk|talks|refer|refers)\s+(?:of|about|to)\s+(?P<topic>[^,;:.]{2,60}),"
    r"\s+(?:[\w’'()-]+\s+){1,6}(?:refers?\s+to|means?|is|are)\b",
    re.IGNORECASE,
)
_BY_DOING = re.compile(r"\bby\s+\w+ing\b")
_PRONOUN_RULES = tuple(rule for rule in PREDICATES if rule.name in ("copula-one-of", "copula-a", "copula-the"))
_MAX_MEANING_SUBJECT = 12
_MAX_INNER_CLAUSES = 6
_INNER_CEILING = 0.6
_INNER = re.compile(
    r"(?:[;:]\s+(?:and\s+|thus,?\s+|so\s+|that is,?\s+)?|(?P<comma>,)\s+(?:(?P<and>and|but|so)\s+|(?:while|whereas|where|for)\s+)?"
    r"|\b(?:recall|remember|note|know)\b[^.;:]{0,60}?\s+that\s+|\b(?:while|whereas|definition,)\s+)"
    r"(?P<clause>(?:an?\s|the\s)?(?:[^\W_][\w’'-]*\s+){1,5}?(?:\([^()]{1,30}\)\s+)?(?:is|are|refers?|means?|occurs?|consists?|denotes?|involves?)\s)",
    re.IGNORECASE,
)
_MEANING_STEMS = words(
    """
    consists consist comprises comprise is are occurs occur happens happen arises arise exists exist results result takes take involves
    involve states state holds hold says posits posit asserts assert proposes propose suggests suggest predicts predict maintains maintain
    describes describe measures represents indicates specifies signals provides implements converts offers wraps exposes parses renders acts
    act serves serve functions function generates compiles translates computes extracts encodes decodes manages monitors detects stores
    retrieves features automates maps selects combines returns calculates assigns
    """
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sentence stands: its number in its paragraph, whether that opens the document, and the names above it."""

    index: int
    opens: bool
    item: bool
    page: Title | None
    heading: Title | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one rule says of one sentence. `titled`: a title names the entity; `paged`: the page's own title does."""

    entity: str
    aliases: tuple[str, ...]
    score: float
    pattern: str
    kind: str
    titled: bool
    proper: bool
    opens: bool
    paged: bool = False


def best(text: str, start: int, end: int, *, place: Place) -> Candidate | None:
    """The strongest candidate that text[start:end] gives, with the name its title writes; None where no rule holds."""
    sentence = text[start:end]
    if sentence.rstrip('"”’)] ').endswith(("?", ":")) or not (place.opens or _TRIGGER.search(sentence)):
        return None
    found = _pronoun(text, start, end, place=place)
    clause = read(text, start, end) if found is None else None
    if clause is not None:
        options = [
            option
            for option in (
                _predicate(text, end, clause, place=place),
                _meaning(text, end, clause, place=place),
                _opening(text, end, clause, place=place),
                _entry(text, end, clause, place=place),
            )
            if option
        ]
        found = max(options, key=lambda option: option.score) if options else None
    elif found is None:
        found = _framed(text, start, end, place=place)
    if found is None or found.score < 0.5:
        found = _naming(text, start, end, place=place) or found
    if found is None or found.score < 0.5:
        found = _embedded(text, start, end, place=place) or found
    if found is None or found.score < 0.5:
        found = _inner_clause(text, start, end, place=place) or found
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


def _titled(subject: Subject, place: Place) -> Title | None:
    for title in (place.page, place.heading):
        if title is not None and same_thing(title, subject.entity, subject.aliases):
            return title
    opening = place.opens and place.index == 0 and subject.proper and not subject.joined
    return place.page if opening and place.page is not None and fuller_name(place.page, subject.entity) else None


def _candidate(subject: Subject, value: float, rule: Rule, *, kind: str, place: Place) -> Candidate:
    title = _titled(subject, place)
    if title is None:
        return Candidate(subject.entity, subject.aliases, value, rule.name, kind, titled=False, proper=subject.proper, opens=place.opens)
    names = dict.fromkeys(name for name in (*title.aliases, subject.entity, *subject.aliases) if name.lower() != title.name.lower())
    return Candidate(
        title.name, tuple(names), value, rule.name, kind, titled=True, proper=subject.proper, opens=place.opens, paged=title is place.page
    )


def _setting(subject: Subject, clause: Clause, place: Place) -> Setting:
    titled = _titled(subject, place) is not None
    return Setting(place.index, titled, clause.lead, opens_document=place.opens and place.index == 0)


def _predicate(text: str, end: int, clause: Clause, *, place: Place) -> Candidate | None:
    """ "X is a ...", "X refers to ...": a rule that holds at the main verb."""
    if clause.verb is None:
        return None
    at = clause.tokens[clause.verb].start
    for rule in PREDICATES:
        match = rule.pattern.match(text, at, end)
        if match is None:
            continue
        subject = read_subject(clause)
        if subject is None:
            return None
        if rule.name == "stands-for" and not (subject.proper or subject.termed):
            return None
        said = predicate(
            rule.name, rule.weight, clause.tokens[clause.verb].text, text=text[match.start(1) : end], bare=rule.name == "copula-bare"
        )
        if rule.name in ("copula-a", "copula-the"):
            said = predicate(rule.name, rule.weight, said.verb, text=text[match.end(1) : end], bare=False)
        value = score(subject, said, _setting(subject, clause, place))
        return _candidate(subject, value, rule, kind=kind_head(said), place=place)
    return None


def _meaning(text: str, end: int, clause: Clause, *, place: Place) -> Candidate | None:
    """ "X consists of ...", "X occurs when ...": a verb that tells what its subject is, behind a short subject."""
    for number in range(clause.first + 1, min(len(clause.tokens) - 2, clause.first + _MAX_MEANING_SUBJECT)):
        if clause.tokens[number].lower not in _MEANING_STEMS:
            continue
        at = clause.tokens[number].start
        for rule in VERBS_OF_MEANING:
            match = rule.pattern.match(text, at, end)
            subject = read_subject(clause, until=number) if match else None
            if match is None or subject is None:
                continue
            if not _means_by(rule, subject, clause.tokens[number].lower, titled=_titled(subject, place) is not None):
                return None
            verb = "are" if is_plural(subject.head) else "is"
            said = predicate(
                rule.name, rule.weight, verb, text=text[match.start(1) if match.re.groups else match.end() - 1 : end], bare=False
            )
            value = score(subject, said, _setting(subject, clause, place))
            return _candidate(subject, value, rule, kind="", place=place)
    return None


def _means_by(rule: Rule, subject: Subject, verb: str, *, titled: bool) -> bool:
    if titled and rule.name in ("measures", "describes", "does", "acts-as"):
        return False  # the page's own entry says what its thing does: rule "entry"
    if rule.name == "states-that":
        return re.search(STATEMENTS, subject.entity.lower()) is not None or any(
            re.search(STATEMENTS, part) for part in subject.entity.lower().split(" of ")
        )
    if rule.name == "does":  # software is what it does; a person or a place is not
        return titled or subject.lower_case or (subject.words > 1 and subject.head in SOFTWARE)
    if rule.name == "consists-of":  # "Velmora comprises three villages" counts its parts, "a dorvil consists of" says what it is
        return titled or subject.words > 1 or subject.article == "a" or is_plural(subject.head) or verb.startswith("consist")
    if rule.name == "occurs-when":
        return titled or subject.article != "the"
    if rule.name == "used-for":
        return subject.termed
    if rule.name in ("measures", "describes", "involves", "marked-by", "acts-as"):
        return subject.termed or titled or (subject.article != "the" and not subject.proper)
    return True


def _inner_clause(text: str, start: int, end: int, *, place: Place) -> Candidate | None:
    """ "Recall that a dorvil is ...", "...; the vaunt is ...": a clause of its own behind the one that opens the sentence."""
    if place.item:
        return None
    for number, mark in enumerate(_INNER.finditer(text, start, end)):
        if number == _MAX_INNER_CLAUSES:
            break
        clause = read(text, mark.start("clause"), end)
        opener = text[start : mark.start()].split()[:1]
        led = bool(opener) and (opener[0].lower() in PREPOSITIONS or opener[0].lower().endswith(("ed", "ly")))
        listed = mark["comma"] is not None and not (led and mark["and"] is None) and not _TRIGGER.search(text, start, mark.start())
        if clause is None or clause.lead or listed:
            continue
        inner = replace(place, index=max(1, place.index), opens=False)
        made = _predicate(text, end, clause, place=inner) or _meaning(text, end, clause, place=inner)
        if made is not None and made.score >= 0.5:
            return replace(made, score=min(made.score, _INNER_CEILING))
    return None


def _opening(text: str, end: int, clause: Clause, *, place: Place) -> Candidate | None:
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
        if rule is APPOSITIVE and match.group(1).lower() == "the" and _titled(subject, place) is None:
            continue  # "Ostin Brael, the director of the NYA, hired ...": it says which one, not what
        said = predicate(rule.name, rule.weight - (0.1 if match.group(1).lower() == "the" else 0.0), "is", text=inside, bare=False)
        return _candidate(subject, score(subject, said, _setting(subject, clause, place)), rule, kind=kind_head(said), place=place)
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


def _entry(text: str, end: int, clause: Clause, *, place: Place) -> Candidate | None:
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
        return _candidate(subject, value, ENTRY, kind="", place=place)
    return None


def _framed(text: str, start: int, end: int, *, place: Place) -> Candidate | None:
    """ "When we speak of service relays, a relay refers to ...": the frame names the page's thing, the clause behind it says what it is."""
    framed = _FRAME.match(text, start, end) if place.page is not None and place.opens and place.index == 0 else None
    topic = name_from_words(re.sub(r"\([^()]*\)", " ", framed["topic"])) if framed is not None else None
    if place.page is None or topic is None or not same_thing(place.page, topic.entity, topic.aliases):
        return None
    return _candidate(topic, ENTRY.weight, ENTRY, kind="", place=place)


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


def _pronoun(text: str, start: int, end: int, *, place: Place) -> Candidate | None:
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
        return replace(_candidate(name, value, rule, kind=kind_head(said), place=place), entity=place.page.name, titled=True, paged=True)
    return None


def _naming(text: str, start: int, end: int, *, place: Place) -> Candidate | None:
    """ "A long description is called X" and "a small boat called X, which ...": the sentence names its entity at the end."""
    made = naming.named(text, start, end) if not place.item else None
    if made is None:
        return None
    return _candidate(made.subject, made.value - (0.03 if place.index else 0.0), made.rule, kind="", place=place)


def _embedded(text: str, start: int, end: int, *, place: Place) -> Candidate | None:
    """ "... dorvils, which are small boats that ...": a definition inside a sentence that is about something else."""
    made = embedded.embedded(text, start, end) if not place.item else None
    if made is None:
        return None
    return _candidate(made.subject, made.value - (0.02 if place.index else 0.0), made.rule, kind=made.kind, place=place)
