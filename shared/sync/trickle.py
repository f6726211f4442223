"""A steady stream of single changes must not eat Marketo's day: above a pace, changes are collected for seconds.

While the day's use is ahead of the pace, changes go at once. Beyond that, the first change of an entity opens a window,
and those that come until its end go with it: in one call instead of many. The more the pace is exceeded, the wider the
window, until the use keeps to the pace. Windows end on a grid of absolute time, so that instances that know nothing of
each other mostly let go at the same moment, parents a little before their children.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ..model.entities import ENTITIES

DAY_SECONDS = 86_400.0
#: How far the use may be ahead of the pace, in parts of the day's calls, before changes are collected.
DEAD_ZONE = 0.002
#: With each further such part the window grows by the time that the pace takes for one call: slowly, so that a costly
#: hour, such as the first one after a start, widens it little. A steady stream ends its day ahead of the pace by some
#: of these steps: were they larger, that would exceed a fifth of the day.
STEP = 0.004
#: How often the use is looked at.
LOOK_SECONDS = 5.0
#: Whose windows are wider: they are the fewest, and of least use alone.
WIDER = {"opportunity_role": 2.0}
#: Windows end at multiples of this, or of their own width where that is less.
GRID_SECONDS = 2.0


class Usage(Protocol):
    """What the budget tells: this app's calls of the day, and the fraction of Marketo's day that is over."""

    @property
    def used_today(self) -> int:
        """Calls of all instances since midnight US Central."""

    @property
    def elapsed(self) -> float:
        """0 to 1."""


class Trickle:
    """The windows of this process."""

    def __init__(
        self,
        usage: Callable[[], Awaitable[Usage]],
        *,
        daily_calls: int,
        share: float,
        longest: float,
        now: Callable[[], datetime],
    ) -> None:
        """`share` of the `daily_calls` is the pace; `longest` window in seconds. `usage` is asked before each batch."""
        self._usage = usage
        self._pace = share * daily_calls
        self._dead_zone = DEAD_ZONE * daily_calls
        self._step = STEP * daily_calls
        self._longest = longest
        self._now = now
        self._width = 0.0
        self._looked = datetime.min.replace(tzinfo=UTC)
        self._ends: dict[str, datetime] = {}

    @property
    def width(self) -> float:
        """The present width of a window in seconds; 0: changes go at once."""
        return self._width

    async def adapt(self) -> None:
        """Let the width follow the use of the day."""
        if self._now() - self._looked < timedelta(seconds=LOOK_SECONDS):
            return
        self._looked = self._now()
        usage = await self._usage()
        over = usage.used_today - self._pace * usage.elapsed
        steps = (over - self._dead_zone) / self._step
        self._width = min(self._longest, max(0.0, steps * DAY_SECONDS / self._pace))

    def end(self, entity: str) -> datetime | None:
        """When the entity's window ends, which a change opens if there is none. None: at once."""
        now = self._now()
        end = self._ends.get(entity)
        if end and end > now:
            return end
        if not self._width:
            return None
        width = min(self._longest, self._width * WIDER.get(entity, 1.0))
        grid = min(GRID_SECONDS, width)
        offset = grid * ENTITIES[entity].tier / len(ENTITIES)
        last = now.timestamp() + width - offset
        self._ends[entity] = datetime.fromtimestamp(math.floor(last / grid) * grid, UTC) + timedelta(seconds=offset)
        return self._ends[entity]
