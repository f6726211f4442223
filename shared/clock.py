"""The time of day, put right by storage's clock when the instance's own is wrong.

Instances compare stamps and schedule messages for each other: one whose clock is hours ahead would put work off for
hours, and end everybody's day. Every answer of Table Storage carries its time, so a wrong clock is noticed with the
first of them. Spans of time are measured by monotonic clocks, which this does not touch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

log = logging.getLogger(__name__)

#: Answers have a time without fractions and may be late: a clock that is ahead by less counts as right.
TOLERATED = timedelta(seconds=60)
#: No answer comes from the future, so a clock that is behind by more is wrong: what it schedules would come at once.
BEHIND = timedelta(seconds=1)
#: What another instance has stamped further ahead than this is ignored.
AHEAD = timedelta(hours=1)


def _own() -> datetime:
    return datetime.now(UTC)


class Clock:
    """The clock of one process. `own`: what the machine says."""

    def __init__(self, own: Callable[[], datetime] = _own) -> None:
        self._own = own
        self._ahead = timedelta()

    @property
    def ahead(self) -> timedelta:
        """How far the machine's clock is ahead; zero while it is right, or nobody has said otherwise."""
        return self._ahead

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return self._own() - self._ahead

    def heard(self, moment: datetime) -> None:
        """Storage has just said what time it is."""
        ahead = self._own() - moment
        if -BEHIND <= ahead <= TOLERATED:
            if self._ahead:
                log.warning("clock_right_again")
                self._ahead = timedelta()
        elif abs(ahead - self._ahead) > TOLERATED or not self._ahead:
            log.error("clock_wrong ahead_seconds=%.0f: the time of storage is used instead", ahead.total_seconds())
            self._ahead = ahead
        elif self.now() < moment:  # the answer before was late, or its time was cut to the second
            self._ahead = ahead
