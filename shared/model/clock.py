"""The time of day, put right by storage's and the broker's clocks when the instance's own is wrong.

Instances compare stamps and schedule messages for each other, and one clock that is hours ahead would put work off for
hours. Every answer of Table Storage carries its time, which is carried on by the monotonic clock. While storage is
away, it is at least as late as the newest message that the broker took in; how much later, nobody knows, for messages
may have waited. A wrong clock is then as late as that message: what is scheduled in the past comes at once, with a new
stamp.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

log = logging.getLogger(__name__)

#: Answers have a time without fractions and may be late: a clock that is ahead by less counts as right.
TOLERATED = timedelta(seconds=60)
#: No answer comes from the future, so a clock that is behind by more is wrong: what it schedules would come at once.
BEHIND = timedelta(seconds=1)
#: Messages that have waited for less say nothing against a clock.
WAITED = timedelta(minutes=5)
#: What another instance has stamped further ahead than this is ignored.
AHEAD = timedelta(hours=1)


@dataclass
class Clock:
    """The clock of one process. `own`: what the machine says. `monotonic`: seconds, of a clock that is never set."""

    own: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    _told: datetime | None = field(default=None, init=False)
    _at: float = field(default=0.0, init=False)
    _ahead: timedelta = field(default=TOLERATED, init=False)  # how far the machine may be ahead of what was told
    _wrong: bool = field(default=False, init=False)

    def now(self) -> datetime:
        """The time of day, in UTC."""
        own, told = self.own(), self._told_now()
        return own if told is None or -BEHIND <= own - told <= self._ahead else told

    def heard(self, moment: datetime) -> None:
        """Storage has just said what time it is."""
        ahead, told = self.own() - moment, self._told_now()
        if -BEHIND <= ahead <= TOLERATED:
            if self._wrong:
                log.warning("clock_right_again")
                self._wrong = False
        elif not self._wrong or told is None or abs(moment - told) > TOLERATED:
            log.error("clock_wrong ahead_seconds=%.0f: the time of storage is used instead", ahead.total_seconds())
            self._wrong = True
        elif moment <= told:  # late, or cut to the second
            return
        self._tell(moment, TOLERATED)

    def at_least(self, moment: datetime) -> None:
        """The broker has taken in a message at this time, by its own clock."""
        told = self._told_now()
        if told is None:
            self._tell(moment, WAITED)
        elif moment > told:
            self._tell(moment, self._ahead)

    def _told_now(self) -> datetime | None:
        return self._told and self._told + timedelta(seconds=self.monotonic() - self._at)

    def _tell(self, moment: datetime, ahead: timedelta) -> None:
        self._told, self._at, self._ahead = moment, self.monotonic(), ahead
