"""How sure we are that a sentence defines its subject: a number from 0 to 1. Only 0.5 and more is handed out.

Calibration: a rule's weight is where a plain case starts (0.8 "X is a ...", 0.66 "X is the ...", 0.6 an appositive).
Raised by: the title names the subject (+0.2), "the term X" (+0.1), a proper name (+0.05), a differentia behind the genus, that is
"that/which/used/of ..." (+0.05).
Lowered by: a sentence in the middle of running prose (-0.06), a definite common noun (-0.05 where the document opens, -0.14 where a
paragraph does, else -0.2, and more when it points back), a genus without differentia (-0.1 to -0.16), "X of Y" subjects (-0.2), two joined
names (-0.1), a connective (-0.06), hedges (-0.3), the first or second person (-0.2, in a titled entry -0.05), superlatives (-0.1, past
-0.25), praise and blame (-0.2), comparisons (-0.4).
Refused outright: a judging predicate ("is a problem") and the past or future of something without a proper name.
A score near 1 is a titled entry; 0.75 and above is a plain definition; between 0.5 and 0.65 the shape alone speaks for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from daemon.extraction.subjects import Subject
from daemon.extraction.words import (
    ANAPHORIC_HEADS,
    DOCUMENT_KINDS,
    EVALUATIVE_HEADS,
    FIRST_OR_SECOND_PERSON,
    HEDGES,
    JUDGING_ADJECTIVES,
    is_plural,
    words,
)

THRESHOLD = 0.5
EVALUATIVE = EVALUATIVE_HEADS

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[,;:.()–—]")
_PARENTHESIS = re.compile(r"\([^()]{0,300}\)")
_GENUS_ENDS = words(
    """
    of that which who whose where in for with to used on from by at as between into within without through when consisting found
    made designed has have  and or is was , ; : . ( – — under over during about against among around near per how what
    whether why
    """
)
_DIFFERENTIA = words(
    """
    that which who whose where of for with to used in by from consisting composed made designed characterized based containing
    involving between  describing having living located known found created developed produced formed caused given providing
    allowing enabling using intended around within across along through at on performed carried occurring belonging expressed measured
    """
)
SUPERLATIVES = words(
    """
    largest biggest oldest smallest highest longest greatest best worst youngest larger smaller greater opposite most first second third
    last only main same next
    """
)
_HALF_KINDS = words("member members part parts kind need method difference failure")  # "a member of the lily family" is a kind after all
_NO_NOUNS = words("so too very more less most able likely due up out in on at")
_RELATIVE_KINDS = words(
    "fork version member alternative replacement successor clone port copy descendant subset variant relative rival sibling"
)
_EXPLICIT = words("defined-as refers-to stands-for consists-of occurs-when states-that used-for")
_BARE_DIFFERENTIA = words(
    """
    that which who whose whom of used consisting composed made designed for in with between within from by along across to who we where on at
    about toward towards
    """
)
_BARE_BREAKS = words(
    """
    a an the that which who to of in for with by from at on as into than if when because not no it they he she we you this these those
    there be been being able used known called said always never only all some many most
    """
)
_MASS_NOUN = re.compile(
    r"(?:tion|sion|ment|ness|ity|ism|ance|ence|ship|hood|ure|ogy|phy|ics|ware|work|unit|case|type|form|kind|group|set|system|compound|"
    r"insect|animal|plant|rodent|material|substance|language|tool|method|process|theory|body|state|disease|name|title|term|unit|cover|belief|law)\Z"
)


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a sentence stands: `index` counts sentences in its paragraph, `lead` is what came before the subject."""

    index: int
    titled: bool
    lead: str
    opens_document: bool


@dataclass(frozen=True, slots=True)
class Predicate:
    """What a sentence says of its subject: the words from the genus on, and the verb before them."""

    rule: str
    weight: float
    verb: str
    words: tuple[str, ...]
    bare: bool

    @property
    def genus(self) -> tuple[str, ...]:
        for number, word in enumerate(self.words):
            if number and (word in _GENUS_ENDS or (number > 1 and re.search(r"\w(?:ed|ing)\Z", word))):
                return self.words[:number]
        return self.words[:12]


def predicate(rule: str, weight: float, verb: str, *, text: str, bare: bool) -> Predicate:
    plain = _PARENTHESIS.sub(" ", text)
    return Predicate(rule, weight, verb.lower(), tuple(word.lower() for word in _WORD.findall(plain)[:40]), bare)


def genus_of(text: str) -> tuple[str, ...]:
    """The words up to the noun that says what kind of thing it is: "a small flat boat" of "a small flat boat with a sail"."""
    words = predicate("", 0.0, "", text=text, bare=False).words
    return Predicate("", 0.0, "", words[1:] if words[:1] in (("a",), ("an",), ("the",)) else words, bare=False).genus


def score(subject: Subject, said: Predicate, setting: Setting) -> float:
    """The score of "subject + predicate" in its setting; 0.0 where a refusal applies."""
    if _refused(subject, said, setting):
        return 0.0
    value = said.weight + _subject_part(subject, said, setting) + _predicate_part(said) + _setting_part(subject, setting)
    return round(max(0.0, min(1.0, value)), 3)


def kind_head(said: Predicate) -> str:
    """The noun that says what kind of thing the subject is: "film" in "a comedy film directed by"."""
    return said.genus[-1] if said.genus else ""


def _refused(subject: Subject, said: Predicate, setting: Setting) -> bool:
    head = kind_head(said)
    judging = said.rule.startswith("copula") and head in EVALUATIVE_HEADS and not _is_half_kind(said)
    known = subject.proper or setting.titled or (subject.article == "" and setting.opens_document)
    # "was the first to use": it tells what somebody did before others.
    ranked = said.verb in ("was", "were") and bool(set(said.genus[:3]) & SUPERLATIVES) and not setting.titled
    past_common = said.verb in ("was", "were", "will") and not known
    return (
        judging
        or ranked
        or past_common
        or (said.bare and not _bare_defines(subject, said, setting))
        or (head in ("why", "how", "what") and said.rule != "copula-what")
    )


def _is_half_kind(said: Predicate) -> bool:
    genus = said.genus
    following = said.words[len(genus)] if len(genus) < len(said.words) else ""
    return (
        (following == "of" or (following == "between" and genus[-1] == "difference"))
        and genus[-1] in _HALF_KINDS
        and len(said.words) > len(genus) + 3
    )


def _bare_defines(subject: Subject, said: Predicate, setting: Setting) -> bool:
    """ "Dorvils are slender, nocturnal crabs that ...": a noun phrase without an article and its differentia; never an adjective."""
    if said.verb not in ("is", "are"):
        return False
    head = _bare_head(said.words, plural=said.verb == "are")
    if head is None or (subject.article == "the" and not (setting.titled or subject.proper or setting.opens_document)):
        return False
    following = said.words[head + 1] if head + 1 < len(said.words) else ""
    noun = said.words[head]
    if noun in EVALUATIVE_HEADS and not (following == "of" and noun in _HALF_KINDS):
        return False
    return following in _BARE_DIFFERENTIA or re.fullmatch(r"[a-z-]{3,}(?:ed|ing)", following) is not None


def _bare_head(words: tuple[str, ...], *, plural: bool) -> int | None:
    """Where the noun of a bare noun phrase stands; None where the words are adjectives or participles only."""
    for number, word in enumerate(words[:8]):
        if word in _NO_NOUNS or word in _BARE_BREAKS or (number == 0 and re.search(r"(?:ed|en|ing|ly)\Z", word) and not plural):
            return None
        following = words[number + 1] if number + 1 < len(words) else ""
        if plural and is_plural(word) and not (following and is_plural(following)):
            return number
        if not plural and _MASS_NOUN.search(word) and following in _BARE_DIFFERENTIA:
            return number
    return None


def _subject_part(subject: Subject, said: Predicate, setting: Setting) -> float:
    value = 0.0
    if setting.titled:
        value += 0.2
    elif said.rule in _EXPLICIT:  # the verb itself says that a meaning is given
        value += 0.05 if subject.proper or subject.article != "the" else 0.0
    elif subject.proper:
        value += 0.05
    elif subject.article == "the":
        value -= 0.015 if setting.opens_document else 0.2 if setting.index else 0.14
        if setting.index > 0 and subject.words == 1 and subject.head in ANAPHORIC_HEADS:
            value -= 0.3
    if subject.termed:
        value += 0.1
    if subject.relational and not setting.titled and said.rule not in _EXPLICIT:
        # "The amplitude of a wave is ..." speaks of every wave, "the length of the wave" of one.
        generic = (
            said.rule == "copula-the"
            and said.verb in ("is", "are")
            and (setting.opens_document or re.search(r"\bof an?\s", subject.entity) is not None)
        )
        value -= 0.16 if generic else 0.42 if subject.article == "the" else 0.2
    if subject.joined and not setting.titled:
        value -= 0.1
    if said.verb in ("was", "were", "will") and not (subject.proper or setting.titled):
        value -= 0.2
    if re.search(r"['’]s?\Z", subject.entity.split()[0]) and not setting.titled:
        value -= 0.1
    return value


def _predicate_part(said: Predicate) -> float:
    genus, words = said.genus, said.words
    rest = words[len(genus) :]
    value = 0.05 if any(word in _DIFFERENTIA for word in rest[:6]) else 0.0 if said.rule in _EXPLICIT else -0.1
    if len(words) <= 3:
        value -= 0.3 if kind_head(said) in _RELATIVE_KINDS else 0.06  # "is a maintained fork": of what, for what?
    if said.rule == "copula-the" and not any(word in _DIFFERENTIA for word in rest[:4]):
        value -= 0.15
    if set(genus[:3]) & SUPERLATIVES:
        value -= 0.1 if said.verb in ("is", "are") else 0.25
    if set(words[:2]) & JUDGING_ADJECTIVES:
        value -= 0.2
    if said.rule == "does" and "same" in words[:3]:
        value -= 0.2
    if words[:1] == ("more",) or words[:1] == ("less",):
        value -= 0.4
    if set(words[:25]) & HEDGES:
        value -= 0.3
    if said.rule.startswith("copula") and kind_head(said) in EVALUATIVE_HEADS:
        value -= 0.12
    return value


def _setting_part(subject: Subject, setting: Setting) -> float:
    value = 0.0
    if setting.lead == "connective":
        value -= 0.06
    if setting.index > 0 and not setting.titled:
        value -= 0.06
    if setting.opens_document and subject.article != "the":
        value += 0.02
    return value


def speaks_to_someone(text: str) -> bool:
    """True where the sentence is in the first or second person."""
    return any(word in FIRST_OR_SECOND_PERSON for word in (match.lower() for match in re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)?", text)))


def names_a_document(said: Predicate) -> bool:
    return bool(set(said.genus) & DOCUMENT_KINDS)
