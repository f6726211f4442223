"""The simulator's time, which a test may move forward."""

import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """Seconds since the epoch from `base`, plus whatever `advance` has added."""

    def __init__(self, base: Callable[[], float] = time.time) -> None:
        self._base = base
        self._ahead = 0.0

    def __call__(self) -> float:
        """Return the present time."""
        return self._base() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the time forward: windows slide, tokens expire, days end."""
        self._ahead += seconds

    def stamp(self) -> str:
        """Return the present moment as Marketo writes it: UTC, whole seconds."""
        return datetime.fromtimestamp(self(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
