"""How long a server asks us to wait, in each of the headers that say it. Pure functions of header values; nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .base import DAY_S


def retry_after_s(value: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds asked for by a Retry-After header, in either of its forms (RFC 9110 section 10.2.3), at most a day."""
    if not value:
        return None
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,12}", value):
        return min(DAY_S, float(value))
    at = http_date(value)
    if at is None:
        return None  # a header nobody can read asks for nothing
    return min(DAY_S, max(0.0, (at - (now or datetime.now(UTC))).total_seconds()))


def max_age_s(cache_control: str | None, age: str | None = None) -> float | None:
    """How long the answer may be considered fresh by its Cache-Control, less the Age it already has; at most a day."""
    directives = (cache_control or "").lower()
    found = re.search(r"(?:^|[,\s])max-age\s*=\s*\"?([0-9]{1,12})", directives)
    if not found or "no-cache" in directives or "no-store" in directives:
        return None
    spent = float(age) if age and re.fullmatch(r"[0-9]{1,12}", age.strip()) else 0.0
    left = float(found.group(1)) - spent
    return min(DAY_S, left) if left > 0 else None


def expires_s(expires: str | None, date: str | None = None, *, now: datetime | None = None) -> float | None:
    """Seconds until an Expires header's time, by the server's own clock where it gives one; at most a day, None when it has passed."""
    until, since = http_date(expires), http_date(date)
    if until is None:
        return None
    left = (until - (since or now or datetime.now(UTC))).total_seconds()
    return min(DAY_S, left) if left > 0 else None


def wait_asked_for_s(headers: Mapping[str, str]) -> float | None:
    """What a successful answer's headers ask for: Retry-After, else Cache-Control, which overrides Expires (RFC 9111 section 5.3)."""
    asked = retry_after_s(headers.get("retry-after"))
    if asked is not None:
        return asked
    control = headers.get("cache-control")
    if control and re.search(r"max-age|no-cache|no-store", control, flags=re.IGNORECASE):
        return max_age_s(control, headers.get("age"))
    return expires_s(headers.get("expires"), headers.get("date"))


def http_date(value: str | None) -> datetime | None:
    """The instant of an HTTP date; None for anything else."""
    try:
        at = parsedate_to_datetime(value.strip()) if value else None
    except (ValueError, TypeError, OverflowError):
        return None  # "0" and "-1" mean "already stale", and ask for nothing
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
