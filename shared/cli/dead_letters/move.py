"""Takes chosen dead letters out of one place: what is to be sent is sent first, and only then removed here.

Service Bus delivers messages in order only. So what lies before a chosen one is received as well, kept locked, and
given back at the end. What comes after the last chosen one, such as a dead letter that has just come back, ends the
work.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ...azure.receiver import Message, Receiver
from ...azure.service_bus import Bus, Outgoing
from ...model.errors import BrokerUnavailableError
from ...sync.routing import Refusal
from ..context import Context
from ..peek import Place
from .letter import DeadLetter, read

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


@dataclass(slots=True)
class Mover:
    """Moves the dead letters with these numbers out of a place, and counts in `tally`.

    `on_progress` is called with how many are done since the last call, `became` with each of them and why it stays:
    empty when it was sent, or goes without.
    """

    context: Context
    place: Place
    numbers: Collection[int]
    prepare: Prepare
    tally: Tally
    on_progress: Callable[[int], None]
    became: Callable[[DeadLetter, str], None] = lambda *_: None
    max_held: int = MAX_HELD
    _wanted: set[int] = field(init=False)

    async def run(self) -> None:
        """Work until every chosen dead letter is done or none comes any more."""
        self._wanted = set(self.numbers)
        for attempt in range(TRIES):
            try:
                async with self.context.outgoing.receiver(self.place.queue, dead=self.place.dead) as receiver:
                    await self._receive(receiver)
                return
            except BrokerUnavailableError as error:
                if attempt + 1 == TRIES:
                    self.tally.failures[f"{self.place}: {short(error)}"] += 1
                else:
                    await asyncio.sleep(attempt)

    async def _receive(self, receiver: Receiver) -> None:
        held: dict[int, Message] = {}
        last = max(self.numbers)
        try:
            while self._wanted:
                received = await receiver.receive(SLICE, WAIT_SECONDS)
                # One whose lock has ended meanwhile comes again, and takes the place of the first.
                held.update((message.sequence_number, message) for message in received)
                ready, hopeless = await self._send(received)
                for message in ready:
                    del held[message.sequence_number]
                self._wanted.difference_update(message.sequence_number for message in ready)  # never to be sent twice
                removed = await receiver.remove(ready)
                self.tally.went += removed
                self.tally.doubtful += len(ready) - removed
                self.on_progress(len(ready))
                await self.context.history.written()
                if hopeless or all(message.sequence_number > last for message in received):
                    return
                if self._wanted and len(held) >= self.max_held:
                    self.tally.blocked = True
                    return
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(GIVE_BACK_SECONDS):
                    await receiver.abandon(list(held.values()))

    async def _send(self, received: Sequence[Message]) -> tuple[list[Message], bool]:
        """Send the chosen ones. Gives those that may be removed now, and whether going on is hopeless."""
        ready, letters, messages = [], [], []
        for message in received:
            if message.sequence_number not in self._wanted:
                continue
            letter = read(self.place, message, self.context.settings.queues)
            prepared = self.prepare(letter)
            if isinstance(prepared, Refusal):
                self._failed(letter, f"{prepared.code}: {prepared.message}")
            elif prepared is None:
                ready.append(letter)
            else:
                letters.append(letter)
                messages.append(prepared)
        sent = await send(self.context.outgoing, messages)
        for letter, why in zip(letters, sent.failures, strict=True):
            if why:
                self._failed(letter, why)
            else:
                ready.append(letter)
        for letter in ready:
            self.became(letter, "")
        return [letter.message for letter in ready], sent.hopeless

    def _failed(self, letter: DeadLetter, why: str) -> None:
        self._wanted.discard(letter.number)
        self.became(letter, why)
        self.tally.failures[why] += 1
        self.on_progress(1)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of messages: for each in turn why it was not sent, empty where the broker has it.

    `hopeless`: what failed concerns the queue or the connection, so that the next ones would fail as well.
    """

    failures: Sequence[str]
    hopeless: bool = False


async def send(bus: Bus, messages: Sequence[Outgoing]) -> Sent:
    """Send in batches. When one message may be to blame for a failure, each is tried alone."""
    try:
        if messages:
            await bus.send(messages)
    except (BrokerUnavailableError, ValueError) as error:  # ValueError: the SDK cannot encode it
        if isinstance(error, BrokerUnavailableError) and not error.is_too_large:
            return Sent([short(error)] * len(messages), hopeless=True)
        if len(messages) == 1:
            return Sent([short(error)])
    else:
        return Sent([""] * len(messages))
    failures: list[str] = []
    for message in messages:
        alone = await send(bus, [message])
        failures += alone.failures
        if alone.hopeless:
            return Sent(failures + [failures[-1]] * (len(messages) - len(failures)), hopeless=True)
    return Sent(failures)


def short(error: Exception) -> str:
    """An error of the SDK on one line."""
    raised = error.__cause__ or error
    lines = str(raised).splitlines() or [""]
    return f"{type(raised).__name__}: {lines[0][:200]}"
