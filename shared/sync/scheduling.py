"""When a record comes again, and when what follows from a change is synced. There are four reasons to wait:

* Back-off: a counted try waits longer than the last one, a little spread. Other waits are as the outcome says.
* Soon: what waits for the rest of this turn comes at once, after the messages that are visible already.
* Bursts: while one lasts, each entity has its turn in each cycle, parents before children: of 20 s, sales persons at 0
  s, companies at 4 s, and so on. What is routed during a cycle waits for the turns of the next one.
* Trickle: while the day's use is ahead of the pace, changes go at once. Beyond that, the first change of an entity
  opens a window, and those that come until its end go with it in one call. The more the pace is exceeded, the wider the
  window. Windows end on a grid of absolute time, so that instances mostly let go at the same moment.

Only route_changes sees that there is a burst, so its end travels with the messages: an invocation is in a burst while
one of its messages says so, and what it sends says so too. A full batch of such messages prolongs the burst.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta

from ..marketo.usage import Usage
from ..model.entities import ENTITIES
from ..model.outcome import Later, Outcome, Retry
from ..model.record import Record

#: Seconds between counted tries. A first try that may well succeed in a moment is sooner than that.
BACKOFF = (60, 120, 300, 900, 3600)
#: A counted wait is longer by up to this part, so that what failed together does not come together every time.
JITTER = 0.1
#: A burst lasts so long after its last full batch: one cycle for what was routed, one for what waited for its parents.
BURST_CYCLES = 2
DAY_SECONDS = 86_400.0
#: How far the use may be ahead of the pace, in parts of the day's calls, before changes are collected.
DEAD_ZONE = 0.002
#: So many calls beyond the dead zone, as a part of the day's calls, make a window as wide as the pace takes for one
#: call. The width grows with the cube root: eight times as many calls make it twice as wide. So a few calls too many
#: soon collect changes, but a costly hour, such as the first one after a start, widens the windows of the next hours
#: little. A steady stream ends its day ahead of the pace by as many calls as its windows need: if this part were
#: larger, that would exceed a fifth of the day.
STEP = 0.00042
#: How often the use is looked at.
LOOK_SECONDS = 5.0
#: Whose windows are wider: they are the fewest, and of least use alone.
WIDER = {"opportunity_role": 2.0}
#: Seconds: what may wait longer than a change waits for the next multiple of this, for all of its kind.
UNHURRIED_SECONDS = 600.0
#: Windows end at multiples of this, or of their own width where that is less.
GRID_SECONDS = 1.0


@dataclass
class Trickle:
    """The windows of this process: `share` of the `daily_calls` is the pace, `longest` a window in seconds.

    `usage` is asked before each batch. `width`: the present one of a window in seconds; 0: changes go at once.
    """

    usage: Callable[[], Awaitable[Usage]]
    _: KW_ONLY
    daily_calls: int
    share: float
    longest: float
    now: Callable[[], datetime]
    width: float = field(default=0.0, init=False)
    _looked: datetime = field(default=datetime.min.replace(tzinfo=UTC), init=False)
    _ends: dict[str, datetime] = field(default_factory=dict, init=False)

    async def adapt(self) -> None:
        """Let the width follow the use of the day."""
        if self.now() - self._looked < timedelta(seconds=LOOK_SECONDS):
            return
        self._looked = self.now()
        usage = await self.usage()
        pace = self.share * self.daily_calls
        used = usage.used_today - usage.used_by_runs
        steps = (used - pace * usage.elapsed - DEAD_ZONE * self.daily_calls) / (STEP * self.daily_calls)
        self.width = min(self.longest, math.cbrt(max(0.0, steps)) * DAY_SECONDS / pace)

    def end(self, entity: str) -> datetime | None:
        """When the entity's window ends, which a change opens if there is none. None: at once."""
        now = self.now()
        end = self._ends.get(entity)
        if end and end > now:
            return end
        if not self.width:
            return None
        width = min(self.longest, self.width * WIDER.get(entity, 1.0))
        grid = min(GRID_SECONDS, width)
        offset = grid * ENTITIES[entity].tier / len(ENTITIES)
        last = now.timestamp() + width - offset
        self._ends[entity] = datetime.fromtimestamp(math.floor(last / grid) * grid, UTC) + timedelta(seconds=offset)
        return self._ends[entity]


