"""The simulator's time, which a test may move forward, and the time it tells its clients."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime


class Clock:
    """Seconds since the epoch from `base`, plus whatever `advance` has added.

    `offset` is by how many seconds the clock is wrong (negative: it is slow) in what clients are told. Tokens, windows
    and days last as long as ever, because whoever measures a time on one wrong clock measures it right.
    """

    def __init__(self, base: Callable[[], float] = time.time) -> None:
        self.offset = 0.0
        self._base = base
        self._ahead = 0.0

    def __call__(self) -> float:
        """Return the present time."""
        return self._base() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the time forward: windows slide, tokens expire, days end.

        Raises:
            ValueError: `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError("time does not go back; the switch clock_offset makes the clock slow")
        self._ahead += seconds

    def stamp(self) -> str:
        """Return the present moment as Marketo writes it: UTC, whole seconds."""
        return self._told().strftime("%Y-%m-%dT%H:%M:%SZ")

    def http_date(self, ahead: float = 0.0) -> str:
        """Return the present moment, or one so many seconds ahead, as HTTP writes it."""
        return format_datetime(self._told() + timedelta(seconds=ahead), usegmt=True)

    def meant(self, told: datetime) -> float:
        """Return the time at which clients are told `told`."""
        return told.timestamp() - self.offset

    def _told(self) -> datetime:
        return datetime.fromtimestamp(self() + self.offset, UTC)
