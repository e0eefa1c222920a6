"""JSON lines: one document a line, under the keys that people use. A line that is none is a sentence; the others are taken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from .base import Document
from .encoding import clean_line, decode
from .entry import entry_text, web_url

LINES = frozenset({".jsonl", ".ndjson"})
_TEXT = ("text", "content", "body", "article", "document", "definition", "summary", "content_text")
_HTML = ("html", "content_html")
_TITLE = ("title", "headline", "name", "entity", "term")
_ID = ("id", "external_id", "guid", "uid", "_id")
_URL = ("url", "link", "source_url")
_DATE = ("published_at", "date", "published", "date_published", "timestamp", "created_at")
_LINES_MAX = 100_000


@dataclass(slots=True)
class Lines:
    """What a file of lines holds: documents that are new, a digest for every line, a sentence for each that cannot be used."""

    documents: list[Document] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def documents_of(data: bytes, file: Document, *, known: frozenset[str]) -> Lines:
    """The documents of the lines whose digest is not `known`; everything that a line does not say is taken from `file`."""
    found = Lines()
    decoded = decode(data)
    if decoded is None:
        found.problems.append("it is binary data, not JSON lines")
        return found
    for number, line in enumerate(decoded.text.splitlines(), start=1):
        if not line.strip():
            continue
        if len(found.digests) >= _LINES_MAX:
            found.problems.append(f"it has more than {_LINES_MAX:,} lines; the rest was not read")
            break
        digest = hashlib.sha256(line.encode("utf-8", "replace")).hexdigest()[:16]
        document, problem = _document(line, file, digest)
        if document is None:
            found.problems.append(f"line {number} {problem}")
            continue
        found.digests.append(digest)
        if digest not in known:
            found.documents.append(document)
    if not found.digests and not found.problems:
        found.problems.append("it has no text")
    return found


def _document(line: str, file: Document, digest: str) -> tuple[Document | None, str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None, "is no valid JSON"
    if not isinstance(row, dict):
        return None, "is not an object"
    text = entry_text(_first(row, _TEXT), is_html=False) or entry_text(_first(row, _HTML), is_html=True)
    if not text:
        return None, f"has no text under any of {', '.join(_TEXT[:4])}"
    own_id = _first(row, _ID)
    return replace(
        file,
        external_id=f"{file.external_id}#{clean_line(own_id, limit=300) if own_id else digest}",
        url=web_url(_first(row, _URL)) or file.url,
        title=clean_line(_first(row, _TITLE)) or None,
        text=text,
        published_at=_date(_first(row, _DATE)) or file.published_at,
    ), ""


def _first(row: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """The first of the keys that holds words or a number."""
    values = (row.get(key) for key in keys)
    return next((str(one) for one in values if isinstance(one, str | int | float) and not isinstance(one, bool) and str(one).strip()), "")


def _date(value: str) -> datetime | None:
    try:
        at = datetime.fromtimestamp(float(value), UTC) if value.replace(".", "", 1).isdigit() else datetime.fromisoformat(value)
    except (ValueError, OverflowError, OSError):
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
