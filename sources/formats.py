"""A file's bytes to text by its kind: plain text, Markdown, HTML, PDF, Word, mail. What cannot be read is a sentence in `problem`.

PDF and Word go through pypdf and python-docx, imported when first needed. Their archives are a stranger's: size and pages are bounded.
"""

from __future__ import annotations

import email
import email.policy
import io
import logging
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage

from .base import MIB
from .encoding import clean_line, clean_text, decode
from .markdown import markdown_to_text
from .page import PageText, html_to_text

HTML = frozenset({".html", ".htm", ".xhtml"})
READABLE = frozenset({".txt", ".text", ".md", ".markdown", ".rst", ".pdf", ".docx", ".eml"}) | HTML
_PAGES_MAX = 2000
_TEXT_MAX_CHARS = 20_000_000
_UNPACKED_MAX_BYTES = 200 * MIB


def text_of(data: bytes, *, kind: str) -> PageText:
    """Title and text of a file whose name ends in `kind`, such as ".pdf"; the text is empty when there is none to be had."""
    if not data.strip():
        return PageText(None, "", "it is empty")
    if kind == ".pdf":
        return _pdf(data)
    if kind == ".docx":
        return _docx(data)
    if kind == ".eml":
        return _mail(data)
    decoded = decode(data)
    if decoded is None:
        return PageText(None, "", f"it is binary data, although its name ends in {kind}")
    if kind in HTML:
        return html_to_text(data)
    page = markdown_to_text(decoded.text) if kind in (".md", ".markdown") else PageText(None, clean_text(decoded.text))
    return replace(page, problem=decoded.problem)


def _pdf(data: bytes) -> PageText:
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    # It warns of every oddity of a stranger's file; what matters is said in `problem`.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            return PageText(None, "", "it is a PDF that needs a password")
        title = reader.metadata.title if reader.metadata else None
        text = "\n\n".join(_limited(page.extract_text() or "" for page, _ in zip(reader.pages, range(_PAGES_MAX), strict=False)))
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OSError, NotImplementedError) as err:
        return PageText(None, "", f"it is a PDF that is damaged beyond reading ({type(err).__name__})")
    found = _unwrapped(clean_text(text))
    return PageText(clean_line(str(title)) if title else None, found, None if found else "it is a PDF of pictures, without text")


def _limited(texts: Iterator[str]) -> Iterator[str]:
    size = 0
    for text in texts:
        size += len(text)
        if size > _TEXT_MAX_CHARS:
            return
        yield text


def _unwrapped(text: str) -> str:
    """PDF breaks lines where the paper ends; a line that goes on in the next one is joined to it, and a divided word made whole."""
    lines: list[str] = []
    for line in text.split("\n"):
        before = lines[-1] if lines else ""
        if before and line and before[-1] in "-\u00ad" and before[-2:-1].isalpha() and line[0].islower():
            lines[-1] = before[:-1] + line
        elif before and line and len(before) > 40 and before[-1] not in ".!?:;\u201d" and (line[0].islower() or line[0].isdigit()):
            lines[-1] = f"{before} {line}"
        else:
            lines.append(line)
    return "\n".join(lines)


def _docx(data: bytes) -> PageText:
    import docx
    from docx.opc.exceptions import OpcError
    from lxml import etree  # type: ignore[import-untyped]

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(part.file_size for part in archive.infolist()) > _UNPACKED_MAX_BYTES:
                return PageText(None, "", f"it would unpack to more than {_UNPACKED_MAX_BYTES // MIB} MiB")
        document = docx.Document(io.BytesIO(data))
        text = "\n\n".join(_docx_blocks(document))
        title = document.core_properties.title
    except (OpcError, etree.LxmlError, zipfile.BadZipFile, KeyError, ValueError, AttributeError, OSError, RuntimeError, EOFError) as err:
        return PageText(None, "", f"it is a Word document that is damaged beyond reading ({type(err).__name__})")
    found = clean_text(text)
    return PageText(clean_line(title) or None, found, None if found else "it is a Word document without text")


def _docx_blocks(document: object) -> Iterator[str]:
    """Paragraphs and tables in the order of the page."""
    from docx.document import Document
    from docx.table import Table

    assert isinstance(document, Document)
    for block in document.iter_inner_content():
        if isinstance(block, Table):
            yield "\n".join(" | ".join(cell.text.strip() for cell in row.cells) for row in block.rows)
        else:
            yield block.text


def _mail(data: bytes) -> PageText:
    """A mail's subject and its best body; attachments are other documents, and not read."""
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    try:
        title = clean_line(str(message["subject"] or "")) or None
        body = message.get_body(preferencelist=("plain", "html"))
        content = body.get_content() if body is not None else ""
    except (LookupError, ValueError, AttributeError, TypeError) as err:  # an unknown charset, a header out of order
        return PageText(None, "", f"it is a mail that is damaged beyond reading ({type(err).__name__})")
    if not isinstance(content, str) or body is None:
        return PageText(title, "", "it is a mail without text")
    if body.get_content_subtype() == "html":
        return replace(html_to_text(content), title=title)
    return PageText(title, clean_text(content))
