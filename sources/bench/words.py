"""When an expected value and a handed-out one say the same. Entries carry text, expectations often markup: both become words first."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sources.entry import entry_text, joined, web_url


def same_text(wanted: Any, got: str | None) -> bool:
    """Equal words, the expectation read as markup or as plain text; nothing is equal to nothing."""
    if not isinstance(wanted, str):
        return wanted is None and not got
    return _words(got or "") in (_words(wanted), _words(entry_text(wanted, is_html=True)))


def same_url(wanted: Any, got: str | None, base_url: str) -> bool:
    """Equal addresses, the expectation made absolute; an expectation that nobody can follow in a browser is met by none."""
    return _address(web_url(joined(base_url, str(wanted or "").strip()))) == _address(got)


def same_time(wanted: Any, got: datetime | None) -> bool:
    """The same second."""
    if not wanted:
        return True
    at = datetime.fromisoformat(str(wanted))
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return got is not None and abs((at - got).total_seconds()) < 1.0


def _address(url: str | None) -> str:
    """Host names know no case (RFC 3986 section 6.2.2.1), and an empty path is a slash."""
    parts = urlsplit((url or "").rstrip("/"))
    return parts._replace(netloc=parts.netloc.lower()).geturl()


def _words(text: str) -> str:
    return re.sub(r"\s+", "", text)
