"""Marketo's three call budgets: the rate, the concurrency and the day."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from emulators.marketo.errors import CallError

WINDOW_SECONDS = 20.0
_CENTRAL = ZoneInfo("America/Chicago")


@dataclass(frozen=True, slots=True)
class Slot:
    """One executing call: when it was admitted and the day it was booked on."""

    at: float
    day: date


class Limits:
    """Admits calls and refuses those over a limit.

    Refused calls count as calls too, because 606, 607 and 615 carry no asterisk in Adobe's table: whoever keeps
    hammering stays locked out.
    """

    def __init__(self, clock: Callable[[], float], *, calls_per_window: int, concurrency: int, daily: int) -> None:
        self._clock = clock
        self.calls_per_window = calls_per_window
        self.concurrency = concurrency
        self.daily = daily
        self._recent: deque[float] = deque()
        self._by_day: dict[date, int] = {}
        self.executing = 0
        self.peak_executing = 0
        self.peak_in_window = 0

    def today(self) -> date:
        """Return the quota day: it ends at midnight US Central time."""
        return datetime.fromtimestamp(self._clock(), _CENTRAL).date()

    def admit(self) -> Slot:
        """Book one call, and occupy one of the concurrent places until `release`.

        Raises:
            CallError: 607, 606 or 615; the call is booked all the same, but occupies no place.
        """
        slot = self._book()
        self.peak_executing = max(self.peak_executing, self.executing + 1)
        if self._by_day[slot.day] > self.daily:
            raise CallError("607")
        if len(self._recent) > self.calls_per_window:
            limit = self.calls_per_window
            raise CallError("606", f"Max rate limit '{limit}' exceeded with in '{WINDOW_SECONDS:.0f}' secs")
        if self.executing >= self.concurrency:
            raise CallError("615")
        self.executing += 1
        return slot

    def release(self, slot: Slot, *, counted: bool) -> None:
        """Free the place of a finished call; take the call back where its result code is not counted."""
        self.executing -= 1
        if not counted:
            # The count may have been set anew while the call executed.
            self._by_day[slot.day] = max(0, self._by_day.get(slot.day, 0) - 1)
            if slot.at in self._recent:
                self._recent.remove(slot.at)

    def used_today(self) -> int:
        """Return the calls booked on the present quota day."""
        return self._by_day.get(self.today(), 0)

    def use_today(self, calls: int) -> None:
        """Set how many calls of the present quota day are used up.

        Raises:
            ValueError: `calls` is negative.
        """
        if calls < 0:
            raise ValueError(f"{calls} calls cannot be used up")
        self._by_day[self.today()] = calls

    def used_by_day(self) -> dict[date, int]:
        """Return the calls of every day seen, oldest first."""
        return dict(sorted(self._by_day.items()))

    def reset(self) -> None:
        """Forget all booked calls; calls in flight keep their places."""
        self._recent.clear()
        self._by_day.clear()
        self.peak_executing = self.peak_in_window = 0

    def _book(self) -> Slot:
        now = self._clock()
        while self._recent and self._recent[0] <= now - WINDOW_SECONDS:
            self._recent.popleft()
        self._recent.append(now)
        self.peak_in_window = max(self.peak_in_window, len(self._recent))
        day = self.today()
        self._by_day[day] = self._by_day.get(day, 0) + 1
        return Slot(now, day)
