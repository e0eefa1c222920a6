"""Blanks out inline markup without moving a character, so that offsets found in the masked text hold in the original.

Leaves block structure (headings, lists) to blocks.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from daemon.extraction.found import collapse

_LINK = re.compile(r"!?\[([^\[\]\n]{0,300})\](\((?:[^()\n]|\([^()\n]{0,200}\)){0,500}\)|\[[^\[\]\n]{0,120}\])")
_WIKI_LINK = re.compile(r"\[\[([^\[\]\n|]{0,200}\|)?([^\[\]\n|]{0,200})\]\]")
_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9]{0,15}(?:\s[^<>\n]{0,300})?/?>")
_FOOTNOTE = re.compile(r"\[\^?[0-9]{1,3}\]|\[(?:citation needed|link|edit|clarification needed)\]")
_AUTOLINK = re.compile(r"<https?://[^<>\s]{1,500}>")
_EMPHASIS = re.compile(r"\*{1,3}(?=\S)|(?<=\S)\*{1,3}|(?<![^\W_])_{1,2}(?=[^\W_])|(?<=[^\W_])_{1,2}(?![^\W_])|`{1,3}|~~")
_SPACE_BEFORE_SIGN = re.compile(r" +(?=[,.;:!?)\]](?:\s|$))")


def mask(text: str) -> str:
    """`text` with links, tags, footnote marks and emphasis turned into spaces; the same length, the same line breaks."""
    for pattern, replace in _STEPS:
        text = pattern.sub(replace, text)
    return text


def readable(text: str) -> str:
    """`text` as a reader sees it: markup gone, white space collapsed. Use it on a definition before showing or learning it."""
    return _SPACE_BEFORE_SIGN.sub("", collapse(mask(text)))


def _blank(match: re.Match[str]) -> str:
    return " " * len(match.group())


def _keep(group: int) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        first, last = match.start(group) - match.start(), match.end(group) - match.start()
        return " " * first + match.group(group) + " " * (len(match.group()) - last)

    return replace


_STEPS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (_WIKI_LINK, _keep(2)),
    (_LINK, _keep(1)),
    (_FOOTNOTE, _blank),
    (_AUTOLINK, _blank),
    (_TAG, _blank),
    (_EMPHASIS, _blank),
)
