"""Times that were written down by a wall clock that has been set back since: they lie in the future, and say nothing."""

from datetime import datetime, timedelta

SET_BACK = timedelta(minutes=1)  # further ahead than this is no difference between two threads


def passed(then: datetime, now: datetime) -> timedelta:
    """How long ago something was; any time, where a clock says so that was set back since."""
    return timedelta.max if then > now + SET_BACK else now - then
