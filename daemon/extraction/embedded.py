"""Definitions inside a sentence about something else: "they trade in dorvils, which are small boats that ...", "dorvils (small boats)".

The defined noun phrase ends where the rule's pattern begins; it is read backwards from there, up to a word that no name holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from daemon.extraction.insets import EMBEDDED
from daemon.extraction.rule import Rule
from daemon.extraction.scoring import EVALUATIVE, SUPERLATIVES, genus_of
from daemon.extraction.subjects import Subject, name_from_words
from daemon.extraction.words import (
    ANAPHORIC_HEADS,
    COMMON_VERBS,
    CONNECTIVES,
    FIRST_OR_SECOND_PERSON,
    NAME_STOPS,
    PREPOSITIONS,
    PRONOUNS,
    SUBORDINATORS,
    is_plural,
    words,
)
from daemon.extraction.words import DETERMINERS as ARTICLES

_WORD = re.compile(r"[^\s,;:()\"“”—–]+|[,;:()\"“”—–]")
_GLOSS_TELLS = re.compile(r"\b(?:that|which|who|of|used|for|by|with|between|in)\b")
_QUOTES = frozenset("\"“”'’‘")
_PARENTHESIS_BEFORE = re.compile(r"\s*\([^()]{1,40}\)\s*\Z")
_MAX_NAME_WORDS = 4
_LOOK_BEHIND = 120
_LIST_REACH = 80
_CODE = words("crate library package module plugin api sdk gem framework toolkit ecosystem")  # of SOFTWARE, what means nothing else
_CODE_NAME = re.compile(r"[a-z0-9](?:[-_]|::)[a-z0-9]+\Z")
_BREAKS = (
    NAME_STOPS
    | PREPOSITIONS
    | PRONOUNS
    | words("about and or but not be been do does did also all other own different same such many more most now")
)
_OPENERS = PREPOSITIONS | SUBORDINATORS | CONNECTIVES | words("together while as")
_DEFINING = words("define defines defined defining conceptualize conceptualizes conceptualized")
_NOT_NAMES = words(
    """
    later newer older higher lower earlier etc service time years year way ways example instance however fact result addition contrast
    case cases particular general obsolete
    """
)
_SETTINGS = words(
    """
    letter book article study paper experiment chapter speech report figure section year years period periods days case cases area areas
    city country
    """
)
_NO_GLOSS = words(
    "see such as or also e.g for including singular plural from called known and i.e which that like note literally about usually"
)
# "..., a move that ...": the noun comments on what was told, it does not say what something is.
_COMMENTS = words(
    """
    move sight fact message application stance experience step effort decision event development trend change claim belief view
    argument feeling role function purpose effect achievement policy position requirement assumption approach idea message number
    finding conclusion name label way point
    """
)


@dataclass(frozen=True, slots=True)
class _Phrase:
    """A noun phrase: `before` is the word that ends it on the left ("" where the sentence starts), `closed` that one does."""

    subject: Subject
    words: tuple[str, ...]
    article: str
    before: str
    closed: bool
    opens: bool


@dataclass(frozen=True, slots=True)
class Embedded:
    """A noun phrase, what the sentence says it is, and the rule that saw it."""

    subject: Subject
    rule: Rule
    value: float
    kind: str


def embedded(text: str, start: int, end: int) -> Embedded | None:
    """The best definition inside text[start:end], or None."""
    options = [made for rule in EMBEDDED for made in _matches(text, start, end, rule=rule)]
    return max(options, key=lambda made: made.value) if options else None


def _matches(text: str, start: int, end: int, *, rule: Rule) -> Iterator[Embedded]:
    for match in rule.pattern.finditer(text, start, end):
        read = _phrase_before(text, start, match.start())
        if read is None or not _holds(text, start, match, rule=rule, read=read):
            continue
        said = text[match.start(1) : match.end() if rule.name in ("gloss", "gloss-bare", "inset", "inset-bare", "dash") else end]
        genus = genus_of(said)
        if {word.lower() for word in said.split()[:5]} & FIRST_OR_SECOND_PERSON or not genus or genus[-1].endswith("ly"):
            continue
        if genus[-1] in EVALUATIVE or genus[-1] in _COMMENTS or (set(genus[:3]) & SUPERLATIVES and rule.name != "define-as"):
            continue
        yield Embedded(read.subject, rule, rule.weight - (0.0 if read.closed else 0.04), genus[-1])


def _holds(text: str, start: int, match: re.Match[str], *, rule: Rule, read: _Phrase) -> bool:
    """What each rule asks of the noun phrase before its pattern and of the words in it."""
    head = read.subject.head
    if rule.name == "colon":
        return read.opens
    if rule.name == "define-as":
        return read.before in _DEFINING
    if rule.name == "which-does":  # software is what it does
        return head in _CODE or _CODE_NAME.search(read.words[-1]) is not None
    if read.words[-1][0].isupper():  # a proper name inside a sentence about something else: what it is said to be is rarely the point
        return False
    if read.article == "the" and len(read.words) == 1 and head in ANAPHORIC_HEADS:
        return False
    verb = match.groupdict().get("verb")
    if verb is not None and (verb == "are") != is_plural(head):
        return False
    if rule.name == "gloss":  # "user input (the path)" says which, "decay (a process that ...)" says what
        return _GLOSS_TELLS.search(match.group(1)) is not None and (not is_plural(head) or match.group(1).startswith("those"))
    if rule.name == "in-which":
        return head not in _SETTINGS and (read.article != "the" or len(read.words) > 1)
    if rule.name == "or-bare":  # the commas of a list make alternatives, not a second name
        nouns = match.group(1).lower().split()
        listed = "," in text[max(start, match.start() - _LIST_REACH) : match.start()]
        return not listed and read.article == "" and not set(nouns[:-1]) & (_BREAKS - {"and"} | COMMON_VERBS)
    if rule.name == "gloss-bare":
        return match.group(1).split()[0] not in _NO_GLOSS | PREPOSITIONS
    if rule.name == "inset-bare":
        nouns = match.group(1).split()
        return is_plural(head) and nouns[0] not in _BREAKS | COMMON_VERBS and read.before not in ("and", "or", ",")
    if rule.name != "inset":
        return True
    nouns = re.split(r"\W+", match.group(1).lower())[1:]
    stop = next((number for number, word in enumerate(nouns) if word in _BREAKS or word in COMMON_VERBS), len(nouns))
    opener = text[start : match.start()].split()[0].lower().strip(",")
    led = opener in _OPENERS or opener.endswith(("ed", "ing", "ly"))
    verbal = stop < len(nouns) and nouns[stop] in COMMON_VERBS
    return 0 < stop <= 4 and not verbal and not (led and "," not in text[start : match.start()])


def _phrase_before(text: str, start: int, at: int) -> _Phrase | None:
    """The noun phrase that ends at `at`, read from its end; None where there is none that names something."""
    low = max(start, at - _LOOK_BEHIND)
    tokens = [match.group() for match in _WORD.finditer(_PARENTHESIS_BEFORE.sub("", text[low:at]))]
    words: list[str] = []
    article, before = "", None
    while tokens and len(words) <= _MAX_NAME_WORDS:
        token = tokens.pop()
        lower = token.lower().strip("'’")
        if token in _QUOTES:
            continue
        if lower in ARTICLES:
            article, before = lower, tokens[-1].lower() if tokens else ""
            break
        if words and token.islower() and lower.endswith("ed") and tokens and is_plural(tokens[-1]):
            before = lower  # "citizens promoted temperance": a verb behind its subject
            break
        if not token[0].isalnum() or lower in _BREAKS or (words and token.islower() and lower in COMMON_VERBS) or lower.endswith("ly"):
            before = lower
            break
        words.append(token)
    else:
        before = "" if not tokens and low == start else None
    if len(words) > _MAX_NAME_WORDS or (before is None and len(words) > 2):
        words = words[:2]
    words.reverse()
    subject = name_from_words(" ".join([article, *words]).strip()) if words else None
    if subject is None or words[-1].lower() in _NOT_NAMES or any(word.endswith("-") for word in words):
        return None
    return _Phrase(subject, tuple(words), article, before or "", closed=before is not None, opens=before == "" and not tokens)