@dataclass(frozen=True, slots=True)
class Windows:
    """When the work of one invocation goes on: at once, or until the end of a burst in its entity's turn.

    `seconds`: the length of a cycle. `trickle`: collects changes outside of bursts. `more`: further messages of the
    burst are waiting already.
    """

    until: datetime | None = None
    seconds: float = 20.0
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
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

    def unhurried(self, entity: str) -> datetime | None:
        """When work is due that may wait longer than the entity's changes, while these are collected, and follows them.

        Opens the entity's window if there is none. None: as changes are.
        """
        end = self.trickle.end(entity) if self.trickle else None
        return self.together(UNHURRIED_SECONDS, end) if end else None

    def together(self, seconds: float, after: datetime | None = None) -> datetime | None:
        """The next multiple of so many seconds after now, or after `after`: the same moment for all instances.

        None in a burst, whose cycles collect the work.
        """
        multiple = math.floor((after or self.now()).timestamp() / seconds) + 1
        return None if self.is_burst else datetime.fromtimestamp(multiple * seconds, UTC)

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


@dataclass(kw_only=True)
class Bursts:
    """Notices bursts, for the invocations of route_changes, and recognises them in messages, for those that sync.

    `burst_batch`: so many notifications in one batch mean that more are waiting.
    """

    burst_batch: int
    seconds: float
    now: Callable[[], datetime]
    trickle: Trickle | None = None
    _until: datetime | None = field(default=None, init=False)

    async def adapt(self) -> None:
        """Look how much of Marketo's day is used: before changes are routed."""
        if self.trickle:
            await self.trickle.adapt()

    def noticed(self, waiting: int) -> Windows:
        """So many notifications came in one batch: when what follows from them is synced."""
        if waiting >= self.burst_batch:
            self._until = self._farthest()
        return Windows(self._until, self.seconds, self.now, self.trickle)

    def carried(self, untils: Sequence[datetime | None]) -> Windows:
        """The windows of an invocation whose messages, one by one, carry these ends of bursts.

        None lasts longer than it could if it was noticed now, whatever the clock of who noticed it.
        """
        latest = max((until for until in untils if until), default=None)
        if latest is None:
            return Windows(None, self.seconds, self.now)
        more = len(untils) >= self.burst_batch
        until = self._farthest() if more else min(latest, self._farthest())
        return Windows(until, self.seconds, self.now, more=more)

    def _farthest(self) -> datetime:
        return self.now() + BURST_CYCLES * timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class Again:
    """When a record comes again: in `after` seconds (0: at once), or in the next `cycle` of a burst.

    `spread`: up to JITTER later.
    """

    after: float = 0.0
    spread: bool = False
    cycle: bool = False

    def at(self, entity: str, windows: Windows, now: datetime, chance: Callable[[], float]) -> datetime | None:
        """The moment; None: at once. `chance`: from 0 to 1."""
        if self.cycle:
            return windows.next_cycle(entity)
        seconds = self.after * (1 + self.spread * JITTER * chance())
        return now + timedelta(seconds=seconds) if seconds else None


def comes_again(record: Record, outcome: Outcome) -> Again | None:
    """When a record with this outcome comes again as a message; None: it does not."""
    match outcome:
        case Later():
            return Again(outcome.after) if outcome.after else Again(cycle=not outcome.soon)
        case Retry():
            return Again(_wait(record, outcome), spread=outcome.counted)
        case _:
            return None


def _wait(record: Record, outcome: Retry) -> float:
    sooner = outcome.after < BACKOFF[0]
    if not outcome.counted or (sooner and record.attempt == 0):
        return outcome.after
    return max(outcome.after, BACKOFF[min(record.attempt - sooner, len(BACKOFF) - 1)])
