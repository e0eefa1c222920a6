"""Definitions by a verb: "X is a ...", "X consists of ...", in the clause that opens a sentence or in one behind it."""

from __future__ import annotations

import re
from dataclasses import replace

from daemon.extraction.candidates import Candidate, Place, candidate_of, setting_of, titled_by
from daemon.extraction.clauses import Clause, read
from daemon.extraction.predicates import PREDICATES, STATEMENTS, VERBS_OF_MEANING
from daemon.extraction.rule import Rule
from daemon.extraction.scoring import kind_head, predicate, score
from daemon.extraction.subjects import Subject, read_subject
from daemon.extraction.words import PREPOSITIONS, SOFTWARE, is_plural, words

#: What every definition has somewhere; a sentence without any of it is passed over.
TRIGGER = re.compile(
    r"\b(?:is|are|was|were|refers?|means?|denotes?|signif(?:y|ies)|designates?|stands?|called|known|termed|named|defined?|defines|referred|dubbed|"
    r"consists?|comprises?|occurs?|happens?|arises?|exists?|results?|takes?|involves?|states?|holds?|says|posits?|asserts?|proposes?|suggests?|"
    r"predicts?|maintains?|describes?|measures|represents|indicates|specifies|signals|provides|implements|converts|offers|wraps|exposes|"
    r"acts?|serves?|functions?|parses|renders|generates|compiles|translates|computes|extracts|encodes|decodes|manages|monitors|detects|stores|retrieves|features|automates|"
    r"maps|selects|combines|returns|calculates|assigns|focus(?:es)?|concentrates?|cent(?:er|re)s|deals?)\b"
    r"|[,—–]\s*(?:an?|the|which|or|that is)\s|\((?:the|an?|any|those)\s|;\s+that is,",
    re.IGNORECASE,
)
_MAX_MEANING_SUBJECT = 12
_MAX_INNER_CLAUSES = 6
_INNER_CEILING = 0.6
_INNER = re.compile(
    r"(?:[;:]\s+(?:and\s+|thus,?\s+|so\s+|that is,?\s+)?|(?P<comma>,)\s+(?:(?P<and>and|but|so)\s+|(?:while|whereas|where|for)\s+)?"
    r"|\b(?:recall|remember|note|know)\b[^.;:]{0,60}?\s+that\s+|\b(?:while|whereas|definition,)\s+)"
    r"(?P<clause>(?:an?\s|the\s)?(?:[^\W_][\w’'-]*\s+){1,5}?(?:\([^()]{1,30}\)\s+)?(?:is|are|refers?|means?|occurs?|consists?|denotes?|involves?)\s)",
    re.IGNORECASE,
)
# What only software provides: its name needs no "crate" or "library" behind it.
_ARTEFACT = re.compile(r"\b(?:functionality|bindings?|implementations?|wrappers?|parsers?|apis?|macros?|primitives)\b")
_MEANING_STEMS = words(
    """
    consists consist comprises comprise is are occurs occur happens happen arises arise exists exist results result takes take involves
    involve states state holds hold says posits posit asserts assert proposes propose suggests suggest predicts predict maintains maintain
    describes describe measures represents indicates specifies signals provides implements converts offers wraps exposes parses renders acts
    act serves serve functions function generates compiles translates computes extracts encodes decodes manages monitors detects stores
    retrieves features automates maps selects combines returns calculates assigns focuses focus concentrates concentrate centers
    centres deals deal provide implement wrap offer expose parse
    """
)


def by_predicate(text: str, end: int, clause: Clause, *, place: Place) -> Candidate | None:
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
        value = score(subject, said, setting_of(subject, clause, place))
        return candidate_of(subject, value, rule, kind=kind_head(said), place=place)
    return None


def by_meaning(text: str, end: int, clause: Clause, *, place: Place) -> Candidate | None:
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
            if not _means_by(rule, subject, match.group().lower(), titled=titled_by(subject, place) is not None):
                return None
            verb = "are" if is_plural(subject.head) else "is"
            said = predicate(
                rule.name, rule.weight, verb, text=text[match.start(1) if match.re.groups else match.end() - 1 : end], bare=False
            )
            value = score(subject, said, setting_of(subject, clause, place))
            return candidate_of(subject, value, rule, kind="", place=place)
    return None


def by_inner_clause(text: str, start: int, end: int, *, place: Place) -> Candidate | None:
    """ "Recall that a dorvil is ...", "...; the vaunt is ...": a clause of its own behind the one that opens the sentence."""
    if place.item:
        return None
    for number, mark in enumerate(_INNER.finditer(text, start, end)):
        if number == _MAX_INNER_CLAUSES:
            break
        clause = read(text, mark.start("clause"), end)
        opener = text[start : mark.start()].split()[:1]
        led = bool(opener) and (opener[0].lower() in PREPOSITIONS or opener[0].lower().endswith(("ed", "ly")))
        listed = mark["comma"] is not None and not (led and mark["and"] is None) and not TRIGGER.search(text, start, mark.start())
        if clause is None or clause.lead or listed:
            continue
        inner = replace(place, index=max(1, place.index), opens=False)
        made = by_predicate(text, end, clause, place=inner) or by_meaning(text, end, clause, place=inner)
        if made is not None and made.score >= 0.5:
            return replace(made, score=min(made.score, _INNER_CEILING))
    return None


def _means_by(rule: Rule, subject: Subject, verb: str, *, titled: bool) -> bool:
    if titled and rule.name in ("measures", "describes", "does", "acts-as"):
        return False  # the page's own entry says what its thing does: rule "entry"
    if rule.name == "states-that":
        return re.search(STATEMENTS, subject.entity.lower()) is not None or any(
            re.search(STATEMENTS, part) for part in subject.entity.lower().split(" of ")
        )
    if rule.name == "does":  # software is what it does; a person or a place is not
        software = subject.words > 1 and subject.head in SOFTWARE
        if not verb.split()[0].endswith("s"):
            return software and subject.joined  # "the dorvil crate and its helpers wrap ...": said of each of them
        unnamed = subject.words == 1 and subject.article == ""
        return titled or subject.lower_case or software or (unnamed and _ARTEFACT.search(verb) is not None)
    if rule.name == "consists-of":  # "Velmora comprises three villages" counts its parts, "a dorvil consists of" says what it is
        if subject.relational and subject.article == "the" and not titled:
            return False  # "the diet of the dorvil consists of reeds" tells one trait of a thing
        return titled or subject.words > 1 or subject.article == "a" or is_plural(subject.head) or verb.startswith("consist")
    if rule.name == "occurs-when":
        return titled or subject.article != "the"
    if rule.name == "used-for":
        return subject.termed
    if rule.name in ("measures", "describes", "focuses-on", "involves", "marked-by", "acts-as"):
        return subject.termed or titled or (subject.article != "the" and not subject.proper)
    return True
