"""Collects the work of a burst, so that calls to Marketo are full; lone changes go at once, or with the trickle.

While a burst lasts, time is cut into cycles, and in each cycle every entity has its turn, parents before children: with
cycles of 20 s, sales persons at 0 s, companies at 4 s, persons at 8 s, opportunities at 12 s, roles at 16 s. What is
routed during a cycle waits for the turns of the next one, so it meets its parents there.

Only route_changes sees that there is a burst. Every function may run in a process of its own, so the end of the burst
travels with the messages: an invocation is in a burst while one of its messages says so, and what it sends says so too.
A full batch of such messages means that more of them are waiting, so it prolongs the burst.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..model.entities import ENTITIES
from .trickle import Trickle

#: A burst lasts so long after its last full batch: one cycle for what was routed, one for what waited for its parents.
BURST_CYCLES = 2


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Windows:
    """When the work of one invocation goes on: at once, or until the end of a burst in its entity's turn.

    `seconds`: the length of a cycle. `trickle`: collects changes outside of bursts. `more`: further messages of the
    burst are waiting already.
    """

    until: datetime | None = None
    seconds: float = 20.0
    now: Callable[[], datetime] = _utc_now
    trickle: Trickle | None = None
    more: bool = False

    @property
    def is_burst(self) -> bool:
        """Whether work is being collected."""
        return self.until is not None and self.now() < self.until

    @property
    def burst(self) -> datetime | None:
        """What the messages of this invocation carry on: the end of the burst, while it lasts."""
        return self.until if self.is_burst else None

    def next_cycle(self, entity: str) -> datetime | None:
        """The entity's turn in the next cycle of a burst, or the end of its window: for changes. None: at once."""
        if self.is_burst:
            return self._turn(entity, self.now())
        return self.trickle.end(entity) if self.trickle else None

    def next_turn(self, entity: str) -> datetime | None:
        """The entity's next turn, perhaps in this cycle: for what other records wait for. None: at once."""
        offset = self._offset(entity)
        return self._turn(entity, self.now() - offset) if self.is_burst else None

    def _turn(self, entity: str, moment: datetime) -> datetime:
        start = math.ceil(moment.timestamp() / self.seconds) * self.seconds
        return datetime.fromtimestamp(start, UTC) + self._offset(entity)

    def _offset(self, entity: str) -> timedelta:
        return timedelta(seconds=self.seconds * ENTITIES[entity].tier / len(ENTITIES))


#: No burst.
AT_ONCE = Windows()


class Bursts:
    """Notices bursts, for the invocations of route_changes, and recognises them in messages, for those that sync."""

    def __init__(
        self, *, burst_batch: int, seconds: float, now: Callable[[], datetime], trickle: Trickle | None = None
    ) -> None:
        """`burst_batch`: so many notifications in one batch mean that more are waiting."""
        self._trickle = trickle
        self._burst_batch = burst_batch
        self._seconds = seconds
        self._now = now
        self._until: datetime | None = None

    async def adapt(self) -> None:
        """Look how much of Marketo's day is used: before changes are routed."""
        if self._trickle:
            await self._trickle.adapt()

    def noticed(self, waiting: int) -> Windows:
        """So many notifications came in one batch: when what follows from them is synced."""
        if waiting >= self._burst_batch:
            self._until = self._longest()
        return Windows(self._until, self._seconds, self._now, self._trickle)

    def carried(self, untils: Sequence[datetime | None]) -> Windows:
        """The windows of an invocation whose messages, one by one, carry these ends of bursts.

        None lasts longer than it could if it was noticed now, whatever the clock of who noticed it.
        """
        latest = max((until for until in untils if until), default=None)
        if latest is None:
            return Windows(None, self._seconds, self._now)
        more = len(untils) >= self._burst_batch
        return Windows(self._longest() if more else min(latest, self._longest()), self._seconds, self._now, more=more)

    def _longest(self) -> datetime:
        return self._now() + BURST_CYCLES * timedelta(seconds=self._seconds)
