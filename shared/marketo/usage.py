"""What may be used of Marketo, and what is: values that the ledger and the budget give."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel

#: By our own count, or by Marketo's count of everybody; and by Marketo's refusal.
SHARE_SPENT = "DayShareSpent"
QUOTA_SPENT = "607"
#: The part of the day from which on a forecast makes sense.
FORECAST_FROM = 1 / 24


@dataclass(frozen=True, slots=True)
class Grant:
    """`calls` may be made until `until`, `places` at a time. Without any, ask again in `wait` seconds."""

    calls: int
    until: float
    wait: float
    places: int


class Closed(BaseModel):
    """No call before `until`; since when, and why: SHARE_SPENT or QUOTA_SPENT, and a reason for people."""

    until: float
    since: float
    code: str
    reason: str

    @property
    def opens(self) -> datetime:
        """When it ends."""
        return datetime.fromtimestamp(self.until, UTC)


@dataclass(frozen=True, slots=True)
class Usage:
    """The use of the daily quota as far as this process knows; `as_of`: when it last read what all instances share.

    `used_today` of `allowed_today` calls of this app, `used_by_runs` of them for the records of runs
    (shared/sync/runs/); `elapsed`: the fraction of Marketo's day that is over; `everybody`: the calls of everything
    that uses this Marketo, as Marketo reported at `measured_at`.
    """

    used_today: int
    allowed_today: int
    elapsed: float
    closed: Closed | None
    everybody: int | None
    measured_at: datetime | None
    as_of: datetime | None
    used_by_runs: float = 0.0

    @property
    def forecast(self) -> int | None:
        """The calls of this app at the end of Marketo's day, if it goes on as so far; None in the day's first hour."""
        return round(self.used_today / self.elapsed) if self.elapsed >= FORECAST_FROM else None
