"""Marketo's day: its quota is reset at midnight US Central (marketo.md 2), in summer as in winter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

#: When a day begins for us: some minutes after midnight, as neither Marketo's clock nor ours is exact.
RESET = time(0, 5)


@dataclass(frozen=True, slots=True)
class Day:
    """One day of the quota: from `start` up to `end`, both in UTC; 23 to 25 hours."""

    date: date
    start: datetime
    end: datetime

    def elapsed(self, now: datetime) -> float:
        """The fraction of the day that is over, 0 to 1."""
        return min(1.0, max(0.0, (now - self.start) / (self.end - self.start)))


def day_of(now: datetime) -> Day:
    """The day that this moment (with a time zone) belongs to."""
    # Central Time's changes are at 2 a.m.: five past midnight comes exactly once a day.
    day = (now.astimezone(_central()).replace(tzinfo=None) - timedelta(minutes=RESET.minute)).date()
    return day_on(day)


def day_on(date_: date) -> Day:
    """The day with this date."""
    return Day(date_, _start(date_), _start(date_ + timedelta(days=1)))


@cache
def _start(day: date) -> datetime:
    return datetime.combine(day, RESET, _central()).astimezone(UTC)


@cache
def _central() -> ZoneInfo:
    return ZoneInfo("America/Chicago")
