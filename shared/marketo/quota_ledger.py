"""What all instances know together about the use of Marketo: one value, and what may be done to it.

Pure: storage, clocks and waiting are quota.py's. Moments are seconds since the epoch, for instances compare
them; a call that is held by an instance counts as made until the instance tells what became of it.

An instance's clock may be wrong, though model/clock.py puts it right as soon as storage has answered. So each instance
counts in the day that it takes for today, and leaves the numbers of other days alone; and what is stamped more than an
hour ahead is ignored, and told.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from ..model.clock import AHEAD
from .day import day_of, day_on

log = logging.getLogger(__name__)

#: Marketo limits the calls in any span of so many seconds.
WINDOW_SECONDS = 20.0
#: Calls are remembered by the half second in which they were made, or the one after.
GRAIN = 0.5
#: For so long an instance may make the calls that it holds.
HOLD_SECONDS = 5.0
#: An instance that has not asked for calls for so long has no part in the concurrency any more.
GONE_SECONDS = 60.0
#: The use by everybody is measured after so many of our calls, after so much time, and before our share is used up.
MEASURE_CALLS = 250
MEASURE_SECONDS = 900.0
MEASURE_BEFORE_END = 20
#: Whoever has taken the measuring over must be done by then.
MEASURING_SECONDS = 120.0
#: What Marketo says this early in the day may be about the day before: Adobe writes "12:00 AM CST", in summer an
#: hour later.
EARLY_SECONDS = 7200.0
EARLY_WAIT_SECONDS = 900.0

#: Stamps that are further ahead are those of a wrong clock.
AHEAD_SECONDS = AHEAD.total_seconds()
#: Days that are kept beside the present one: those of instances whose clocks differ.
OTHER_DAYS = 3
#: For so long at most nothing is granted after a 606.
HELD_BACK_SECONDS = 900.0

#: By our own count, or by Marketo's count of everybody; and by Marketo's refusal.
SHARE_SPENT = "DayShareSpent"
QUOTA_SPENT = "607"


@dataclass(frozen=True, slots=True)
class Limits:
    """What all instances together may use: calls in any 20 seconds, at a time, a day; `daily` is everybody's."""

    calls: int
    concurrency: int
    daily: int
    allowed: int


@dataclass(frozen=True, slots=True)
class Grant:
    """So many calls may be made until `until`, `places` at a time. None of them: ask again in `wait` seconds."""

    calls: int
    until: float
    wait: float
    places: int


class Instance(BaseModel):
    """One process: when it last asked, the calls it holds and until when, and how many it may run at a time."""

    seen: float
    held: int = 0
    until: float = 0.0
    places: int = 1


class Closed(BaseModel):
    """No call before `until`; since when, and why."""

    until: float
    since: float
    code: str
    reason: str


class Measured(BaseModel):
    """Everybody's calls of the day as Marketo told them, and our own count then. `total` is None before the first."""

    at: float
    total: int | None = None
    taken: int = 0


class DayUse(BaseModel):
    """What is known of one day: calls, since when they are counted, and the day's closing and measuring."""

    used: int = 0
    began: float = 0.0
    closed: Closed | None = None
    measured: Measured


