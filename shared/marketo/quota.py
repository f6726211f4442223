"""The use of Marketo's limits, shared by all instances of the app through one row of the state (budget|marketo).

Calls are reserved in small blocks, so storage is asked once for several of them. When this app's share of the daily
quota, or the quota itself, is used up, the budget is closed until Marketo's next day: calls are refused here, without
asking Marketo. While storage is away, this process continues with its own pacing (shared/marketo/limiter.py) and with
what it knew last; its calls are reported later.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ..azure.errors import storage_within
from ..azure.shared_state import State
from ..config.settings import MarketoSettings
from ..model.codes import Kind
from ..model.errors import MarketoError, StorageUnavailableError, cause_of
from . import quota_ledger as ledgers
from .day import day_of, day_on
from .quota_ledger import Ledger
from .usage import Closed, Grant, Usage

log = logging.getLogger(__name__)

#: The row of shared/azure/shared_state.py.
ROW = ("budget", "marketo")
#: Calls in the first block and in the largest; after a block that was used up, the next is twice as large.
FIRST_BLOCK = 2
LARGEST_BLOCK = 10
#: Storage that has not answered in this time is away; it is tried again after the other.
STORAGE_SECONDS = 3.0
STORAGE_RETRY_SECONDS = 10.0
WARN_SECONDS = 60.0
#: How old the shared values may be that `refresh` gives.
REFRESH_SECONDS = 10.0
#: Refused callers come back spread over so many seconds after the budget opens.
JITTER_SECONDS = 60.0
SHORTEST_WAIT = 0.05


@dataclass
class Budget:
    """One process's part in the shared budget.

    An `operator`'s calls are counted like any others, but they are never refused and take no concurrency away: whoever
    investigates a closed budget must be able to call.
    """

    state: State
    limits: MarketoSettings
    _: KW_ONLY
    instance_id: str
    now: Callable[[], datetime]
    operator: bool = False
    _ledger: Ledger = field(init=False)
    _grant: Grant = field(default=Grant(0, 0.0, 0.0, 1), init=False)  # until the number of other instances is known
    _used_of_block: int = field(default=0, init=False)
    _made: list[float] = field(default_factory=list, init=False)  # calls not yet reported to the others
    _of_runs: float = field(default=0.0, init=False)  # how many of our calls were a run's, not yet reported
    _must_measure: bool = field(default=False, init=False)
    _read_at: float = field(default=0.0, init=False)
    _away_until: float = field(default=0.0, init=False)
    _warned_at: float = field(default=0.0, init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        self._ledger = ledgers.read({}, self._time())

    # -- for the pacer and the client ---------------------------------------------------------------------------

    @property
    def places(self) -> int:
        """How many calls this process may make at a time."""
        return self._grant.places

    async def take(self, running: int) -> float:
        """Take one call, while `running` others run: 0.0, or the seconds after which to ask again.

        Raises MarketoError of the kind DAILY while the budget is closed.
        """
        async with self._lock:
            self._refuse_when_closed()
            if self._takes_from_block():
                return 0.0
            if not await self._reserve(running):
                return self._take_alone()
            self._refuse_when_closed()
            return 0.0 if self._takes_from_block() else max(self._grant.wait, SHORTEST_WAIT)

    def must_measure(self) -> bool:
        """Whether the caller must ask Marketo for everybody's use now; true once each time it is due."""
        due, self._must_measure = self._must_measure, False
        return due

    async def measured(self, total: int) -> None:
        """Marketo has reported how many calls everybody has made today."""
        await self._share(lambda ledger, now: ledger.measure(total, self.limits, now))

    async def exhausted(self) -> MarketoError:
        """Marketo has answered 607: close for all instances. Gives the error to raise."""
        await self._share(lambda ledger, now: ledger.close_quota(now))
        return self._refusal(self._ledger.closed or self._ledger.close_quota(self._time()))

    async def hold_back(self, seconds: float) -> None:
        """Let no instance reserve calls for so long: Marketo has answered 606."""
        await self._share(lambda ledger, now: ledger.hold_back(now + min(seconds, ledgers.HELD_BACK_SECONDS)))

    def charge_run(self, calls: float) -> None:
        """So many of the calls that this process has made were for a run. The others hear of it with the next block."""
        self._of_runs += calls

    # -- for everybody else -------------------------------------------------------------------------------------

    @property
    def usage(self) -> Usage:
        """What is known in this process now."""
        now = self.now()
        ledger = self._ledger.at(now.timestamp())
        measured = ledger.measured
        return Usage(
            used_today=self._used_today(ledger),
            allowed_today=self.limits.allowed,
            elapsed=day_of(now).elapsed(now),
            closed=ledger.closed,
            everybody=measured.total,
            measured_at=_moment(measured.at) if measured.total is not None else None,
            as_of=_moment(self._read_at) if self._read_at else None,
            used_by_runs=ledger.runs + self._of_runs,
        )

    async def refresh(self) -> Usage:
        """The usage, shared values being at most ten seconds old. Storage may be away: see `as_of`."""
        async with self._lock:
            if self._time() - self._read_at >= REFRESH_SECONDS:
                await self._give_back()
        return self.usage

    # -- the shared row -----------------------------------------------------------------------------------------

    async def _reserve(self, running: int) -> bool:
        """Reserve the next block. False: storage is away."""
        wanted = self._next_block()
        grant, measures = self._grant, False

        def reserve(ledger: Ledger, now: float) -> bool:
            nonlocal grant, measures
            ledger.report(self.instance_id, self._made, self._of_runs)
            if self.operator:
                grant = ledger.one(self.limits, now)
            else:
                grant = ledger.reserve(self.instance_id, wanted, running, self.limits, now)
                measures = grant.calls > 0 and ledger.claim_measuring(self.limits, now)
            return grant.calls > 0 or bool(self._made or self._of_runs) or ledger.closed is not None

        if not await self._change(reserve):
            return False
        self._hold(grant)
        self._must_measure |= measures
        return True

    async def _give_back(self) -> None:
        """Read the row. Once a block is over, report the calls made and give back the rest."""
        unreported = bool(self._made or self._of_runs or self._grant.calls)
        is_over = self._time() >= self._grant.until and unreported

        def give_back(ledger: Ledger, _: float) -> bool:
            if is_over:
                ledger.report(self.instance_id, self._made, self._of_runs)
            return is_over

        if await self._change(give_back) and is_over:
            self._hold(replace(self._grant, calls=0))

    async def _share(self, edit: Callable[[Ledger, float], object]) -> None:
        """Change the row for all instances, or only this process's ledger while storage is away."""
        async with self._lock:
            if not await self._change(edit):
                now = self._time()
                ledger = self._ledger.at(now)
                edit(ledger, now)
                self._learn(ledger)

    async def _change(self, edit: Callable[[Ledger, float], object]) -> bool:
        """Let `edit` change the newest ledger, unless it gives False; perhaps several times. False: storage is away."""
        if self._time() < self._away_until:
            return False
        ledger = self._ledger

        def change(value: dict[str, Any]) -> dict[str, Any] | None:
            nonlocal ledger
            now = self._time()
            ledger = ledgers.read(value, now)
            return None if edit(ledger, now) is False else ledger.model_dump(mode="json")

        others = self._ledger.instances.keys() - {self.instance_id}
        try:
            async with storage_within(STORAGE_SECONDS):
                await self.state.change(*ROW, change, alone=not others)
        except (StorageUnavailableError, ValueError) as error:  # ValueError: a connection string that is none
            self._away_until = self._time() + STORAGE_RETRY_SECONDS
            if self._time() - self._warned_at >= WARN_SECONDS:
                self._warned_at = self._time()
                log.warning("budget_not_shared storage does not answer error=%s", cause_of(error))
            return False
        self._read_at = self._time()
        if ledger.ignored and self._time() - self._warned_at >= WARN_SECONDS:
            self._warned_at = self._time()
            log.error("budget_ahead ignored=%s: an instance's clock is wrong", ", ".join(sorted(ledger.ignored)))
        self._learn(ledger)
        return True

    def _learn(self, ledger: Ledger) -> None:
        before, self._ledger = self._ledger.closed, ledger
        closed = ledger.closed
        if closed and (before is None or before.code != closed.code):
            log.warning("budget_closed code=%s until=%s: %s", closed.code, closed.opens, closed.reason)

    # -- this process -------------------------------------------------------------------------------------------

    def _hold(self, grant: Grant) -> None:
        """Start a new block; the calls made before have been reported."""
        self._made.clear()
        self._of_runs = 0.0
        self._grant, self._used_of_block = grant, 0

    def _takes_from_block(self) -> bool:
        now = self._time()
        if self._used_of_block >= self._grant.calls or now >= self._grant.until:
            return False
        self._used_of_block += 1
        if not self.operator:  # an operator's call is reported before it is made: the process may end with it
            self._made.append(now)
        return True

    def _take_alone(self) -> float:
        """Without storage, this process's pacing limits the rate, and its own count the day."""
        now = self._time()
        ledger = self._ledger.at(now)
        if self._used_today(ledger) >= self.limits.allowed and not self.operator:
            closed = ledger.close_share(self.limits, now)
            self._learn(ledger)
            raise self._refusal(closed)
        self._made.append(now)
        if not self._read_at:  # other instances were never seen
            self._grant = replace(self._grant, places=self.limits.concurrency)
        return 0.0

    def _next_block(self) -> int:
        if not self._grant.calls:
            return FIRST_BLOCK
        if self._used_of_block < self._grant.calls:
            return max(1, self._used_of_block)
        return min(LARGEST_BLOCK, 2 * self._grant.calls)

    def _used_today(self, ledger: Ledger) -> int:
        """Calls of the day: those reported, those that others hold, and our own that are not reported yet."""
        mine = ledger.instances.get(self.instance_id)
        start = day_on(ledger.day).start.timestamp()
        return ledger.taken - (mine.held if mine else 0) + sum(at >= start for at in self._made)

    def _refuse_when_closed(self) -> None:
        closed = self._ledger.closed
        if closed and self._time() < closed.until and not self.operator:
            raise self._refusal(closed)

    def _refusal(self, closed: Closed) -> MarketoError:
        wait = max(0.0, closed.until - self._time()) + random.uniform(0.0, JITTER_SECONDS)  # noqa: S311  (jitter)
        text = f"{closed.reason}; calls resume automatically at {closed.opens:%Y-%m-%d %H:%M} UTC"
        return MarketoError(closed.code, text, kind=Kind.DAILY, retry_after=wait)

    def _time(self) -> float:
        return self.now().timestamp()


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
