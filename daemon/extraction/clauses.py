"""Reads one sentence as tokens and finds its subject: lead-in, name, inserts, parentheses, verb. Decides nothing about definitions.

Works on masked text (markup.py) with the offsets of the whole document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from daemon.extraction.words import CONNECTIVES, DETERMINERS, PREPOSITIONS, SOFT_ADVERBS, SUBORDINATORS, words

_TOKEN = re.compile(r"[^\W_]+(?:[-'’./&+#_:]{1,2}[^\W_]+)*(?:\+\+|#)?|\S")
_MAX_TOKENS = 90
_MAX_LEAD_TOKENS = 16
_MAX_SUBJECT_TOKENS = 40
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
QUOTES = frozenset("\"'“”‘’«»`")
_BACKWARD = words("this these our addition contrast fact short other my")
_EXAMPLES = frozenset({"example", "instance"})
VERBS = words(
    """
    is are was were refers refer means mean denotes denote stands designates designate describes describe signifies isn't aren't
    wasn't weren't  will would can could may might must shall should has have had does do did
    """
)


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    lower: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Insert:
    """What stands in parentheses, after the token with number `after`."""

    after: int
    text: str


@dataclass(frozen=True, slots=True)
class Clause:
    """A sentence read as far as its main verb. `subject` holds token numbers [first, verb)."""

    tokens: tuple[Token, ...]
    inserts: tuple[Insert, ...]
    first: int
    verb: int | None
    lead: str  # "", "adverbial" or "connective"
    sure: bool = False  # the text shows elsewhere that the word that opens it is a name


@dataclass(slots=True)
class _Reading:
    tokens: list[Token] = field(default_factory=list)
    inserts: list[Insert] = field(default_factory=list)


def read(text: str, start: int, end: int) -> Clause | None:
    """The clause that text[start:end] opens with; None where it opens with something that cannot hold a definition."""
    reading = _tokens(text, start, end)
    tokens = reading.tokens
    opened = _after_lead(tokens)
    if opened is None:
        return None
    first, lead = opened
    verb = _verb(tokens, first)
    sure = verb == first + 1 and lead == "" and _has_possessive(text, tokens[first])
    if verb is not None and lead == "" and tokens[first].lower in PREPOSITIONS and not sure:
        first, lead = _last_determiner(tokens, first, verb), "adverbial"
    return Clause(tuple(tokens), tuple(reading.inserts), first, verb, lead, sure)


def _has_possessive(text: str, word: Token) -> bool:
    """ "Below is a tool ... Below's service": no preposition has a possessive, so one that has is a name."""
    return word.lower in PREPOSITIONS and word.text[0].isupper() and re.search(rf"\b{re.escape(word.text)}['’]s\b", text) is not None


def _tokens(text: str, start: int, end: int) -> _Reading:
    reading, opened, depth = _Reading(), 0, 0
    for number, match in enumerate(_TOKEN.finditer(text, start, end)):
        if number > 3 * _MAX_TOKENS or len(reading.tokens) >= _MAX_TOKENS:
            break
        sign = match.group()
        if sign in _OPENING:
            opened, depth = (match.end() if depth == 0 else opened), depth + 1
        elif sign in _CLOSING and depth:
            depth -= 1
            if depth == 0:
                reading.inserts.append(Insert(len(reading.tokens) - 1, " ".join(text[opened : match.start()].split())))
        elif depth == 0:
            reading.tokens.append(Token(sign, sign.lower().replace("’", "'"), match.start(), match.end()))
    return reading


def _after_lead(tokens: list[Token]) -> tuple[int, str] | None:
    """Where the subject starts, and what stood before it."""
    first = 0
    while first < len(tokens) and (tokens[first].text in QUOTES or tokens[first].text in "-–—•*·"):
        first += 1
    if first >= len(tokens):
        return None
    if any(token.text in QUOTES for token in tokens[:first]) and not any(token.text in QUOTES for token in tokens[first : first + 9]):
        return None  # direct speech: the quotation does not close behind a name
    word = tokens[first].lower
    if word in SUBORDINATORS and word != "given":
        return None
    if word in CONNECTIVES:
        following = first + 1
        if following < len(tokens) and tokens[following].text == ",":
            following += 1
        return (following, "connective") if following < len(tokens) else None
    if word in SOFT_ADVERBS and first + 1 < len(tokens) and tokens[first + 1].text == ",":
        return (first + 2, "adverbial") if first + 2 < len(tokens) else None
    if first + 1 < len(tokens) and tokens[first + 1].text == "," and len(word) > 4 and word.endswith("ly"):
        return (first + 2, "adverbial") if first + 2 < len(tokens) else None
    if word in SOFT_ADVERBS and first + 1 < len(tokens) and tokens[first + 1].lower in DETERMINERS:
        return first + 1, "connective"
    if word in PREPOSITIONS:
        comma = _comma_after(tokens, first)
        if first + 1 < len(tokens) and tokens[first + 1].lower in _EXAMPLES:
            return None
        if comma is not None:
            inner = {token.lower for token in tokens[first + 1 : comma]}
            connective = word in ("unlike", "like") or bool(inner & _BACKWARD)
            return _after_commas(tokens, comma), "connective" if connective else "adverbial"
    return first, ""


def _comma_after(tokens: list[Token], first: int) -> int | None:
    for number in range(first + 1, min(len(tokens) - 1, first + _MAX_LEAD_TOKENS)):
        if tokens[number].text == ",":
            return number
        if tokens[number].lower in VERBS:
            return None
    return None


def _after_commas(tokens: list[Token], comma: int) -> int:
    """ "In martial arts, combat sports or violence, a kick is": the lead ends at the last comma before an article."""
    best = comma + 1
    if tokens[best].lower in DETERMINERS:
        return best
    for number in range(comma + 1, min(len(tokens) - 1, comma + 9)):
        if tokens[number].lower in VERBS:
            break
        if tokens[number].text == "," and tokens[number + 1].lower in ("a", "an"):
            return number + 1
        if tokens[number].text == "," and tokens[comma + 1].lower in PREPOSITIONS | {"especially", "particularly", "and"}:
            return number + 1
    return best


def _last_determiner(tokens: list[Token], first: int, verb: int) -> int:
    """ "In physics a muon is": without a comma the subject starts at the last indefinite article."""
    for number in range(verb - 1, first, -1):
        opens_name = tokens[number].lower in ("a", "an") or (tokens[number].lower == "the" and tokens[number - 1].lower not in PREPOSITIONS)
        if opens_name and number > first + 1:
            return number
    return first


def _verb(tokens: list[Token], first: int) -> int | None:
    for number in range(first + 1, min(len(tokens), first + _MAX_SUBJECT_TOKENS)):
        token = tokens[number]
        if token.lower in VERBS and not (token.lower == "means" and tokens[number - 1].lower in ("a", "the", "by", "of")):
            # A verb inside ", which is sometimes called Y," belongs to the insert.
            if _inside_relative(tokens, first, number):
                continue
            return number
        if token.text in ";:":
            return None
    return None


def _inside_relative(tokens: list[Token], first: int, number: int) -> bool:
    """True in a comma-bounded relative clause: it opened after a comma with which/who and no comma has closed it."""
    for back in range(number - 1, first, -1):
        if tokens[back].text == ",":
            closes = any(token.text == "," for token in tokens[number : number + 20])
            return tokens[back + 1].lower in ("which", "who", "whose", "that") and closes
    return False
