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
    words,
)

THRESHOLD = 0.5

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[,;:.()–—]")
_PARENTHESIS = re.compile(r"\([^()]{0,300}\)")
_GENUS_ENDS = words(
    """
    of that which who whose where in for with to used on from by at as between into within without through when consisting found
    made designed  and or is was , ; : . ( – — under over during about against among around near per
    """
)
_DIFFERENTIA = words(
    """
    that which who whose where of for with to used in by from consisting composed made designed characterized based containing
    involving between  describing having living located known found created developed produced formed caused given providing
    allowing enabling using intended
    """
)
_SUPERLATIVES = words(
    """
    largest biggest oldest smallest highest longest greatest best worst youngest larger smaller greater opposite most first second third
    last only main same next
    """
)
_HALF_KINDS = words("member members part parts kind need method")  # "a member of the lily family" is a kind after all
_NO_NOUNS = words("so too very more less most able likely due up out in on at")
_BARE_DIFFERENTIA = words("that which who of used consisting composed made designed")


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
    past_common = said.verb in ("was", "were", "will") and not known
    return judging or past_common or (said.bare and not _bare_defines(subject, said, setting)) or head in ("why", "how", "what")


def _is_half_kind(said: Predicate) -> bool:
    genus = said.genus
    following = said.words[len(genus)] if len(genus) < len(said.words) else ""
    return following == "of" and genus[-1] in _HALF_KINDS and len(said.words) > len(genus) + 3


def _bare_defines(subject: Subject, said: Predicate, setting: Setting) -> bool:
    """ "Dorvils are nocturnal crabs that ...": a plural subject, a noun phrase, a differentia; never a participle or a lone adjective."""
    genus = said.genus
    first, head = genus[0], genus[-1]
    following = said.words[len(genus)] if len(genus) < len(said.words) else ""
    if re.search(r"(?:ed|en|ing|ly|ble|ful|ous|ant|ent|al|ive|ary|ic)\Z", first) and len(genus) < 2:
        return False
    if first.endswith("ing") or re.search(r"(?:ed|ly)\Z", head) or first in _NO_NOUNS:
        return False
    plural = said.verb == "are" and re.search(r"[^s]s\Z", head) is not None
    if said.verb not in ("is", "are"):
        return False
    if setting.titled:
        return following in _DIFFERENTIA
    return plural and subject.article == "" and following in _BARE_DIFFERENTIA


def _subject_part(subject: Subject, said: Predicate, setting: Setting) -> float:
    value = 0.0
    if setting.titled:
        value += 0.2
    elif subject.proper:
        value += 0.05
    elif subject.article == "the":
        value -= 0.05 if setting.opens_document else 0.2 if setting.index else 0.14
        if setting.index > 0 and subject.words == 1 and subject.head in ANAPHORIC_HEADS:
            value -= 0.3
    if subject.termed:
        value += 0.1
    if subject.relational and not setting.titled:
        value -= 0.3 if subject.article == "the" else 0.2
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
    value = 0.05 if any(word in _DIFFERENTIA for word in rest[:6]) else -0.1
    if len(words) <= 3:
        value -= 0.06
    if said.rule == "copula-the" and not any(word in _DIFFERENTIA for word in rest[:4]):
        value -= 0.15
    if set(genus[:3]) & _SUPERLATIVES:
        value -= 0.1 if said.verb in ("is", "are") else 0.25
    if set(words[:2]) & JUDGING_ADJECTIVES:
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
