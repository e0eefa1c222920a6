"""Sentences that describe a thing first and name it then: "a small flat boat called a dorvil". Asks what stands before the naming verb.

The naming verb finds the place, the words before it decide: a description that the sentence itself holds counts, one that it
only points at ("This process is called ...") does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from daemon.extraction.namings import NAMING_VERB, NAMINGS
from daemon.extraction.rule import Rule
from daemon.extraction.subjects import Subject, name_from_words
from daemon.extraction.words import (
    COMMON_VERBS,
    FIRST_OR_SECOND_PERSON,
    NAME_STOPS,
    PREPOSITIONS,
    PRONOUNS,
    SUBORDINATORS,
    is_plural,
)

_RULE = {rule.name: rule for rule in NAMINGS}
PAST = re.compile(r"\b(?:was|were|had|did|began|became|(?<!are )(?<!is )made|took)\b")
_ADJECTIVE = re.compile(r"(?:ous|ic|ible|able|al|ive|ed|ent|ant)\Z")
_PARENTHESIS = re.compile(r"\([^()]{0,200}\)")
_PART = re.compile(r"[;:—–]\s+|,\s+(?:and|but|so|which|thus|then)\s+|,\s+(?=(?:it|this|these|they|such|the)\s)", re.IGNORECASE)
_DESCRIBES = frozenset({"that", "which", "who", "whose", "where", "when", "of", "between", "with", "by", "from", "in", "for", "to"})
_APPOSED = re.compile(r"[,(—–]\s*an?\s+(?:[\w-]+\s+){0,3}[\w-]+\s*\Z", re.IGNORECASE)
_LEAD = re.compile(
    r"(?:in|within|during|among|for|as (?:shown|seen|illustrated) in)\s+(?:[\w-]+\s+){0,4}[\w-]*,\s+(?=(?:the|an?|any|all)\s)",
    re.IGNORECASE,
)
_POINTING = frozenset({"this", "these", "such", "they", "it", "that", "those"})
_CONDITION = frozenset({"when", "if", "where", "once", "whenever"})
_AUXILIARIES = frozenset({"was", "were", "be", "been", "became", "is", "are", "not", "being", "he", "she", "they", "it", "and"})
_CAUSES = frozenset({"because", "since", "as", "so"})
_COUNTS = frozenset({"one", "two", "three", "four", "several", "some", "many", "another", "other", "most", "certain"})
_PRESENT = frozenset({"is", "are", "can", "has", "have"})
_ARTICLES = frozenset({"a", "an"})
_MAX_NAME_WORDS = 5
_MIN_DESCRIPTION_WORDS = 5
_MIN_CONDITION_WORDS = 4
_MIN_POINTED_WORDS = 6
_RELATIVES = frozenset({"that", "which", "who", "whose", "where"})
_WORD = re.compile(r"[^\s,;:()\"“”]+")


@dataclass(frozen=True, slots=True)
class Named:
    """A name that a sentence gives to what it described, and the rule that found it."""

    subject: Subject
    rule: Rule
    value: float


def named(text: str, start: int, end: int) -> Named | None:
    """The best naming in text[start:end], or None."""
    options = [made for match in NAMING_VERB.finditer(text, start, end) if (made := _read(text, start, end, match=match))]
    return max(options, key=lambda made: made.value) if options else None


def _read(text: str, start: int, end: int, *, match: re.Match[str]) -> Named | None:
    before = _PARENTHESIS.sub(" ", text[start : match.start()])
    words = [word.lower() for word in _WORD.findall(before)]
    if not words or words[0] in FIRST_OR_SECOND_PERSON or set(words[-4:]) & FIRST_OR_SECOND_PERSON:
        return None
    passive = match["be"] is not None
    if not passive and words[-1] in _AUXILIARIES:
        return None
    plural = match["be"].split()[0].lower() in ("are", "were") if passive else is_plural(words[-1])
    read = _name(match, plural=plural)
    if read is None:
        return None
    subject, name_end = read
    if not passive and len(words) < _MIN_DESCRIPTION_WORDS:
        return _other_name(before, subject, text[match.end("name") : end])
    name, value = (_passive if passive else _participle)(before, words, text[name_end:end])
    # "a ninja called Hotsuma" names one of its kind, it does not say what the kind is.
    if match["name"][0].isupper() and not (len(match["name"].split()[0]) > 2 and match["name"].split()[0].isupper()):
        value -= 0.1 if not passive else 0.2 if match["article"] is None else 0.0
    apposed = _APPOSED.search(before) is not None  # "..., a process called X": a kind, whatever happened
    if not passive and not apposed and PAST.search(text, start, end):  # what happened once names a case, not a kind
        value -= 0.05
    return Named(subject, _RULE[name], value) if name else None


def _passive(before: str, words: list[str], after: str) -> tuple[str, float]:
    """ "... is called X": by what its subject is."""
    lead = _LEAD.match(before)
    if lead is not None:  # "In optics, the point where ... is called": the lead says where the name is used
        before = before[lead.end() :]
        words = [word.lower() for word in _WORD.findall(before)]
    parts = [part for part in _PART.split(before) if part and part.strip()]
    last = [word.lower() for word in _WORD.findall(parts[-1])] if parts else []
    opener = words[0]
    if words[-1] == "what" or opener in _CAUSES:
        return "", 0.0
    if opener in _CONDITION and len(parts) > 1 and len(words) - len(last) > _MIN_CONDITION_WORDS and len(last) <= 6:
        return "when-called", _RULE["when-called"].weight
    if len(parts) > 1 and len(last) <= 4 and (not last or last[0] in _POINTING):
        told = len(words) - len(last)
        return (
            ("this-is-called", _RULE["this-is-called"].weight) if told >= _MIN_DESCRIPTION_WORDS and opener not in _POINTING else ("", 0.0)
        )
    described = bool(set(words) & _DESCRIBES)
    enough = len(words) > 2 if described else len(words) >= _MIN_DESCRIPTION_WORDS and opener in ("a", "an", "the", "any", "all")
    if opener in _POINTING and set(words[2:5]) & _RELATIVES and len(words) >= _MIN_POINTED_WORDS:
        return "is-called", _RULE["is-called"].weight - 0.06  # "These genes that determine ... are called": the relative clause tells which
    if opener in ("any", "all") and enough:
        return "is-called", _RULE["is-called"].weight - 0.06
    if not enough or _POINTING & set(last[:1]) or opener in PRONOUNS | SUBORDINATORS | PREPOSITIONS:
        return "", 0.0
    return "is-called", _RULE["is-called"].weight


def _participle(before: str, words: list[str], after: str) -> tuple[str, float]:
    """ "... a small boat called X, which ...": by the noun phrase before it."""
    if len(words) < _MIN_DESCRIPTION_WORDS:
        return "", 0.0
    pause = before.rstrip().endswith((",", "—", "–"))
    tail = words[-9:]
    comma = _words_since_comma(before.rstrip(" ,—–"))
    explained = re.match(r"\W{0,3}\s*(?:,\s*)?(?:which|that|who|where|in which|whereby|a|an)\b", after) is not None
    explained = explained and len(after.split()) >= _MIN_DESCRIPTION_WORDS
    weight = _RULE["called"].weight
    if explained and _ARTICLES & set(tail):
        return "called", weight + 0.06
    if _APPOSED.search(before) or (not pause and 1 < len(comma) <= 5 and len(comma) < len(words) and comma[0] in (*_ARTICLES, "the")):
        return "called", weight + 0.04  # "the seed opens, a process called ..."
    if pause and words[0] not in _POINTING:
        return "called", weight + 0.02
    if not pause and _ARTICLES & set(words[-5:-1]) and after.startswith(","):
        return "called", weight + 0.02
    return "", 0.0


def _other_name(before: str, other: Subject, after: str) -> Named | None:
    """ "Natural selection, also known as survival of the fittest, acts on ...": the subject and its second name."""
    text = before.rstrip()
    first = name_from_words(text.rstrip(" ,")) if text.endswith(",") and text.count(",") == 1 else None
    follows = _WORD.match(after.lstrip(' ,"”'))
    if not text.endswith(",") or not after.lstrip('"” ').startswith(",") or follows is None:
        return None
    if follows.group().lower() in NAME_STOPS - _PRESENT | PRONOUNS or follows.group().endswith("ed"):
        return None
    if first is None or first.relational:  # "two cells, known as guard cells, surround ...": the second name is the only one
        counted = len(text.split()) > 1 and text.split()[0].lower() in _COUNTS
        return Named(other, _RULE["also-called"], _RULE["also-called"].weight) if counted else None
    return Named(replace(first, aliases=(other.entity,)), _RULE["also-called"], _RULE["also-called"].weight)


def _words_since_comma(before: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(re.split(r"[,;:—–]", before)[-1])]


def _name(match: re.Match[str], *, plural: bool) -> tuple[Subject, int] | None:
    """The name that the verb gives, and where it ends: the pattern takes in words behind it."""
    given = match["name"].split()
    stop = next((number for number, word in enumerate(given) if _ends_name(word, first=number == 0)), len(given))
    words = given[:stop]
    if stop < len(given):  # a stop word or a verb follows: "called secretin stimulates the ..."
        dash = re.split("[—–]", given[stop])[0]
        words += [dash] if dash != given[stop] and dash and dash.lower() not in NAME_STOPS else []
        cut = next((n for n, word in enumerate(words) if n and word.islower() and is_plural(word)), None)
        if cut is not None:
            words = words[: cut + 1] if plural else words[:cut]
    if not 0 < len(words) <= _MAX_NAME_WORDS:
        return None
    if len(words) == 1 and match["article"] is None and _ADJECTIVE.search(words[0].rstrip(".?!—–")):
        return None
    subject = name_from_words(" ".join(words).rstrip(".?!"))
    return None if subject is None else (subject, _end_of(words, match))


def _end_of(words: list[str], match: re.Match[str]) -> int:
    at = match.start("name")
    for word in words:
        at = match.string.index(word, at) + len(word)
    return at


def _ends_name(word: str, *, first: bool) -> bool:
    lower = word.lower().strip(".,—–'’")
    return lower in NAME_STOPS or "—" in word or "–" in word or (not first and word.islower() and lower in COMMON_VERBS)