class Ledger(BaseModel):
    """The row budget|marketo. `recent`: how many calls were made when, of the last 20 seconds.

    `day` is the day of whoever has written it; `other_days` are what instances with other clocks count in.
    """

    day: date
    used: int = 0
    began: float = 0.0
    recent: list[tuple[float, int]] = Field(default_factory=list)
    instances: dict[str, Instance] = Field(default_factory=dict)
    held_back_until: float = 0.0
    closed: Closed | None = None
    measured: Measured
    measuring_until: float = 0.0
    other_days: dict[date, DayUse] = Field(default_factory=dict)
    _ignored: set[str] = PrivateAttr(default_factory=set)

    @property
    def ignored(self) -> frozenset[str]:
        """What the last look has ignored, for its time is far ahead."""
        return frozenset(self._ignored)

    @property
    def taken(self) -> int:
        """Calls of the day that are made or held."""
        return self.used + sum(instance.held for instance in self.instances.values())

    def report(self, instance_id: str, made: Collection[float]) -> None:
        """This instance has made these calls, and holds none any more."""
        today = day_on(self.day)
        self.used += sum(today.start.timestamp() <= at < today.end.timestamp() for at in made)
        self._remember(made)
        if instance_id in self.instances:
            self.instances[instance_id].held = 0

    def reserve(self, instance_id: str, wanted: int, running: int, limits: Limits, now: float) -> Grant:
        """Up to `wanted` calls for an instance that runs so many now: fewer when others or the limits need it.

        Closes the ledger when the share is used up.
        """
        others = [instance for name, instance in self.instances.items() if name != instance_id]
        places = min(limits.concurrency // (len(others) + 1), limits.concurrency - sum(o.places for o in others))
        mine = Instance(seen=now, places=max(1, places))
        left = limits.allowed - self.taken
        if self.closed and self.closed.code == SHARE_SPENT and left > 0 and (self.measured.total or 0) < limits.daily:
            self.closed = None  # the settings allow more now, or calls that were held came back
        if left <= 0 and not self.closed:
            self.close_share(limits, now)
        free = self._free(limits, now)
        if free > 0 and not self.closed:
            mine.held = min(wanted, left, max(1, free // (2 * len(others) + 1)))
            mine.until = now + HOLD_SECONDS
        grant = Grant(mine.held, mine.until, 0.0 if mine.held else self._wait(now), mine.places)
        # Until the calls that run beyond its new part have ended, the places are not free for others.
        self.instances[instance_id] = mine.model_copy(update={"places": max(mine.places, running)})
        return grant

    def one(self, limits: Limits, now: float) -> Grant:
        """One call for somebody who is no instance of the app and whom the share does not bind; it counts as made."""
        if self._free(limits, now) <= 0:
            return Grant(0, now, self._wait(now), limits.concurrency)
        self.report("", [now])
        return Grant(1, now + HOLD_SECONDS, 0.0, limits.concurrency)

    def close(self, code: str, reason: str, now: float, *, doubtful: bool = False) -> Closed:
        """Let nobody call before the next day; `doubtful`: early in the day, only for a while."""
        today = day_on(self.day)
        until = today.end.timestamp()
        if doubtful and now - today.start.timestamp() < EARLY_SECONDS:
            until = now + EARLY_WAIT_SECONDS
        since = self.closed.since if self.closed else now
        self.closed = Closed(until=until, since=since, code=code, reason=reason)
        return self.closed

    def close_quota(self, now: float) -> Closed:
        """Marketo has answered 607."""
        return self.close(QUOTA_SPENT, "Marketo refuses every further call today", now, doubtful=True)

    def close_share(self, limits: Limits, now: float) -> Closed:
        """Our share of the day is used up."""
        reason = f"this app's share of the day, {limits.allowed:,} of {limits.daily:,} calls, is used up"
        return self.close(SHARE_SPENT, reason, now)

    def hold_back(self, until: float) -> None:
        """Grant nothing before `until`."""
        self.held_back_until = max(self.held_back_until, until)

    def claim_measuring(self, limits: Limits, now: float) -> bool:
        """Whether everybody's use is to be measured now, and by the caller."""
        at_the_end = limits.allowed - MEASURE_BEFORE_END
        due = (
            self.taken - self.measured.taken >= MEASURE_CALLS
            or now - self.measured.at >= MEASURE_SECONDS
            or self.measured.taken < at_the_end <= self.taken
        )
        if not due or now < self.measuring_until:
            return False
        self.measuring_until = now + MEASURING_SECONDS
        return True

    def measure(self, total: int, limits: Limits, now: float) -> None:
        """Everybody together has made `total` calls today."""
        self.measured = Measured(at=now, total=total, taken=self.taken)
        self.measuring_until = 0.0
        if total >= limits.daily:
            reason = (
                f"all that call this Marketo have used {total:,} of its {limits.daily:,} calls (MARKETO_DAILY_CALLS)"
            )
            self.close(SHARE_SPENT, reason, now, doubtful=True)

    def at(self, now: float) -> Ledger:
        """A copy as it is at this moment: without what is over, and of the day that it is then."""
        ledger = self.model_copy(deep=True)
        ledger._tidy(now)
        return ledger

    def _free(self, limits: Limits, now: float) -> int:
        """Calls that may begin now without more than the limit in any 20 seconds."""
        return 0 if now < self.held_back_until else limits.calls - sum(count for _, count in self._window(now))

    def _wait(self, now: float) -> float:
        first = min((end for end, _ in self._window(now)), default=now)
        return max(first, self.held_back_until, now + GRAIN / 10) - now

    def _window(self, now: float) -> list[tuple[float, int]]:
        """What fills the running window: (when it leaves it, how many calls)."""
        held = [(instance.until, instance.held) for instance in self.instances.values() if instance.held]
        ends = [(at + WINDOW_SECONDS, count) for at, count in [*self.recent, *held]]
        return [(end, count) for end, count in ends if end > now]

    def _remember(self, made: Collection[float]) -> None:
        counts = dict(self.recent)
        for at in made:
            grain = math.ceil(at / GRAIN) * GRAIN
            counts[grain] = counts.get(grain, 0) + 1
        self.recent = sorted(counts.items())

    def _tidy(self, now: float) -> None:
        """Forget what counts no more. What an instance held that is gone was made, for all we know."""
        self._turn_to(day_of(datetime.fromtimestamp(now, UTC)).date, now)
        self._ignore_the_future(now)
        for name, instance in list(self.instances.items()):
            if instance.seen + GONE_SECONDS <= now:
                self.used += instance.held
                del self.instances[name]
        self.recent = [(at, count) for at, count in self.recent if at + WINDOW_SECONDS > now]
        if self.closed and self.closed.until <= now:
            self.closed = None

    def _turn_to(self, today: date, now: float) -> None:
        """Count in this day; what is known of the other one stays for those who count in it."""
        if today == self.day:
            return
        days = {**self.other_days, self.day: DayUse(**{name: getattr(self, name) for name in DayUse.model_fields})}
        use = days.pop(today, None)
        if use is None or use.began > now + AHEAD_SECONDS:  # counted before that day has begun
            use = DayUse(began=now, measured=Measured(at=now))
        self.day = today
        for name in DayUse.model_fields:
            setattr(self, name, getattr(use, name))
        nearest = sorted(days, key=lambda day: (abs((day - today).days), day))[:OTHER_DAYS]
        self.other_days = {day: days[day] for day in sorted(nearest)}

    def _ignore_the_future(self, now: float) -> None:
        """Stamps that are far ahead were made by a wrong clock, and so were those that nobody else would have made."""
        far = now + AHEAD_SECONDS
        self._ignored = {f"instance {name}" for name, instance in self.instances.items() if instance.seen > far}
        for name in [name for name, instance in self.instances.items() if instance.seen > far]:
            self.used += self.instances.pop(name).held
        for instance in self.instances.values():
            if instance.until > now + WINDOW_SECONDS:
                self.used, instance.held = self.used + instance.held, 0
        if self.closed and self.closed.since > far:
            self._ignored.add("closing")
            self.closed = None
        if self.measured.at > far:
            self._ignored.add("measuring")
            self.measured = Measured(at=now, taken=self.taken)
        self.recent = [(at, count) for at, count in self.recent if at <= now + WINDOW_SECONDS]
        if self.held_back_until > now + HELD_BACK_SECONDS:
            self.held_back_until = 0.0
        if self.measuring_until > now + MEASURING_SECONDS:
            self.measuring_until = 0.0


def read(value: Mapping[str, Any], now: float) -> Ledger:
    """The ledger as it is now; a new one when there is none, or none that can be understood."""
    fresh = Ledger(day=day_of(datetime.fromtimestamp(now, UTC)).date, began=now, measured=Measured(at=now))
    if not value:
        return fresh
    try:
        ledger = Ledger.model_validate(value)
    except ValidationError as error:
        log.warning("budget_unreadable problems=%d: counting begins anew", error.error_count())
        return fresh
    return ledger.at(now)
