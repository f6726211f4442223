"""Collects the work of a burst, so that calls to Marketo are full; lone changes go at once.

While a burst lasts, each entity's messages become visible together, once in a window, parents before children: with a
window of 20 s, sales persons at 0 s, companies at 4 s, persons at 8 s, opportunities at 12 s, roles at 16 s. So one
window carries a change through all its parents, and every entity has at most one call per window that is not full.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from shared.entities import ENTITIES


class Windows:
    """Knows whether there is a burst, and when an entity's turn comes."""

    def __init__(self, *, burst_batch: int, seconds: float, now: Callable[[], datetime]) -> None:
        self._burst_batch = burst_batch
        self._seconds = seconds
        self._now = now
        self._until = datetime.min.replace(tzinfo=UTC)

    def note(self, waiting: int) -> None:
        """So many notifications came in one batch: enough of them mean that more are waiting."""
        if waiting >= self._burst_batch:
            self._until = self._now() + timedelta(seconds=self._seconds)

    def turn(self, entity: str) -> datetime | None:
        """When a message for this entity should become visible; None: at once."""
        now = self._now()
        if now >= self._until:
            return None
        offset = self._seconds * ENTITIES[entity].tier / len(ENTITIES)
        windows = math.ceil((now.timestamp() - offset) / self._seconds)
        return datetime.fromtimestamp(windows * self._seconds + offset, UTC)
