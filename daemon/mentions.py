"""Does a conversation name something? Finds learnt names in a text in one pass, as whole words, whatever their case, spacing or plural.

`NameFinder` knows words and names; `learnt_names` asks the registry which names an adapter answers for. The gateway decides by them, and the
check judges an adapter as the gateway will serve it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator

from registry import Adapter, Registry

# Scripts that write no spaces between words: each character is taken as a word, so that a name is found within a sentence.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
# Signs belong to the word in C++, C# and .NET, where they are the name; everywhere else they only separate.
_WORD = re.compile(rf"[{_UNSPACED}]|(?<![\w.])\.(?:(?![{_UNSPACED}_])\w)+|(?:(?![{_UNSPACED}_])\w)+[+#]*")
_SIBILANTS = ("s", "x", "z", "ch", "sh")


def words(text: str) -> list[str]:
    """The words of a text as they are compared: NFKC, case-folded, without the signs and spaces between them."""
    return _WORD.findall(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()))


class NameFinder:
    """Finds any of many names in a text, in time linear in the text (Aho and Corasick 1975, over words instead of letters)."""

    def __init__(self, names: Iterable[str]) -> None:
        self._next: list[dict[str, int]] = [{}]
        self._found: list[str | None] = [None]
        for name in names:
            self._add(name)
        self._fallback = self._fallbacks()

    def find(self, text: str) -> str | None:
        """The name that is mentioned first, spelt as it was learnt; None if there is none."""
        at = 0
        for word in words(text):
            while at and word not in self._next[at]:
                at = self._fallback[at]
            at = self._next[at].get(word, 0)
            if (name := self._found[at]) is not None:
                return name
        return None

    def _add(self, name: str) -> None:
        parts = words(name)
        if not parts:
            return
        node = 0
        for word in parts[:-1]:
            node = self._step(node, word)
        for word in _forms(parts[-1]):  # a plural is formed at a name's end; a possessive 's is a word of its own
            end = self._step(node, word)
            self._found[end] = self._found[end] or name

    def _step(self, node: int, word: str) -> int:
        if word not in self._next[node]:
            self._next[node][word] = len(self._next)
            self._next.append({})
            self._found.append(None)
        return self._next[node][word]

    def _fallbacks(self) -> list[int]:
        """For each node the longest proper end of its words that also begins a name; names that end there are found here too."""
        fallback = [0] * len(self._next)
        waiting = deque(self._next[0].values())
        while waiting:
            node = waiting.popleft()
            for word, child in self._next[node].items():
                back = fallback[node]
                while back and word not in self._next[back]:
                    back = fallback[back]
                fallback[child] = self._next[back].get(word, 0)
                self._found[child] = self._found[child] or self._found[fallback[child]]
                waiting.append(child)
        return fallback


def _forms(word: str) -> Iterator[str]:
    yield word
    if not word[-1].isalpha():
        return
    yield word + "s"
    if word.endswith(_SIBILANTS):
        yield word + "es"
    if len(word) > 2 and word.endswith("y") and word[-2] not in "aeiou":
        yield word[:-1] + "ies"


def learnt_names(registry: Registry, adapter: Adapter) -> Iterator[str]:
    """Every name of what an adapter learnt or rehearsed."""
    for definition in registry.read.definitions(ids={*adapter.definitions, *adapter.rehearsed}):
        yield definition.entity
        yield from definition.aliases
