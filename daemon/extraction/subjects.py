"""Turns the tokens before a verb into a name: article, entity, aliases; or refuses them. What the sentence says is for scoring.py."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise

from daemon.extraction.clauses import QUOTES, Clause, Insert, Token
from daemon.extraction.found import collapse
from daemon.extraction.words import (
    AUXILIARIES,
    DETERMINERS,
    GENERIC_HEADS,
    NEGATIONS,
    NUMBERS,
    POINTING_ADJECTIVES,
    PREPOSITIONS,
    PRONOUNS,
    RELATIVISERS,
    SOFT_ADVERBS,
    SOFTWARE,
    SUBORDINATORS,
)

_CLAUSE_WORDS = frozenset({"it", "they", "he", "she", "whatever", "then", "also"})
_COMPASS = re.compile(r"(?:farther|further)?\s*(?:north|south|east|west)(?:east|west)?(?:ern)?(?:ward)?s?(?: of\b|\Z)")
_MAX_NAME_WORDS = 8
_MAX_ENTITY_CHARACTERS = 80
_NAMING_NOUNS = frozenset({"term", "word", "phrase", "concept", "name", "expression", "acronym", "abbreviation"})
_ALIAS_OPENERS = re.compile(
    r"(?:or|also|aka|a\.k\.a\.?|i\.e\.?,?|abbreviated|abbreviation|abbr\.?|short for|sometimes|commonly|often|officially|formerly|"
    r"originally|known|called|more commonly|better known|previously|simply|usually|stylized|the)\b",
    re.IGNORECASE,
)
_ALIAS_WORDS = re.compile(
    r"^(?:(?:or|also|simply|sometimes|commonly|often|officially|formerly|originally|usually|more|better|most|previously|generally|collectively|"
    r"known|called|referred|abbreviated|abbreviation|abbr\.?|shortened|stylized|spelled|written|named|aka|a\.k\.a\.?|i\.e\.?|short|for|as|to|the|a|an)"
    r"(?=[\s,:]),?:?\s+)+",
    re.IGNORECASE,
)
_INSERT_OPENERS = (
    RELATIVISERS
    | DETERMINERS
    | PREPOSITIONS
    | SOFT_ADVERBS
    | {"more", "better", "collectively", "variously", "popularly", "singular", "plural", "shown", "often"}
    | {"or", "known", "called", "abbreviated", "born", "named", "short", "aka"}
)
_ALIAS_STARTS = frozenset(
    {"also", "known", "officially", "formerly", "sometimes", "commonly", "called", "abbreviated", "aka", "more", "better"}
)
_ALIAS_LINKS = _ALIAS_STARTS | DETERMINERS | {"or", "as", "referred", "to"}
_COMPANY_FORMS = frozenset({"inc", "ltd", "llc", "corp", "plc", "jr", "sr"})
_ABBREVIATION = re.compile(r"[\"“]?((?=[\w.&/-]{2,12}[\"”]?\Z)(?:\w*[A-Z]\w*){2,}[\w.&/-]*)[\"”]?\Z")
_NAMED_KINDS = frozenset(
    {"effect", "value", "relationship", "function", "method", "approach", "part", "number", "problem", "test", "paper"}
)
_QUANTITIES = frozenset({"total", "average", "overall", "whole", "net", "side", "exact", "end", "real", "big", "small", "same", "large"})
_SUPERLATIVE = re.compile(
    r"\A(?:\w{3,}est|most|first|second|third|last|only|same|other|next|latest|current|new|former|latter|main|key|entire|whole)\Z"
)
_NOT_SUPERLATIVE = frozenset(
    {"forest", "west", "guest", "quest", "request", "contest", "harvest", "interest", "protest", "priest", "everest", "test"}
)


@dataclass(frozen=True, slots=True)
class Subject:
    """A name as it stands in the text. `article` is "", "a" or "the"; `proper` says that its letters mark it as a proper name."""

    entity: str
    article: str
    aliases: tuple[str, ...]
    proper: bool
    head: str
    words: int
    termed: bool = False  # introduced by "the term"
    relational: bool = False  # holds a preposition: "the shape of a dorvil"
    joined: bool = False  # holds "and"
    lower_case: bool = False  # one word that opens its sentence in lower case: "fulgur converts ...", a name for sure


def read_subject(clause: Clause, *, until: int | None = None) -> Subject | None:
    """The name in the subject of `clause`, or None where that is no name (a pronoun, a clause, a list, a generic word)."""
    verb = clause.verb if until is None else until
    if verb is None or verb <= clause.first:
        return None
    tokens = clause.tokens[clause.first : verb]
    joined = _first_joined(tokens)
    segments = _segments(tokens if joined is None else tokens[:joined])
    if segments is None:
        return None
    name, inserts = segments
    aliases = [alias for text in inserts for alias in _aliases_in(text)]
    # "Customer Experience (CX) Council": what stands in the middle of a name is short for a part of it.
    ends = clause.first + len(name) - 1
    aliases += [alias for insert in clause.inserts if ends <= insert.after < verb for alias in _aliases_of(insert)]
    subject = _name(name, aliases, sure=clause.sure)
    if subject is not None and joined is not None:
        subject = replace(subject, joined=True)
    opens = subject is not None and clause.first == 0 and subject.article == "" and subject.words == 1 and subject.entity.islower()
    return replace(subject, lower_case=True) if subject is not None and opens else subject


def name_from_words(text: str) -> Subject | None:
    """A name given by itself: a glossary term, the object of "called"."""
    tokens = [Token(m.group(), m.group().lower(), m.start(), m.end()) for m in re.finditer(r"[^\s\"“”]+", text)][: _MAX_NAME_WORDS + 1]
    return _name(tokens, [])


def _first_joined(tokens: tuple[Token, ...]) -> int | None:
    """ "the dorvil crate and the tools around it": where the "and" behind a piece of software stands; what is said holds of that as well."""
    for number in range(3, len(tokens) - 1):
        if tokens[number].lower == "and" and tokens[number + 1].lower in DETERMINERS | {"its", "their"}:
            return number if tokens[0].lower == "the" and tokens[number - 1].lower in SOFTWARE else None
    return None


def _segments(tokens: tuple[Token, ...]) -> tuple[list[Token], list[str]] | None:
    """The name and the comma-bounded inserts behind it; None where the commas make a list."""
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.text in ";:?!":
            return None
        if token.text in (",", "-", "–", "—"):
            parts.append([])
        else:
            parts[-1].append(token)
    name, rest = parts[0], [part for part in parts[1:] if part]
    if rest and parts[-1] and _opens_alias(rest):
        return name, [" ".join(["or", *(token.text for token in part if token.lower not in _ALIAS_LINKS)]) for part in rest]
    if len(parts) > 1 and parts[-1] and parts[-1][0].lower not in _COMPANY_FORMS:
        return None  # an insert closes with a comma before the verb
    for number, part in enumerate(rest):
        opener = part[0].lower
        short = len(part) == 1 and part[0].text.isupper()
        if not (opener in _INSERT_OPENERS | _COMPANY_FORMS or short or re.search(r"(?:ed|ing)\Z", opener) or number > 0):
            return None
        if opener in ("and",):
            return None
    return name, [" ".join(token.text for token in part) for part in rest]


def _opens_alias(rest: list[list[Token]]) -> bool:
    """ "a bicycle, cycle, or bike is" and "the dhole, also known as the red dog is": other names, and no comma behind them."""
    openers = [part[0].lower for part in rest]
    listed = openers[-1] == "or" and all(len(part) <= 4 for part in rest)
    return listed or (openers[0] in _ALIAS_STARTS and len(rest[0]) > 1 and all(len(part) <= 9 for part in rest))


def _aliases_in(text: str) -> list[str]:
    """ "also known as simply the Ring" gives "Ring"; a bare abbreviation gives itself; anything else nothing."""
    abbreviation = _ABBREVIATION.match(text)
    if abbreviation:
        return [abbreviation.group(1)]
    if not _ALIAS_OPENERS.match(text) or text.lower().startswith("the "):
        return []
    stripped = _ALIAS_WORDS.sub("", text)
    name = re.split(r"\s+(?:by|in|and|or|from|on|for|among|to)\s+|[,;:(]", stripped)[0].strip(" \"'“”‘’.")
    return [name] if stripped != text and 0 < len(name) <= 60 and len(name.split()) <= 6 and not name.isdigit() else []


def _aliases_of(insert: Insert) -> list[str]:
    return [alias for part in re.split(r"[,;]\s+", insert.text)[:4] for alias in _aliases_in(part)]


def _name(tokens: list[Token], aliases: list[str], *, sure: bool = False) -> Subject | None:
    tokens = [token for token in tokens if token.text not in QUOTES]
    while tokens and (tokens[-1].lower in SOFT_ADVERBS or (len(tokens) > 1 and re.search(r"[a-z]{2}ally\Z", tokens[-1].text))):
        tokens = tokens[:-1]
    if not tokens:
        return None
    article = tokens[0].lower if tokens[0].lower in DETERMINERS else ""
    body = tokens[1:] if article else tokens
    termed = len(body) > 1 and body[0].lower in _NAMING_NOUNS
    if termed:
        body, article = body[1:], ""
        body = body[1:] if len(body) > 1 and body[0].lower in DETERMINERS else body
    body, more = _split_or(body)
    if not (sure and len(body) == 1) and not _could_name(body, article):
        return None
    entity = collapse(_joined(body)).strip("'’,-–— ").lstrip(".")
    entity = (entity if re.search(r"\.\w\.\Z", entity) else entity.rstrip(".")).strip()  # "Kesh N.V." keeps its dot
    if not (1 < len(entity) <= _MAX_ENTITY_CHARACTERS or entity.isupper()) or not re.search(r"[^\W\d_]", entity) or "\ufffd" in entity:
        return None
    lowers = [token.lower for token in body]
    if len(body) == 2 and article == "the" and lowers[1] in ("crate", "package"):  # "the dorvil crate" is called "dorvil" too
        more = [*more, body[0].text]
    return Subject(
        entity=entity,
        article="a" if article == "an" else article,
        aliases=_unique([*more, *aliases], entity),
        proper=sure
        or _is_proper(body, article, termed=termed)
        or (len(body) == 2 and article == "the" and lowers[1] in ("crate", "package")),
        head=lowers[-1],
        words=len(body),
        termed=termed,
        relational=_is_relational(body),
        joined="and" in lowers or "&" in lowers,
    )


def _joined(body: list[Token]) -> str:
    """The tokens as the text spaces them, without what stood in parentheses between them."""
    parts = [body[0].text]
    for before, token in pairwise(body):
        parts.append(token.text if token.start == before.end else f" {token.text}")
    return "".join(parts)


def _is_relational(body: list[Token]) -> bool:
    """ "the shape of a dorvil": a common noun before the preposition; "Battle of Kesh" is a name."""
    return any(token.lower in PREPOSITIONS and body[number].text[0].islower() for number, token in enumerate(body[1:-1]))


def _split_or(body: list[Token]) -> tuple[list[Token], list[str]]:
    """ "a supervolcano or super volcanic eruption": one thing under two names."""
    for number in range(1, len(body) - 1):
        if body[number].lower == "or":
            other = [token.text for token in body[number + 1 :] if token.lower not in DETERMINERS]
            return body[:number], [" ".join(other)] if other and len(other) <= 5 else []
    return body, []


def _could_name(body: list[Token], article: str) -> bool:
    if not body or len(body) > _MAX_NAME_WORDS:
        return False
    lowers = [token.lower for token in body]
    # A capital makes a word part of a name: "The Man Who Was Thursday".
    inner = {token.lower for token in body if token.text[0].islower()} if _title_case(body) else set(lowers)
    first_refused = lowers[0] in PRONOUNS or lowers[0] in PREPOSITIONS or lowers[0] in SUBORDINATORS
    if first_refused and not (len(body) > 1 and body[1].text[0].isupper() and body[0].text[0].isupper() and article):
        return False
    if inner & (AUXILIARIES | NEGATIONS | RELATIVISERS):
        return False
    if inner & {"i", "you", "we", "my", "your", "our", "this", "these", "those", "its", "their", "his", "her", "to", "like", "including"}:
        return False
    if lowers[0] in POINTING_ADJECTIVES or (lowers[0] in NUMBERS and not all(token.text[0].isupper() for token in body)):
        return False
    if lowers == [lowers[0]] and lowers[0] in _NAMING_NOUNS and article == "the":
        return False
    if lowers[0].endswith("ing") and len(body) > 3 and set(lowers[1:]) & PREPOSITIONS:
        return False  # "calling a reader on a buffer" is an act, not a name
    if set(lowers[1:]) & (SUBORDINATORS | _CLAUSE_WORDS) or _COMPASS.match(" ".join(lowers)):
        return False
    if _has_common_head(body) or _has_stray_article(body):
        return False
    told = len(body) > 1 and (body[-1].text[0].isupper() or article != "the" or _tells_apart(body))
    if lowers[-1] in GENERIC_HEADS and not told:
        return False
    if lowers[-1] in PREPOSITIONS | DETERMINERS | {"and", "or", "but"}:
        return False
    if article == "the" and _SUPERLATIVE.match(body[0].text) and lowers[0] not in _NOT_SUPERLATIVE:
        return False
    return not any(token.text in "—–…|\\<>=_*#@%^~$" or token.text in ";:?!" for token in body)


def _tells_apart(body: list[Token]) -> bool:
    """ "The bystander effect", "the Generator type": the word before a generic one makes a name of it; "the main effect" stays generic."""
    before, head = body[-2], body[-1].lower
    if re.search(r"[A-Z0-9_:]", before.text):
        return True
    plain = before.lower in POINTING_ADJECTIVES | NUMBERS | _QUANTITIES or _SUPERLATIVE.match(before.lower)
    return (head in _NAMED_KINDS or head in SOFTWARE) and not plain and re.search(r"(?:al|ed|ous|ive|ing)\Z", before.lower) is None


def _has_common_head(body: list[Token]) -> bool:
    """ "the result of the test": the word before the first preposition is a generic one."""
    return any(token.lower in PREPOSITIONS and body[number].text in GENERIC_HEADS for number, token in enumerate(body[1:-1]))


def _has_stray_article(body: list[Token]) -> bool:
    """An article inside a name follows a preposition ("software as a service"); anywhere else a second noun phrase starts."""
    return any(token.text in ("a", "an", "the") and body[number].lower not in PREPOSITIONS for number, token in enumerate(body[1:]))


def _title_case(body: list[Token]) -> bool:
    return len(body) > 1 and sum(token.text[0].isupper() for token in body) >= max(2, len(body) // 2)


def _is_proper(body: list[Token], article: str, *, termed: bool) -> bool:
    """Capitals count beyond the first word of a sentence; digits and inner capitals count everywhere."""
    counted = body if article or termed else body[1:]
    shaped = any(re.search(r"\d|[a-z][A-Z]|\A[A-Z]{2,}", token.text) for token in body)
    return shaped or any(token.text[0].isupper() for token in counted)


def _unique(aliases: list[str], entity: str) -> tuple[str, ...]:
    kept: dict[str, str] = {}
    for alias in aliases:
        text = collapse(alias).strip("\"'“”‘’ ")
        if text and text.lower() != entity.lower():
            kept.setdefault(text.lower(), text)
    return tuple(kept.values())
