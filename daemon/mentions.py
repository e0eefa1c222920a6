"""Which learnt names does a conversation mention? Whole words, whatever their case, spacing, plural or ending, in one pass over the text.

`NameFinder` knows words and names; `learnt_names` asks the registry which names an adapter answers for. The gateway decides by them, and the
check judges an adapter as the gateway will serve it.

A text is brought to one form, its words with double spaces between them, and an Aho-Corasick automaton (Aho and Corasick 1975; a library in
Rust) finds every place where all the words of a name stand, the last one up to its stem. What may follow the stem is decided by its script.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ahocorasick_rs import AhoCorasick, Implementation, MatchKind

from registry import Adapter, DefinitionState, Registry

# Scripts that write no spaces between words: each character is taken as a word, so that a name is found within a sentence.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
# Signs belong to the word in C++, C# and .NET, where they are the name; everywhere else they only separate.
_WORD = re.compile(rf"[{_UNSPACED}]|(?<![\w.])\.(?:(?![{_UNSPACED}_])\w)+|(?:(?![{_UNSPACED}_])\w)+[+#]*")
_DOTTED_WORD = re.compile(r"\.(?<![\w.]\.)[^\W_]")  # the second alternative, written so that the search begins at a dot
_ASCII = str.maketrans(
    {chr(code): " " for code in range(128) if not chr(code).isalnum()}
    | dict(zip(string.ascii_uppercase, string.ascii_lowercase, strict=True))
)
_GAP = "  "  # two spaces, so that names that follow each other do not share one
_SIBILANTS = ("s", "x", "z", "ch", "sh")
_EXACT = re.compile("")
_PLURAL = re.compile("s?")
_PLURAL_AFTER_SIBILANT = re.compile("(?:e?s)?")
_PLURAL_OF_Y = re.compile("y|ys|ies")
# Slavic cases are endings (-а, -у, -ом, -ами), before which a name's own last vowel or sign gives way.
_CYRILLIC = re.compile(r"[\u0400-\u04ff]+")
_CYRILLIC_CASE = re.compile("[авгеёиіймохуыьэюяїє]{0,3}")
_CYRILLIC_LEAST = 4  # letters of a stem; shorter ones begin too many other words


@dataclass(frozen=True, slots=True)
class Mentions:
    """What was found: the name that comes first, spelt as it was learnt, and how many places name something of each owner."""

    first: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Stem:
    """A name whose words end in this pattern, if what is left of the last word fits `ending`."""

    name: str
    owner: str
    ending: re.Pattern[str]


class NameFinder:
    """Finds any of many names in a text, in time linear in the text. Names may have owners: `{owner: names}`."""

    def __init__(self, names: Iterable[str] | Mapping[str, Iterable[str]]) -> None:
        stems: dict[str, list[_Stem]] = {}
        for owner, owned in names.items() if isinstance(names, Mapping) else [("", names)]:
            for name in owned:
                for pattern, ending in _patterns(name):
                    stems.setdefault(pattern, []).append(_Stem(name, owner, ending))
        self._stems = list(stems.values())
        self._automaton = AhoCorasick(list(stems), matchkind=MatchKind.Standard, implementation=Implementation.ContiguousNFA)

    def find(self, text: str) -> str | None:
        """The name that is mentioned first, and the longest where several begin together; None if there is none."""
        return self.mentions(text).first

    def mentions(self, text: str) -> Mentions:
        """Every mention, from left to right, the longest of those that overlap."""
        placed = _placed(text)
        found = []
        for index, start, end in self._automaton.find_matches_as_indexes(placed, overlapping=True):
            rest = placed[end : placed.index(_GAP, end)] if placed[end] != " " else ""
            fitting = [stem for stem in self._stems[index] if stem.ending.fullmatch(rest)]
            if fitting:
                found.append((start, -(end + len(rest)), fitting))
        return _counted(sorted(found, key=lambda match: match[:2]))


def _counted(found: list[tuple[int, int, list[_Stem]]]) -> Mentions:
    first, counts, free_from = None, dict[str, int](), -1
    for start, minus_end, stems in found:
        if start < free_from:
            continue
        free_from = -minus_end
        first = first or stems[0].name
        for owner in {stem.owner for stem in stems}:
            counts[owner] = counts.get(owner, 0) + 1
    return Mentions(first, counts)


def words(text: str) -> list[str]:
    """The words of a text as they are compared: NFKC, case-folded, without the signs and spaces between them."""
    if text.isascii() and "+" not in text and "#" not in text and not ("." in text and _DOTTED_WORD.search(text)):
        return text.translate(_ASCII).split()  # the same, thirty times as fast
    return _WORD.findall(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()))


def _placed(text: str) -> str:
    return f"{_GAP}{_GAP.join(words(text))}{_GAP}"


def _patterns(name: str) -> Iterator[tuple[str, re.Pattern[str]]]:
    """A plural or a case is formed at a name's end; a possessive 's is a word of its own."""
    parts = words(name)
    if not parts:
        return
    last = parts[-1]
    before = _GAP + _GAP.join([*parts[:-1], ""])
    if not last[-1].isalpha():
        yield before + last, _EXACT
    elif _CYRILLIC.fullmatch(last):
        stem = last[:-1] if _CYRILLIC_CASE.fullmatch(last[-1]) and last[-1] not in "вгмх" else last
        if len(stem) >= _CYRILLIC_LEAST:
            yield before + stem, _CYRILLIC_CASE
        else:
            yield before + last, _EXACT
    else:
        yield before + last, _PLURAL_AFTER_SIBILANT if last.endswith(_SIBILANTS) else _PLURAL
        if len(last) > 2 and last.endswith("y") and last[-2] not in "aeiou":
            yield before + last[:-1], _PLURAL_OF_Y


def learnt_names(registry: Registry, adapter: Adapter) -> Iterator[str]:
    """Every name of what an adapter learnt or rehearsed, and nobody has had forgotten since."""
    for definition in registry.read.definitions(ids={*adapter.definitions, *adapter.rehearsed}):
        if definition.state is DefinitionState.FORGOTTEN:
            continue
        yield definition.entity
        yield from definition.aliases
