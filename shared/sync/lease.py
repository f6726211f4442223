"""One at a time over all instances: leases in the shared state (`lease`, name), fenced for who sends to Marketo.

A lease is a row that says who has it and for how long. Nobody's wall clock decides: how old the row is, is read from
storage's own clock, and its holder measures the time that is left from before it wrote the row. So a clock that is
wrong, or is set, neither shortens nor prolongs it.

In the ordinary case it costs two requests: it is taken and given back with the etag that this process has seen last.
Should another process have had it meanwhile, the row is read first.

Who sends to Marketo asks `Sending.begin` before each call: a call begins only when the lease outlives it, however long
Marketo works on it. So who takes the lease after a crash knows that no call of the dead holder is at work any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field
from typing import TypeVar

from ..azure.errors import storage_within
from ..azure.shared_state import State
from ..model.errors import NotNowError, StorageUnavailableError
from .in_flight import InFlight

T = TypeVar("T")

log = logging.getLogger(__name__)

#: The kind of the rows of the shared state.
KIND = "lease"
#: How often the row is tried to be written, should others write it at the same moment.
TRIES = 5
#: A request to storage that takes longer counts as one that failed.
STORAGE_SECONDS = 10.0
#: Marketo's own limits of time are the smallest that a call may need: clocks and networks get a tenth more.
MARGIN = 1.1
#: How long a lease outlives the longest call that begins in the moment when it is taken: some seconds and a part of it.
SPARE_SECONDS, SPARE = 5.0, 0.2
#: Who finds the lease taken looks again so often, every so many seconds, before the records are sent again.
LOOKS = 20
LOOK_SECONDS = 0.5
#: The longest time until records come again that found the lease taken: its holder may be done much sooner.
COME_AGAIN_SECONDS = 20.0
STORAGE_AWAY_SECONDS = 60.0


def storage_away() -> NotNowError:
    """Without storage nobody knows who else sends."""
    return NotNowError("StorageAway", "Table Storage did not answer", after=STORAGE_AWAY_SECONDS)


@dataclass
class Lease:
    """A row of leases as one process sees it. Raises StorageUnavailableError when storage does not answer.

    `instance_id`: of this process alone. `lasts`: in seconds, from each `take`. `clock`: seconds, monotonic. `tenure`
    grows whenever another process may have held the lease since this one did last.
    """

    state: State
    name: str
    _: KW_ONLY
    instance_id: str
    lasts: float
    clock: Callable[[], float]
    kind: str = KIND
    tenure: int = field(default=0, init=False)
    in_flight: InFlight = field(init=False)
    _etag: str | None = field(default=None, init=False)  # None: the row must be read first
    _until: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        self.in_flight = InFlight(self.clock)

    @property
    def left(self) -> float:
        """Seconds until it may be another's; negative when it is not held."""
        return self._until - self.clock()

    async def take(self) -> float:
        """Take the lease, or prolong it. Gives 0 when it is held now, else the seconds until its holder may lose it."""
        for _ in range(TRIES):
            if self._etag is None:
                self.tenure += 1
                row = await self._answered(self.state.look(self.kind, self.name))
                self.in_flight.merge(row.value, row.age)
                left = float(row.value.get("lasts", 0.0)) - row.age
                if row.value.get("owner") not in (None, "", self.instance_id) and left > 0:
                    self._until = float("-inf")
                    return left
                self._etag = row.etag
            if await self._write(self.instance_id):
                return 0.0
        return LOOK_SECONDS

    async def give_back(self) -> None:
        """Let others have it at once."""
        if self._etag and self.left > 0:
            await self._write("")
        self._until = float("-inf")

    async def _write(self, owner: str) -> bool:
        etag, began = self._etag or "", self.clock()
        self._etag = None  # until storage says that it is written
        value = {"owner": owner, "lasts": self.lasts, "in_flight": self.in_flight.as_json()}
        self._etag = await self._answered(self.state.swap(self.kind, self.name, etag, value)) or None
        if self._etag and owner:
            self._until = began + self.lasts
        return self._etag is not None

    @staticmethod
    async def _answered(work: Awaitable[T]) -> T:
        async with storage_within(STORAGE_SECONDS):
            return await work


@dataclass
class Sending:
    """The right to send records of one entity. Raises NotNowError for who has not got it, or has lost it."""

    lease: Lease
    _: KW_ONLY
    call_seconds: float
    sleep: Callable[[float], Awaitable[None]]
    _invocation: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _renewal: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _held: bool = field(default=False, init=False)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """While this goes on, no other invocation of any process sends records of the entity."""
        async with self._invocation:
            await self._wait()
            self._held = True
            try:
                yield
            finally:
                self._held = False
                await self._give_back()

    async def begin(self, keys: Sequence[str]) -> None:
        """A call with these keys begins in this moment; `ended` tells that it is over."""
        async with self._renewal:
            if not self._held or (self.lease.left < self.call_seconds and await self._take() > 0):
                self._held = False
                log.error("lease_lost")
                raise NotNowError("LeaseLost", "another process sends records of this entity", after=LOOK_SECONDS)
            self.lease.in_flight.add(keys, self.lease.clock() + self.call_seconds)

    def ended(self, keys: Sequence[str]) -> None:
        """Marketo has answered, or never got the call."""
        self.lease.in_flight.remove(keys)

    @property
    def tenure(self) -> int:
        """As long as it is the same, nobody else has sent records of the entity."""
        return self.lease.tenure

    def in_flight(self, key: str) -> int:
        """Seconds that this key must not be sent, for a call with it got no answer; 0 when it may be."""
        return self.lease.in_flight.seconds(key)

    async def _wait(self) -> None:
        left = await self._take()
        for _ in range(LOOKS):
            if left == 0:
                return
            await self.sleep(min(left, LOOK_SECONDS))
            left = await self._take()
        if left:
            after = min(left, COME_AGAIN_SECONDS)
            raise NotNowError("LeaseHeld", "another process sends records of this entity", after=after)

    async def _take(self) -> float:
        try:
            return await self.lease.take()
        except StorageUnavailableError as error:
            log.warning("lease_not_taken error=%s", error.cause)
            raise storage_away() from None

    async def _give_back(self) -> None:
        try:
            await self.lease.give_back()
        except StorageUnavailableError as error:  # then it ends in time
            log.warning("lease_not_given_back error=%s", error.cause)


@dataclass
class Leases:
    """What each entity's senders of this process hold.

    `longest_call`: how long Marketo may work on a call, in seconds (marketo.md 2: 90 for leads, else 60).
    """

    state: State
    _: KW_ONLY
    instance_id: str
    longest_call: float
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _of: dict[str, Sending] = field(default_factory=dict, init=False)

    def of(self, entity: str) -> Sending:
        """The right to send records of this entity."""
        if entity not in self._of:
            seconds = self.longest_call * MARGIN
            lasts = seconds * (1 + SPARE) + SPARE_SECONDS
            lease = Lease(self.state, entity, instance_id=self.instance_id, lasts=lasts, clock=self.clock)
            self._of[entity] = Sending(lease, call_seconds=seconds, sleep=self.sleep)
        return self._of[entity]
