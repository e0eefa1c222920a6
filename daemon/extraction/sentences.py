"""Splits text into sentences, with offsets, in linear time. Knows abbreviations and quotes, nothing about definitions or markup.

One pass over the terminators; every look around a terminator is bounded, so a megabyte of dots costs what a megabyte of prose costs.
"""

from __future__ import annotations

import re

from daemon.extraction.words import STARTERS, words

# A terminator with what closes after it, or an empty line (always a boundary).
_BREAK = re.compile(r"[.!?…。！？｡]+[\"'”’»)\]]{0,3}|\n[ \t\r\f\v]*\n")
_CLOSED_BY_SPACE = re.compile(r"\s")
_WORD_BEFORE = re.compile(r"[^\W_]+(?:[.'’-][^\W_]+){0,6}\Z")
_WORD_AFTER = re.compile(r"[\s\"'“‘«(\[*_`]{0,8}([^\W_]+)")
_CJK = frozenset("。！？｡")
_LOOK_BEHIND = 24
_LOOK_AHEAD = 40

# Never end a sentence: something always follows them.
_OPEN_ABBREVIATIONS = words(
    """
    mr mrs ms dr prof gen col capt lt sgt rev hon st mt ft fig figs eq eqs no nos vol vols pp ch sec art cf vs viz e.g i.e eg ie
    approx ca c  resp incl esp jan feb mar apr jun jul aug sep sept oct nov dec lat gr ger fr sp ed eds trans pl sing var subsp
    spp ref refs u.k u.s.s
    """
)
# May end one: they do when what follows opens a sentence.
_CLOSING_ABBREVIATIONS = words(
    """
    etc inc ltd co corp jr sr al u.s u.s.a u.n e.u a.m p.m ph.d b.c a.d bros dept est d.c m.d b.a m.a sq sp
    """
)


def sentences(text: str) -> list[tuple[int, int]]:
    """The spans of the sentences of `text`, in order, without the white space around them."""
    spans: list[tuple[int, int]] = []
    start = 0
    for mark in _BREAK.finditer(text):
        if mark.group()[0] == "\n" or _ends_sentence(text, mark, start):
            start = _add(spans, text, start, end=mark.start() if mark.group()[0] == "\n" else mark.end())
    _add(spans, text, start, end=len(text))
    return spans


def _add(spans: list[tuple[int, int]], text: str, start: int, *, end: int) -> int:
    first, last = start, end
    while first < last and text[first].isspace():
        first += 1
    while last > first and text[last - 1].isspace():
        last -= 1
    if first < last:
        spans.append((first, last))
    return end


def _ends_sentence(text: str, mark: re.Match[str], start: int) -> bool:
    signs = mark.group().rstrip("\"'”’»)]")
    if signs[0] in _CJK:
        return True
    if mark.end() < len(text) and not _CLOSED_BY_SPACE.match(text, mark.end()):
        return False  # 3.5, example.org, "Yahoo!-like"
    after = _WORD_AFTER.match(text, mark.end(), min(len(text), mark.end() + _LOOK_AHEAD))
    if after is None:
        return True
    word = after.group(1)
    if word[0].islower() and word.islower():
        return False  # an ellipsis or an abbreviation in mid-sentence; a name such as gRPC has an upper-case letter inside
    return signs != "." or _dot_ends_sentence(text, mark.start(), start, following=word)


def _dot_ends_sentence(text: str, dot: int, start: int, *, following: str) -> bool:
    low = max(start, dot - _LOOK_BEHIND)
    before = _WORD_BEFORE.search(text[low:dot])
    if before is None:
        return True
    word = before.group()
    key = word.lower()
    if key in _OPEN_ABBREVIATIONS and not (len(word) == 1 and word.isupper()):
        return False
    opens = following.lower() in STARTERS and following[0].isupper()
    if key in _CLOSING_ABBREVIATIONS:
        return opens
    if (len(word) == 1 and word.isupper()) or (len(word) > 2 and all(len(part) == 1 for part in word.split("."))):
        return opens  # an initial, "J. R. R.", or letters such as "U.S.S.R."
    # "1. Item": a number alone at the start of a sentence counts it, it does not end it.
    return not (word.isdigit() and not text[start : low + before.start()].strip())
