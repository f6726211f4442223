"""Clocks that stand still until a test moves them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.support.values import NOON


@dataclass
class Clock:
    """Seconds, as a monotonic clock counts them."""

    now: float = 0.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


@dataclass
class WallClock:
    """The time of day."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def tick(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.now += timedelta(seconds=seconds)
