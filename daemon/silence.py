"""Whether a feed that answers has stopped posting: no error tells of it."""

from datetime import UTC, datetime, timedelta

from registry import Feed


def may_be_silent(now: datetime) -> datetime:
    """Only a feed whose newest entry is from before this moment can be silent: what the registry is asked, so that it need not read every cursor."""
    from sources.base import SILENT_LEAST_S

    return now - timedelta(seconds=SILENT_LEAST_S)


def silence(feed: Feed, now: datetime | None = None) -> str | None:
    """A sentence about a feed that answers but has stopped posting; None while it keeps to its rhythm."""
    from sources import rhythm_of  # here, because it brings every parser along

    rhythm = rhythm_of(feed.cursor)
    silent = None if rhythm is None or feed.state != "active" else rhythm.silent_for(now or datetime.now(UTC))
    if rhythm is None or silent is None:
        return None
    usual = max(1, round(rhythm.gap_s / 3600))
    often = f"{usual} hours" if usual < 48 else f"{round(usual / 24)} days"
    return f"silent for {silent.days} days; it used to post every {often}"
