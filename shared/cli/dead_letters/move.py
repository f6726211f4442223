"""Takes chosen dead letters out of one place: what is to be sent is sent first, and only then removed here.

Service Bus gives messages in order only. So what lies before a chosen one is received as well, held locked, and given
back at the end. What comes after the last chosen one, such as a dead letter that has just come back, ends the work.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...azure.service_bus import Bus
from ...sync.routing import Refusal
from ..context import Context
from ..peek import as_peeked
from .holding import Held
from .job import Job, preparing
from .letter import read
from .sending import send, short

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusReceivedMessage
    from azure.servicebus.aio import ServiceBusReceiver

#: Receivers side by side in one process: one waits for the broker while the other works.
WORKERS = 2
#: Messages that a worker takes at a time; their locks last 5 minutes, and a slice takes seconds.
SLICE = 250
#: Messages that are held at most because others behind them are wanted.
MAX_HELD = 5000
#: How long a worker waits for a message, and how often in a row before it believes that none comes.
WAIT_SECONDS = 0.5
WAITS = 10
#: Tries of a worker whose connection breaks.
TRIES = 4

Report = Callable[[int], None]


@dataclass(slots=True)
class Tally:
    """What became of the chosen dead letters of a place. `went`: sent (if to be sent) and removed.

    `doubtful`: sent, but the broker did not confirm the removal. `failures` counts by reason what could not be sent.
    `blocked`: too many others lie before the rest. What is in none of them was not given out: somebody else holds it.
    `seconds` are those of the whole job, without the look before it.
    """

    went: int = 0
    doubtful: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    blocked: bool = False
    seconds: float = 0.0

    def add(self, other: Tally) -> None:
        """Take another one's counts over."""
        self.went += other.went
        self.doubtful += other.doubtful
        self.failures.update(other.failures)
        self.blocked = self.blocked or other.blocked


class Mover:
    """Does a job. `report` is called with how many are done since the last time; `stop` ends the work soon."""

    def __init__(
        self, context: Context, job: Job, *, report: Report, stop: asyncio.Event, max_held: int = MAX_HELD
    ) -> None:
        self.tally = Tally()
        self._context = context
        self._place = job.place
        self._wanted = set(job.numbers)
        self._last = max(job.numbers, default=0)
        self._prepare = preparing(context.settings.queues, job.stamp)
        self._report = report
        self._stop = stop
        self._max_held = max_held
        self._holds: list[Held] = []

    async def run(self, workers: int = WORKERS) -> Tally:
        """Work until every chosen dead letter is done or none comes any more."""
        async with asyncio.TaskGroup() as group:
            for _ in range(min(workers, len(self._wanted) // SLICE + 1)):
                group.create_task(self._work())
        return self.tally

    @property
    def _finished(self) -> bool:
        return self._stop.is_set() or not self._wanted

    async def _work(self) -> None:
        from azure.servicebus.exceptions import ServiceBusError  # noqa: PLC0415  (half a second)

        bus = Bus(self._context.settings.bus)
        try:
            for attempt in range(TRIES):
                try:
                    return await self._connected(bus)
                except (ServiceBusError, OSError) as error:
                    if attempt + 1 == TRIES:
                        self.tally.failures[f"{self._place}: {short(error)}"] += 1
                    else:
                        await asyncio.sleep(attempt)
        finally:
            await bus.close()

    async def _connected(self, bus: Bus) -> None:
        from azure.servicebus import ServiceBusSubQueue  # noqa: PLC0415

        sub_queue = ServiceBusSubQueue.DEAD_LETTER if self._place.dead else None
        async with self._context.bus.get_queue_receiver(self._place.queue, sub_queue=sub_queue) as receiver:
            held = Held(receiver)
            self._holds.append(held)
            try:
                await self._receive(receiver, held, bus)
            finally:
                self._holds.remove(held)
                await held.give_back()

    async def _receive(self, receiver: ServiceBusReceiver, held: Held, bus: Bus) -> None:
        waits = 0
        while not self._finished and waits < WAITS:
            await held.renew()
            received = await receiver.receive_messages(SLICE, max_wait_time=WAIT_SECONDS)
            waits = 0 if received else waits + 1
            held.add(received)
            chosen = [message for message in received if message.sequence_number in self._wanted]
            await self._carry(chosen, held, bus)
            if received and all((message.sequence_number or 0) > self._last for message in received):
                return
            if sum(map(len, self._holds)) >= self._max_held and not self._finished:
                self.tally.blocked = True
                self._stop.set()

    async def _carry(self, chosen: Sequence[ServiceBusReceivedMessage], held: Held, bus: Bus) -> None:
        """Send these, and remove what the broker has."""
        gone, originals, messages = [], [], []
        for message in chosen:
            prepared = self._prepare(read(self._place, as_peeked(message), self._context.settings.queues))
            if isinstance(prepared, Refusal):
                self._failed(message, f"{prepared.code}: {prepared.message}")
            elif prepared is None:
                gone.append(message)
            else:
                originals.append(message)
                messages.append(prepared)
        sent = await send(bus, messages)
        if sent.hopeless:
            self._stop.set()
        for message, why in zip(originals, sent.failures, strict=True):
            if why:
                self._failed(message, why)
            else:
                gone.append(message)
        removed = await held.complete(gone)
        self._wanted.difference_update(message.sequence_number or 0 for message in gone)
        self.tally.went += removed
        self.tally.doubtful += len(gone) - removed
        if gone:
            self._report(len(gone))

    def _failed(self, message: ServiceBusReceivedMessage, why: str) -> None:
        self._wanted.discard(message.sequence_number or 0)
        self.tally.failures[why] += 1
        self._report(1)
