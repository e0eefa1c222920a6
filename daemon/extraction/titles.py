"""Reads a document's title: does it name a thing, and does a name in the text mean the same thing? Knows nothing about sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass

from daemon.extraction.found import collapse
from daemon.extraction.markup import readable
from daemon.extraction.words import CLASS_WORDS, DETERMINERS, FIRST_OR_SECOND_PERSON, PREPOSITIONS, TITLE_VERBS, UNTITLES, words

_MAX_TITLE_WORDS = 9
_PARENTHESIS = re.compile(r"\s*\(([^()]{1,60})\)\s*\Z")
_WORD = re.compile(r"[^\W_]+(?:['’+#.][^\W_]+)*[+#]*")
_SHORT = re.compile(r"(?=.{2,12}\Z)\S*[A-Z]\S*[A-Z]\S*\Z")
_LOOSE = words(
    """
    in for with by from via using through due during caused can could may leads lead when after before without into on at vs
    versus
    """
)


@dataclass(frozen=True, slots=True)
class Title:
    """A title that names a thing. `plain` says that the name is so simple that "it" may stand for it."""

    name: str
    aliases: tuple[str, ...]
    key: tuple[str, ...]
    plain: bool


def read_title(title: str | None) -> Title | None:
    """The thing that a title names; None for sentences, questions, headlines and page furniture."""
    if title is None:
        return None
    text = readable(title).strip('#*"“”‘’:. ')
    aliases: tuple[str, ...] = ()
    parenthesis = _PARENTHESIS.search(text)
    if parenthesis:
        text = text[: parenthesis.start()]
        inner = parenthesis.group(1).strip()
        aliases = (inner,) if _SHORT.match(inner) else ()
    lowers = [word.lower() for word in _WORD.findall(text)]
    if not lowers or len(lowers) > _MAX_TITLE_WORDS or len(text) > 80 or text.endswith(("?", "!", "…")) or not re.search(r"[^\W\d_]", text):
        return None
    if set(lowers) & (TITLE_VERBS | FIRST_OR_SECOND_PERSON) and not (len(lowers) == 1 and text.isupper()):
        return None
    if " ".join(lowers) in UNTITLES or re.search(r"[:;|=<>{}]\s|::", text):
        return None
    if lowers[0] in DETERMINERS and lowers[0] != "the":
        text = text.split(None, 1)[1] if " " in text else text
    return Title(
        collapse(text), aliases, name_key(text), not set(lowers) & _LOOSE and len(lowers) <= 6 and not re.search(r"\s[—–-]\s", text)
    )


def name_key(name: str) -> tuple[str, ...]:
    """The words that identify a name: lower case, singular, without articles."""
    lowers = [word.lower().replace("’", "'") for word in _WORD.findall(name)]
    return tuple(singular(word) for word in lowers if word not in DETERMINERS)


def same_thing(title: Title, name: str, aliases: tuple[str, ...]) -> bool:
    """True when `name`, as the text writes it, is what the title names."""
    key = name_key(name)
    if not key:
        return False
    if _same_words(title.key, key) or _initials(name, title.key) or _initials(title.name, key):
        return True
    shorts = {alias.lower() for alias in title.aliases}
    if name.lower() in shorts or singular(name.lower()) in shorts or shorts & {alias.lower() for alias in aliases}:
        return True
    if len(key) == len(title.key) + 1 and _same_words(title.key, key[:-1]) and key[-1] in CLASS_WORDS:
        return True
    if len(title.key) == len(key) + 1 and _same_words(key, title.key[:-1]) and title.key[-1] in CLASS_WORDS:
        return True
    return any(_same_words(title.key, name_key(alias)) for alias in aliases)


def fuller_name(title: Title, name: str) -> bool:
    """True when one is the other with words added: "Gore Vidal" and "Eugene Luther Gore Vidal". Only for the sentence that opens a page."""
    one, other = set(title.key), set(name_key(name))
    short, long = sorted((one, other), key=len)
    return len(short) >= 2 and short < long and not (long - short) & PREPOSITIONS


def _same_words(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    if len(one) != len(other):
        return "".join(one) == "".join(other)
    return all(_same_word(a, b) for a, b in zip(one, other, strict=True))


def _same_word(one: str, other: str) -> bool:
    """Equal, or one clips or inflects the other: app and application, couple and coupled."""
    short, long = sorted((one, other), key=len)
    if len(short) >= 4 and long in (short + "d", short + "ed"):
        return True
    return short == long or (3 <= len(short) <= 4 and len(long) >= 8 and long.startswith(short))


def _initials(short: str, key: tuple[str, ...]) -> bool:
    letters = short.rstrip("s").lower()
    return len(key) >= 2 and bool(_SHORT.match(short)) and letters == "".join(word[0] for word in key)


def singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
