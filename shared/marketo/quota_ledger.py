"""What all instances know about the use of Marketo: one value, and the operations on it.

Pure: storage, clocks and waiting belong to quota.py. Times are seconds since the epoch, as instances compare them. A
call that an instance holds counts as made until the instance reports.

An instance's clock may be wrong until storage has first answered (model/clock.py). So each instance counts in the day
that it takes for today and leaves other days alone, and anything stamped more than an hour ahead is ignored and logged.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from ..config.settings import MarketoSettings
from ..model.clock import AHEAD
from .day import day_of, day_on
from .usage import QUOTA_SPENT, SHARE_SPENT, Closed, Grant

log = logging.getLogger(__name__)

#: Marketo limits the calls in any span of so many seconds.
WINDOW_SECONDS = 20.0
#: Calls are kept by the half second in which they were made, or the next.
GRAIN = 0.5
#: How long an instance may make the calls that it holds.
HOLD_SECONDS = 5.0
#: An instance that has asked for no calls for so long loses its part of the concurrency.
GONE_SECONDS = 60.0
#: The use by everybody is measured after so many of our calls, after so much time, and before our share is used up.
MEASURE_CALLS = 250
MEASURE_SECONDS = 900.0
MEASURE_BEFORE_END = 20
#: An instance that measures must be done in this time.
MEASURING_SECONDS = 120.0
#: What Marketo says this early in the day may be about the day before: Adobe writes "12:00 AM CST", which in summer is
#: an hour later.
EARLY_SECONDS = 7200.0
EARLY_WAIT_SECONDS = 900.0

#: Times further ahead come from a wrong clock.
AHEAD_SECONDS = AHEAD.total_seconds()
#: Days kept besides the present one, of instances whose clocks differ.
OTHER_DAYS = 3
#: The longest time that nothing is granted after a 606.
HELD_BACK_SECONDS = 900.0


class Instance(BaseModel):
    """One process: when it last asked, the calls it holds and until when, and how many it may make at a time."""

    seen: float
    held: int = 0
    until: float = 0.0
    places: int = 1


class Measured(BaseModel):
    """Everybody's calls today as Marketo reported them, and our own count then. `total` is None before the first."""

    at: float
    total: int | None = None
    taken: int = 0


class DayUse(BaseModel):
    """One day: the calls, since when they are counted, whether it is closed, and what was measured.

    `runs`: how many of the calls were made for the records of runs; a call may be so in part.
    """

    used: int = 0
    runs: float = 0.0
    began: float = 0.0
    closed: Closed | None = None
    measured: Measured


