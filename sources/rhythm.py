"""How often a feed posts, from the dates that its entries carry; kept in the cursor so that it can be told without fetching."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from .base import Rhythm
from .entry import Entry

#: Fewer gaps than this say nothing about a habit.
_GAPS_MIN = 3


def rhythm_of(cursor: Mapping[str, Any]) -> Rhythm | None:
    """What a feed's cursor remembers of its rhythm; None for a source without one."""
    gap_s, newest = cursor.get("gap_s"), cursor.get("newest_at")
    if not isinstance(gap_s, int | float) or not isinstance(newest, str):
        return None
    return Rhythm(float(gap_s), datetime.fromisoformat(newest))


def remembered_rhythm(entries: Iterable[Entry], cursor: Mapping[str, Any], *, now: datetime | None = None) -> dict[str, Any]:
    """The cursor's part about the rhythm, measured on the entries; the earlier one where they carry too few dates.

    Dates in the future are left out: a misdated entry would hide a silence for years.
    """
    latest = (now or datetime.now(UTC)) + timedelta(days=1)
    dates = sorted({entry.published_at for entry in entries if entry.published_at is not None and entry.published_at <= latest})
    gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(dates)]
    if len(gaps) < _GAPS_MIN:
        return {key: cursor[key] for key in ("gap_s", "newest_at") if key in cursor}
    return {"gap_s": statistics.median(gaps), "newest_at": dates[-1].isoformat()}
