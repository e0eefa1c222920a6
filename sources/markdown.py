"""Markdown to plain text. Every pattern is bounded, because the text is a stranger's and must cost no more than its length."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .encoding import clean_line, clean_text
from .page import PageText

_RULE = re.compile(r" {0,3}(?:[-*_][ \t]*){3,}$")
_LINK_TARGET = re.compile(r" {0,3}\[[^\]\n]{1,200}\]:\s")
_TARGET = r"\([^()\s]{0,2000}(?:[ \t]{1,4}(?:\"[^\"\n]{0,300}\"|'[^'\n]{0,300}'))?\)"
#: In this order: what a later pattern leaves bare, an earlier one has already taken out.
_INLINE: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"!\[[^\[\]\n]{0,300}\]" + _TARGET), ""),
    (re.compile(r"\[([^\[\]\n]{1,300})\]" + _TARGET), r"\1"),
    (re.compile(r"\[([^\[\]\n]{1,300})\]\[[^\[\]\n]{0,200}\]"), r"\1"),
    (re.compile(r"<((?:https?|mailto):[^<>\s]{1,2000})>"), r"\1"),
    (re.compile(r"</?[A-Za-z][^<>\n]{0,500}>"), ""),
    (re.compile(r"(?<!`)(`{1,2})(?!`)([^`\n]{1,500})\1(?!`)"), r"\2"),
    (re.compile(r"\*\*(?=[^\s*])([^*\n]{1,500})(?<=\S)\*\*"), r"\1"),
    (re.compile(r"(?<![\w*])\*(?=[^\s*])([^*\n]{1,500})(?<=\S)\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<!\w)__(?=[^\s_])([^\n]{1,300}?)(?<=[^\s_])__(?!\w)"), r"\1"),
    (re.compile(r"(?<!\w)_(?=[^\s_])([^\n]{1,300}?)(?<=[^\s_])_(?!\w)"), r"\1"),
    (re.compile(r"~~([^~\n]{1,500})~~"), r"\1"),
)
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+\-.!<>|~])")
#: Escaped marks wait here, in Unicode's private area, while the unescaped ones are taken out.
_SHELTER = 0xF700


def markdown_to_text(source: str) -> PageText:
    """Markdown as plain text: front matter and code fences dropped, headings and emphasis bare, links as their words, lists as lines."""
    body, title = _without_front_matter(source.replace("\r\n", "\n").removeprefix("\ufeff"))
    body = re.sub(r"^ {0,3}(`{3,40}|~{3,40})[^\n]*\n.*?(?:^ {0,3}\1[`~]*[ \t]*$|\Z)", "\n", body, flags=re.MULTILINE | re.DOTALL)
    body = re.sub(r"<!--.*?(?:-->|\Z)", "", body, flags=re.DOTALL)
    body = re.sub(r"^(?=\S)([^\n|]+)\n(?:={2,}|-{3,})[ \t]*$", r"# \1", body, flags=re.MULTILINE)
    headings = (words for line in body.split("\n") if (words := _heading(line)))
    title = title or clean_line(_inline(next(headings, ""))) or None
    return PageText(title, clean_text("\n".join(_plain_lines(body))))


def _without_front_matter(source: str) -> tuple[str, str | None]:
    found = re.match(r"(---|\+\+\+)[ \t]*\n(.*?)^\1[ \t]*(?:\n|\Z)", source, flags=re.MULTILINE | re.DOTALL)
    if not found:
        return source, None
    title = re.search(r"^title[ \t]{0,9}[:=]([^\n]+)$", found.group(2), flags=re.MULTILINE | re.IGNORECASE)
    words = title.group(1).strip() if title else ""
    if len(words) > 1 and words[0] == words[-1] and words[0] in "\"'":
        words = words[1:-1]
    return source[found.end() :], clean_line(words) or None


def _heading(line: str) -> str | None:
    """The words of a heading line, without the closing marks that some people write."""
    found = re.match(r" {0,3}#{1,6}[ \t]+(?=\S)", line)
    return re.sub(r"[ \t]#+$", "", line[found.end() :].rstrip()) if found else None


def _plain_lines(body: str) -> Iterator[str]:
    for line in body.split("\n"):
        if _RULE.match(line) or _LINK_TARGET.match(line) or _is_table_ruler(line):
            continue  # these say nothing
        heading = _heading(line)
        if heading is not None:
            yield from ("", _inline(heading), "")
            continue
        line = re.sub(r"^[ \t]*>[> \t]*", "", line)
        yield _inline(re.sub(r"^[ \t]*[*+-][ \t]+", "- ", line))


def _is_table_ruler(line: str) -> bool:
    return "--" in line and not line.strip(" \t:|-")


def _inline(line: str) -> str:
    line = _ESCAPED.sub(lambda found: chr(_SHELTER + ord(found.group(1))), line)
    for pattern, kept in _INLINE:
        line = pattern.sub(kept, line)
    return re.sub("[\uf700-\uf77f]", lambda found: chr(ord(found.group(0)) - _SHELTER), line)
