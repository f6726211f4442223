"""Takes chosen dead letters out of one place: what is to be sent is sent first, and only then removed here.

Service Bus delivers messages in order only. So what lies before a chosen one is received as well, kept locked, and
given back at the end. What comes after the last chosen one, such as a dead letter that has just come back, ends the
work.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...azure.service_bus import Bus, Outgoing
from ...sync.routing import Refusal
from ..context import Context
from ..peek import Place, as_peeked
from .letter import DeadLetter, read
from .sending import send, short

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusReceivedMessage
    from azure.servicebus.aio import ServiceBusReceiver

#: Messages that are received, sent and settled at a time; their locks last 5 minutes, and a slice takes about a second.
#: Small slices are slow: after each, the SDK goes on listening for up to 0.2 s when all is confirmed.
SLICE = 1000
#: Messages that are kept locked at most because others behind them are wanted.
MAX_HELD = 5000
#: How long to wait for a message that another receiver has locked.
WAIT_SECONDS = 5.0
#: How often a connection that breaks is opened again.
TRIES = 4
#: How long giving back may take. What is not given back comes back when its lock ends.
GIVE_BACK_SECONDS = 20.0

#: What is to be sent for a dead letter, or why it cannot be sent; None if it is to be removed without.
Prepare = Callable[[DeadLetter], Outgoing | Refusal | None]


@dataclass(slots=True)
class Tally:
    """What became of the chosen dead letters. `went`: sent (if to be sent) and removed.

    `doubtful`: sent, but the broker did not confirm the removal. `failures` counts by reason what could not be sent.
    `blocked`: too many other messages are ahead of the rest. What is in none of them was not delivered: another
    receiver has it.
    `seconds` are those of the whole job, without the look before it.
    """

    went: int = 0
    doubtful: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    blocked: bool = False
    seconds: float = 0.0


class Mover:
    """Moves the dead letters with these numbers out of a place, and counts in `tally`.

    `on_progress` is called with how many are done since the last call.
    """

    def __init__(
        self,
        context: Context,
        place: Place,
        numbers: Collection[int],
        prepare: Prepare,
        tally: Tally,
        *,
        on_progress: Callable[[int], None],
        max_held: int = MAX_HELD,
    ) -> None:
        self._context = context
        self._place = place
        self._wanted = set(numbers)
        self._last = max(numbers)
        self._prepare = prepare
        self._tally = tally
        self._on_progress = on_progress
        self._max_held = max_held

    async def run(self) -> None:
        """Work until every chosen dead letter is done or none comes any more."""
        from azure.servicebus.exceptions import ServiceBusError  # noqa: PLC0415  (half a second)

        bus = Bus(self._context.settings.bus)
        try:
            for attempt in range(TRIES):
                try:
                    return await self._receive(bus)
                except (ServiceBusError, OSError) as error:
                    if attempt + 1 == TRIES:
                        self._tally.failures[f"{self._place}: {short(error)}"] += 1
                    else:
                        await asyncio.sleep(attempt)
        finally:
            await bus.close()

    async def _receive(self, bus: Bus) -> None:
        from azure.servicebus import ServiceBusSubQueue  # noqa: PLC0415

        sub_queue = ServiceBusSubQueue.DEAD_LETTER if self._place.dead else None
        held: dict[int | None, ServiceBusReceivedMessage] = {}
        async with self._context.bus.get_queue_receiver(self._place.queue, sub_queue=sub_queue) as receiver:
            try:
                while self._wanted:
                    received = await receiver.receive_messages(SLICE, max_wait_time=WAIT_SECONDS)
                    # One whose lock has ended meanwhile comes again, and takes the place of the first.
                    held.update((message.sequence_number, message) for message in received)
                    ready, hopeless = await self._send(received, bus)
                    for message in ready:
                        del held[message.sequence_number]
                    await self._remove(ready, receiver)
                    if hopeless or all((message.sequence_number or 0) > self._last for message in received):
                        return
                    if self._wanted and len(held) >= self._max_held:
                        self._tally.blocked = True
                        return
            finally:
                with suppress(TimeoutError):
                    async with asyncio.timeout(GIVE_BACK_SECONDS):
                        await _settle(receiver.abandon_message, list(held.values()))

    async def _send(
        self, received: Sequence[ServiceBusReceivedMessage], bus: Bus
    ) -> tuple[list[ServiceBusReceivedMessage], bool]:
        """Send the chosen ones. Gives those that may be removed now, and whether going on is hopeless."""
        ready, originals, messages = [], [], []
        for message in received:
            if message.sequence_number not in self._wanted:
                continue
            prepared = self._prepare(read(self._place, as_peeked(message), self._context.settings.queues))
            if isinstance(prepared, Refusal):
                self._failed(message, f"{prepared.code}: {prepared.message}")
            elif prepared is None:
                ready.append(message)
            else:
                originals.append(message)
                messages.append(prepared)
        sent = await send(bus, messages)
        for message, why in zip(originals, sent.failures, strict=True):
            if why:
                self._failed(message, why)
            else:
                ready.append(message)
        return ready, sent.hopeless

    async def _remove(self, ready: list[ServiceBusReceivedMessage], receiver: ServiceBusReceiver) -> None:
        self._wanted.difference_update(message.sequence_number or 0 for message in ready)  # never to be sent twice
        removed = await _settle(receiver.complete_message, ready)
        self._tally.went += removed
        self._tally.doubtful += len(ready) - removed
        self._on_progress(len(ready))

    def _failed(self, message: ServiceBusReceivedMessage, why: str) -> None:
        self._wanted.discard(message.sequence_number or 0)
        self._tally.failures[why] += 1
        self._on_progress(1)


async def _settle(
    settle: Callable[[ServiceBusReceivedMessage], Awaitable[None]], messages: Sequence[ServiceBusReceivedMessage]
) -> int:
    """Settle messages, a slice at a time. Gives how many the broker has confirmed."""
    from azure.servicebus.exceptions import ServiceBusError  # noqa: PLC0415

    confirmed = 0
    for start in range(0, len(messages), SLICE):
        settling = map(settle, messages[start : start + SLICE])
        for result in await asyncio.gather(*settling, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, ServiceBusError | OSError | ValueError):
                raise result  # ValueError: the receiver is closed
            confirmed += result is None
    return confirmed
