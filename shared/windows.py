"""Collects the work of a burst, so that calls to Marketo are full; lone changes go at once, or with the trickle.

While a burst lasts, time is cut into cycles, and in each cycle every entity has its turn, parents before children: with
cycles of 20 s, sales persons at 0 s, companies at 4 s, persons at 8 s, opportunities at 12 s, roles at 16 s. What is
routed during a cycle waits for the turns of the next one, so it meets its parents there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from shared.entities import ENTITIES
from shared.trickle import Trickle

#: A burst lasts so long after its last full batch: one cycle for what was routed, one for what waited for its parents.
BURST_CYCLES = 2


class Windows:
    """Knows whether there is a burst, and when an entity's turn comes."""

    def __init__(
        self, *, burst_batch: int, seconds: float, now: Callable[[], datetime], trickle: Trickle | None = None
    ) -> None:
        self._trickle = trickle
        self._burst_batch = burst_batch
        self._seconds = seconds
        self._now = now
        self._until = datetime.min.replace(tzinfo=UTC)

    def note(self, waiting: int) -> None:
        """So many notifications came in one batch: enough of them mean that more are waiting."""
        if waiting >= self._burst_batch:
            self._until = self._now() + BURST_CYCLES * timedelta(seconds=self._seconds)

    @property
    def is_burst(self) -> bool:
        """Whether work is being collected."""
        return self._now() < self._until

    async def adapt(self) -> None:
        """Look how much of Marketo's day is used: before changes are routed."""
        if self._trickle:
            await self._trickle.adapt()

    def next_cycle(self, entity: str) -> datetime | None:
        """The entity's turn in the next cycle of a burst, or the end of its window: for changes. None: at once."""
        if self.is_burst:
            return self._turn(entity, self._now())
        return self._trickle.end(entity) if self._trickle else None

    def next_turn(self, entity: str) -> datetime | None:
        """The entity's next turn, perhaps in this cycle: for what other records wait for. None: at once."""
        offset = self._offset(entity)
        return self._turn(entity, self._now() - offset) if self.is_burst else None

    def _turn(self, entity: str, moment: datetime) -> datetime:
        start = math.ceil(moment.timestamp() / self._seconds) * self._seconds
        return datetime.fromtimestamp(start, UTC) + self._offset(entity)

    def _offset(self, entity: str) -> timedelta:
        return timedelta(seconds=self._seconds * ENTITIES[entity].tier / len(ENTITIES))