class Ledger(DayUse):
    """The row budget|marketo. `recent`: how many calls were made when, of the last 20 seconds.

    `day` is the day of the instance that wrote it; instances with other clocks count in `other_days`. `ignored`: what
    the last read has ignored because its time is far ahead.
    """

    day: date
    recent: list[tuple[float, int]] = Field(default_factory=list)
    instances: dict[str, Instance] = Field(default_factory=dict)
    held_back_until: float = 0.0
    measuring_until: float = 0.0
    other_days: dict[date, DayUse] = Field(default_factory=dict)
    ignored: set[str] = Field(default_factory=set, exclude=True)

    @property
    def taken(self) -> int:
        """Calls of the day that are made or held."""
        return self.used + sum(instance.held for instance in self.instances.values())

    def report(self, instance_id: str, made: Collection[float], of_runs: float = 0.0) -> None:
        """This instance has made these calls, and holds no others. `of_runs`: how many of its calls were for runs."""
        self.runs += of_runs
        today = day_on(self.day)
        self.used += sum(today.start.timestamp() <= at < today.end.timestamp() for at in made)
        recent = Counter(dict(self.recent))
        recent.update(math.ceil(at / GRAIN) * GRAIN for at in made)
        self.recent = sorted(recent.items())
        if instance_id in self.instances:
            self.instances[instance_id].held = 0

    def reserve(self, instance_id: str, wanted: int, running: int, limits: MarketoSettings, now: float) -> Grant:
        """Up to `wanted` calls for an instance with `running` calls: fewer if the limits or other instances need it.

        Closes the ledger when the share is used up.
        """
        others = [instance for name, instance in self.instances.items() if name != instance_id]
        places = min(limits.concurrency // (len(others) + 1), limits.concurrency - sum(o.places for o in others))
        mine = Instance(seen=now, places=max(1, places))
        left = limits.allowed - self.taken
        total = self.measured.total or 0
        if self.closed and self.closed.code == SHARE_SPENT and left > 0 and total < limits.daily_calls:
            self.closed = None  # the settings allow more now, or held calls were given back
        if left <= 0 and not self.closed:
            self.close_share(limits, now)
        free = self._free(limits, now)
        if free > 0 and not self.closed:
            mine.held = min(wanted, left, max(1, free // (2 * len(others) + 1)))
            mine.until = now + HOLD_SECONDS
        wait = 0.0 if mine.held else self._wait(now)
        # Until its calls beyond its new part have ended, others may not use those places.
        self.instances[instance_id] = mine.model_copy(update={"places": max(mine.places, running)})
        return Grant(mine.held, mine.until, wait, mine.places)

    def one(self, limits: MarketoSettings, now: float) -> Grant:
        """One call for an operator, whom the share does not limit; it counts as made."""
        if self._free(limits, now) <= 0:
            return Grant(0, now, self._wait(now), limits.concurrency)
        self.report("", [now])
        return Grant(1, now + HOLD_SECONDS, 0.0, limits.concurrency)

    def close(self, code: str, reason: str, now: float, *, doubtful: bool = False) -> Closed:
        """Allow no call before the next day; if `doubtful`, early in the day, only for a while."""
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

    def close_share(self, limits: MarketoSettings, now: float) -> Closed:
        """Our share of the day is used up."""
        reason = f"this app's share of the day, {limits.allowed:,} of {limits.daily_calls:,} calls, is used up"
        return self.close(SHARE_SPENT, reason, now)

    def hold_back(self, until: float) -> None:
        """Grant nothing before `until`."""
        self.held_back_until = max(self.held_back_until, until)

    def claim_measuring(self, limits: MarketoSettings, now: float) -> bool:
        """Whether the caller is to measure everybody's use now."""
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

    def measure(self, total: int, limits: MarketoSettings, now: float) -> None:
        """Everybody together has made `total` calls today."""
        self.measured = Measured(at=now, total=total, taken=self.taken)
        self.measuring_until = 0.0
        if total >= limits.daily_calls:
            used = f"{total:,} of its {limits.daily_calls:,} calls (MARKETO_DAILY_CALLS)"
            self.close(SHARE_SPENT, f"all that call this Marketo have used {used}", now, doubtful=True)

    def at(self, now: float) -> Ledger:
        """A copy as of this moment: for the day that it is then, without what has expired."""
        ledger = self.model_copy(deep=True)
        ledger._tidy(now)
        return ledger

    def _free(self, limits: MarketoSettings, now: float) -> int:
        """Calls that may begin now within the limit of any 20 seconds."""
        taken = sum(count for _, count in self._window(now))
        return 0 if now < self.held_back_until else limits.calls_per_20_seconds - taken

    def _wait(self, now: float) -> float:
        first = min((end for end, _ in self._window(now)), default=now)
        return max(first, self.held_back_until, now + GRAIN / 10) - now

    def _window(self, now: float) -> list[tuple[float, int]]:
        """What counts in the present window: (when it leaves the window, how many calls)."""
        held = [(instance.until, instance.held) for instance in self.instances.values() if instance.held]
        ends = [(at + WINDOW_SECONDS, count) for at, count in [*self.recent, *held]]
        return [(end, count) for end, count in ends if end > now]

    def _tidy(self, now: float) -> None:
        """Remove what has expired. The calls that a vanished instance held count as made."""
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
        """Count in this day; the numbers of the other day stay for instances that count in it."""
        if today == self.day:
            return
        days = {**self.other_days, self.day: DayUse(**{name: getattr(self, name) for name in DayUse.model_fields})}
        use = days.pop(today, None)
        if use is None or use.began > now + AHEAD_SECONDS:  # counted before that day began
            use = DayUse(began=now, measured=Measured(at=now))
        self.day = today
        for name in DayUse.model_fields:
            setattr(self, name, getattr(use, name))
        nearest = sorted(days, key=lambda day: (abs((day - today).days), day))[:OTHER_DAYS]
        self.other_days = {day: days[day] for day in sorted(nearest)}

    def _ignore_the_future(self, now: float) -> None:
        """Drop times that only a wrong clock can have written."""
        far = now + AHEAD_SECONDS
        ahead = [name for name, instance in self.instances.items() if instance.seen > far]
        self.ignored = {f"instance {name}" for name in ahead}
        for name in ahead:
            self.used += self.instances.pop(name).held
        for instance in self.instances.values():
            if instance.until > now + WINDOW_SECONDS:
                self.used, instance.held = self.used + instance.held, 0
        if self.closed and self.closed.since > far:
            self.ignored.add("closing")
            self.closed = None
        if self.measured.at > far:
            self.ignored.add("measuring")
            self.measured = Measured(at=now, taken=self.taken)
        self.recent = [(at, count) for at, count in self.recent if at <= now + WINDOW_SECONDS]
        if self.held_back_until > now + HELD_BACK_SECONDS:
            self.held_back_until = 0.0
        if self.measuring_until > now + MEASURING_SECONDS:
            self.measuring_until = 0.0


def read(value: Mapping[str, Any], now: float) -> Ledger:
    """The ledger as of now; a new one when there is none, or it cannot be read."""
    fresh = Ledger(day=day_of(datetime.fromtimestamp(now, UTC)).date, began=now, measured=Measured(at=now))
    if not value:
        return fresh
    try:
        ledger = Ledger.model_validate(value)
    except ValidationError as error:
        log.warning("budget_unreadable problems=%d: counting starts again", error.error_count())
        return fresh
    return ledger.at(now)
