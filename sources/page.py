"""HTML to plain text whose paragraphs are parted by blank lines. Knows nothing about where the bytes came from.

A whole page goes through trafilatura, which leaves out menus and footers. A fragment, as feeds carry it, is already the content: there
every block is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .encoding import clean_line, clean_text, decode

_WHOLE_PAGE = re.compile(r"<\s*(?:!doctype\s+html|html|body)[\s>]", re.IGNORECASE)
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{2,40})", re.IGNORECASE)
#: A frame's words for browsers that know no frames; and the tags that go before parsing, since one that is never closed would take
#: everything after it for its own.
_FRAME_EXCUSE = re.compile(r"<(iframe|object)\b[^<>]{0,4000}>[^<>]{0,300}</\1\s*>", re.IGNORECASE)
_FRAME = re.compile(r"</?(?:iframe|object|noembed|noframes|plaintext|xmp)\b[^<>]{0,4000}>", re.IGNORECASE)
#: Above this the extractor's many passes take minutes; the plain reading stays linear.
_EXTRACTOR_LIMIT_CHARS = 2_000_000
_SKIPPED = frozenset({"script", "style", "template", "noscript", "svg", "math", "head", "select", "textarea", "button", "nav"})
_BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "caption", "details", "dialog", "div", "dl", "fieldset", "figcaption", "figure"}
    | {"footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html", "main", "ol", "p", "pre", "section", "summary"}
    | {"table", "ul"}
)
_LINES = frozenset({"li", "dt", "dd", "tr", "br", "option"})
_CELLS = frozenset({"td", "th"})


@dataclass(frozen=True, slots=True)
class PageText:
    title: str | None
    text: str
    problem: str | None = None


def html_to_text(source: bytes | str) -> PageText:
    """Title and text of a page or a fragment. Bytes are decoded by mark, meta tag, or guess; binary bytes give an empty text."""
    html, problem = _as_str(source)
    tree = parse_html(_FRAME.sub(" ", _FRAME_EXCUSE.sub(" ", html)))
    if tree is None:
        return PageText(None, "", problem)
    title = _title(tree)
    main = _main_text(html) if _WHOLE_PAGE.search(html[:4096]) and len(html) <= _EXTRACTOR_LIMIT_CHARS else None
    return PageText(title, main or _visible_text(tree), problem)


def without_title(text: str, title: str | None) -> str:
    """The text without a first line that only repeats the title, unless nothing else is there."""
    first, _, rest = text.partition("\n")
    return rest.strip() if title and rest.strip() and first.strip().casefold() == title.strip().casefold() else text


def _as_str(source: bytes | str) -> tuple[str, str | None]:
    if isinstance(source, str):
        return source, None
    declared = _META_CHARSET.search(source[:4096])
    decoded = decode(source, declared=declared.group(1).decode("ascii") if declared else None)
    return (decoded.text, decoded.problem) if decoded is not None else ("", "this is not text")


def parse_html(html: str) -> Any:
    """The tree, or None when there is nothing in it. Bytes and a named encoding, because lxml refuses text that declares one itself."""
    from lxml import etree  # type: ignore[import-untyped]
    from lxml import html as lxml_html

    data = html.replace("\x00", "").encode("utf-8", "replace")
    if not data.strip():
        return None
    try:
        return lxml_html.document_fromstring(data, parser=lxml_html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True))
    except (etree.ParserError, etree.XMLSyntaxError):
        return None  # only comments or white space: an empty document, not a failure


def _title(tree: Any) -> str | None:
    for path in (".//title", ".//h1"):
        found = tree.find(path)
        if found is not None and (line := clean_line("".join(found.itertext()))):
            return line
    return None


def _main_text(html: str) -> str | None:
    """What trafilatura takes for the main text; None when it finds too little to be sure. Imported late: it takes a third of a second."""
    import trafilatura

    found = trafilatura.bare_extraction(html, include_comments=False, with_metadata=False)
    text = getattr(found, "text", None)
    return _paragraphs(text) if text and text.strip() else None


def _paragraphs(text: str) -> str:
    """One line a block becomes blocks parted by blank lines; neighbouring list items stay together."""
    parts: list[str] = []
    for line in (line.strip() for line in text.split("\n")):
        if line:
            together = parts and line.startswith(("- ", "|")) and parts[-1].startswith(("- ", "|"))
            parts += ["\n" if together else "\n\n", line]
    return clean_text("".join(part for part in parts))


def _visible_text(tree: Any) -> str:
    text = clean_text("".join(_pieces(tree)))
    return re.sub(r"^-\n+(?=\S)", "- ", text, flags=re.MULTILINE)  # <li><p>: the item's paragraph belongs on the item's line


def _pieces(root: Any) -> Iterator[str]:
    """Every visible text of a tree with breaks at blocks, by hand-kept stack: a hostile page nests deeper than Python recurses."""
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, leaving = stack.pop()
        tag = node.tag if isinstance(node.tag, str) else ""
        if leaving:
            yield _break_after(tag)
            yield _spaced(node.tail, preformatted=False)
            continue
        if tag in _SKIPPED or not tag:
            yield _spaced(node.tail, preformatted=False)
            continue
        yield _break_before(tag)
        yield _spaced(node.text, preformatted=tag == "pre")
        stack.append((node, True))
        stack.extend((child, False) for child in reversed(node))


def _break_before(tag: str) -> str:
    if tag in _BLOCKS:
        return "\n\n"
    if tag == "li":
        return "\n- "
    return "\n" if tag in _LINES else ""


def _break_after(tag: str) -> str:
    if tag in _BLOCKS:
        return "\n\n"
    return " " if tag in _CELLS else ""


def _spaced(text: str | None, *, preformatted: bool) -> str:
    if not text:
        return ""
    return text if preformatted else re.sub(r"\s+", " ", text)
