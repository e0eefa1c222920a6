"""Cuts a text into headings, paragraphs, list items and glossary entries, with offsets. Reads plain text and Markdown; judges nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    HEADING = "heading"
    PARAGRAPH = "paragraph"
    ITEM = "item"
    TERM = "term"  # a line that the next block, a DESCRIPTION, explains
    DESCRIPTION = "description"


@dataclass(frozen=True, slots=True)
class Block:
    kind: Kind
    start: int
    end: int


_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+")
_UNDERLINE = re.compile(r" {0,3}(={3,}|-{3,})\s*\Z")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_ITEM = re.compile(r"\s{0,8}(?:[-*+•]|[0-9]{1,3}[.)])[ \t]+")
_DESCRIPTION = re.compile(r" {0,3}:[ \t]+")
_SKIPPED = re.compile(r"\s{0,8}(?:>|\||<!--)|\s*\Z| {0,3}(?:[-*_][ \t]*){3,}\Z")
_OPEN_ENDINGS = ".!?:;,。！？…-–—"
_MAX_HEADING_LINE = 50
_MAX_HEADING_WORDS = 8


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text.rstrip())


def blocks(text: str) -> list[Block]:
    """The blocks of `text` in order; code, tables, quotations and rules are left out."""
    found: list[Block] = []
    open_kind: Kind | None = None
    fenced: str | None = None
    lines = _lines(text)
    for number, line in enumerate(lines):
        fence = _FENCE.match(line.text)
        if fence is not None and fenced in (None, fence.group(1)):
            fenced, open_kind = (fence.group(1) if fenced is None else None), None
            continue
        if fenced is not None or (_SKIPPED.match(line.text) and not (_UNDERLINE.match(line.text) and open_kind)):
            open_kind = None
            continue
        following = lines[number + 1] if number + 1 < len(lines) else None
        open_kind = _take(found, line, open_kind, following=following)
    return found


def _lines(text: str) -> list[_Line]:
    lines, start = [], 0
    for piece in text.split("\n"):
        lines.append(_Line(piece, start))
        start += len(piece) + 1
    return lines


def _take(found: list[Block], line: _Line, open_kind: Kind | None, *, following: _Line | None) -> Kind | None:
    """Adds the line to the block that is open, or opens one; returns the kind now open."""
    if _UNDERLINE.match(line.text) and open_kind is Kind.PARAGRAPH:
        found[-1] = Block(Kind.HEADING, found[-1].start, found[-1].end)
        return None
    for pattern, kind in ((_HEADING, Kind.HEADING), (_ITEM, Kind.ITEM), (_DESCRIPTION, Kind.DESCRIPTION)):
        mark = pattern.match(line.text)
        if mark is not None and line.text[mark.end() :].strip():
            found.append(Block(kind, line.start + mark.end(), line.end))
            return None if kind is Kind.HEADING else kind
    if following is not None and _DESCRIPTION.match(following.text):
        found.append(Block(Kind.TERM, line.start + _indent(line), line.end))
        return None
    if open_kind is None and following is not None and _reads_as_heading(line, following):
        found.append(Block(Kind.HEADING, line.start + _indent(line), line.end))
        return None
    if open_kind is None:
        found.append(Block(Kind.PARAGRAPH, line.start + _indent(line), line.end))
        return Kind.PARAGRAPH
    last = found[-1]
    found[-1] = Block(last.kind, last.start, line.end)
    return open_kind


def _indent(line: _Line) -> int:
    return len(line.text) - len(line.text.lstrip())


def _reads_as_heading(line: _Line, following: _Line) -> bool:
    """A short line without a full stop, before a line that opens with a capital: plain text writes headings like this."""
    text, after = line.text.strip(), following.text.strip()
    short = len(text) <= _MAX_HEADING_LINE and len(text.split()) <= _MAX_HEADING_WORDS and text[-1] not in _OPEN_ENDINGS
    return short and len(after) > len(text) and after[0].isalnum() and not after[0].islower()
