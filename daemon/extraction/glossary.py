"""Finds glossary entries by their layout: a term, a sign, an explanation. Leaves sentences and scores of prose to find.py."""

from __future__ import annotations

import re
from dataclasses import dataclass

from daemon.extraction.blocks import Block, Kind
from daemon.extraction.subjects import Subject, name_from_words
from daemon.extraction.words import AUXILIARIES, DETERMINERS, FIRST_OR_SECOND_PERSON, METADATA_KEYS, RELATIVISERS

# A term in bold and a sign, in either order: "**Term** — text", "**Term:** text".
_BOLD = re.compile(r"(?:\*\*|__)(?P<term>[^*_\n]{2,80}?)(?P<inner>:?)(?:\*\*|__)[ \t]*(?P<sign>[—–:-]{0,2})[ \t]*(?P<text>\S)")
# A dictionary's line: "Dorvil (noun): A flat boat."
_PART_OF_SPEECH = r"(?:noun|verb|adjective|adverb|n|v|adj|adv|plural|phrase)\.?"
_DICTIONARY = re.compile(rf"(?P<term>[^\W\d_][^\n:()]{{0,60}}?)[ \t]+\({_PART_OF_SPEECH}\)[ \t]*(?::|[—–])[ \t\n]+(?P<text>\S)")
_PLAIN = re.compile(r"(?P<term>[^\W_][^\n:—–|]{1,60}?)(?::| [—–]| -{1,2})[ \t\n]+(?P<text>\S)")
_GLOSSARY_TITLE = re.compile(r"\b(?:glossary|terms|terminology|vocabulary|dictionary|definitions|lexicon)\b", re.IGNORECASE)
_MIN_PLAIN_ENTRIES = 2
_MIN_WORDS = 4
_PAREN = re.compile(r"\s*\(([^()]{1,60})\)\s*\Z")


@dataclass(frozen=True, slots=True)
class Entry:
    """A glossary entry: its name, where it starts, and where its explanation runs."""

    subject: Subject
    start: int
    text_start: int
    end: int
    plain: bool


def entries(text: str, masked: str, layout: list[Block], *, title: str | None = None) -> list[Entry]:
    """The glossary entries of a document. Plain "Term: text" lines count only where there are several, else they are notes or metadata."""
    marked: list[Entry] = []
    plain: list[Entry] = []
    trusted = title is not None and _GLOSSARY_TITLE.search(title) is not None
    for number, block in enumerate(layout):
        if block.kind is Kind.TERM and number + 1 < len(layout) and layout[number + 1].kind is Kind.DESCRIPTION:
            described = layout[number + 1]
            _keep(marked, _entry(masked, (block.start, block.end), described.start, end=described.end, plain=False, trusted=True))
        elif block.kind in (Kind.PARAGRAPH, Kind.ITEM):
            bold = _BOLD.match(text, block.start, block.end)
            if bold is not None and (bold["inner"] or bold["sign"]):
                _keep(marked, _entry(masked, bold.span("term"), bold.start("text"), end=block.end, plain=False, trusted=trusted))
                continue
            word = _DICTIONARY.match(masked, block.start, block.end)
            if word is not None:
                _keep(marked, _entry(masked, word.span("term"), word.start("text"), end=block.end, plain=False, trusted=True))
                continue
            for start, end in _lines(masked, block):
                line = _PLAIN.match(masked, start, end)
                if line is not None:
                    _keep(plain, _entry(masked, line.span("term"), line.start("text"), end=end, plain=True, trusted=trusted))
    return marked + (plain if len(plain) >= _MIN_PLAIN_ENTRIES else [])


def _lines(masked: str, block: Block) -> list[tuple[int, int]]:
    """The block as one piece, or its lines where each of them is written as an entry."""
    spans, start = [], block.start
    for line in masked[block.start : block.end].split("\n"):
        spans.append((start, start + len(line.rstrip())))
        start += len(line) + 1
    listed = len(spans) > 1 and all(_PLAIN.match(masked, start, end) for start, end in spans)
    return spans if listed else [(block.start, block.end)]


def _keep(found: list[Entry], entry: Entry | None) -> None:
    if entry is not None:
        found.append(entry)


def _entry(masked: str, name: tuple[int, int], text_start: int, *, end: int, plain: bool, trusted: bool) -> Entry | None:
    term = masked[name[0] : name[1]].strip()
    paren = _PAREN.search(term)
    short = (paren.group(1),) if paren and re.fullmatch(r"[\w.&/-]{2,12}", paren.group(1)) else ()
    subject = name_from_words(_PAREN.sub("", term))
    if subject is None or subject.entity.lower() in METADATA_KEYS or subject.head in METADATA_KEYS or subject.words > (4 if plain else 6):
        return None
    words = masked[text_start : min(end, text_start + 400)].split()
    if not _explains(words, trusted=trusted):
        return None
    named = Subject(subject.entity, subject.article, short, subject.proper, subject.head, subject.words)
    return Entry(named, name[0], text_start, end, plain)


def _explains(words: list[str], *, trusted: bool) -> bool:
    """An explanation has some words, speaks to nobody, and is a noun phrase with an article unless its layout is trusted."""
    lowers = {word.strip(",.;:!?\"'()").lower() for word in words[:30]}
    if len(words) < _MIN_WORDS or lowers & FIRST_OR_SECOND_PERSON:
        return False
    if trusted:
        return True
    head = [word.strip(",.;:").lower() for word in words[:9]]
    stop = next((number for number, word in enumerate(head) if word in RELATIVISERS), len(head))
    return head[0] in DETERMINERS | {"any", "one"} and not set(head[:stop]) & AUXILIARIES
