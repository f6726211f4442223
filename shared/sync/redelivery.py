"""Brings back what the broker gave up: messages of the trigger queues that were delivered in vain ten times.

The platform binds a batch as a whole. One message whose body is an AMQP value or sequence (a foreign sender's) cannot
be bound to bytes, so the host abandons its whole batch ten times (azure-sdk-for-net, MessageToByteArrayConverter), and
the broker dead-letters good messages with the bad one. The minute timer puts the bad one into dead-letters, with its
reason, and sends the others again, once: what is given up a second time stays for an operator.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime

from ..azure.receiver import Message, Receiver
from ..azure.service_bus import Bus, Outgoing, sendable
from ..azure.shared_state import State
from ..config.settings import QueueSettings
from ..model.dead_letter import BROKERS_OWN, BROUGHT_BACK, FIRST_SEEN, Explanation
from ..model.record import timestamp
from . import measures
from .settlement import dead_letter

log = logging.getLogger(__name__)

#: Why the broker gave a message up; what it gave up for another reason (its age, somebody's decision) stays.
GIVEN_UP = "MaxDeliveryCountExceeded"
NOT_BINDABLE = "NotBindable"
_NOT_BINDABLE = (
    "its body is an AMQP value or sequence, which the platform cannot hand to the app: it comes from a sender other "
    "than Dynamics and this app; let that one send data"
)
#: The kind of the rows of the shared state, by queue: {"at", "brought_back", "put_aside"} of the last time.
STATE = "redelivery"

_PAGE = 100
#: A run looks at so many messages of a queue, and receives so many, at most.
MOST = 1000


def comes_back(message: Message) -> bool:
    """Whether something is to be done about a message."""
    return message.reason == GIVEN_UP and BROUGHT_BACK not in message.properties


def sent_for(message: Message, queue: str, queues: QueueSettings, now: datetime) -> Outgoing:
    """What takes the place of a message that comes back: itself, marked, or a dead letter with the reason."""
    seen = message.enqueued or now
    if not message.is_data:
        return dead_letter(
            queues,
            message.body,
            Explanation(NOT_BINDABLE, _NOT_BINDABLE, "msisync", queue, seen),
            correlation_id=message.correlation_id,
        )
    kept = {name: value for name, value in message.properties.items() if name not in BROKERS_OWN}
    return Outgoing(
        queue,
        message.body,
        session=message.session,
        correlation_id=message.correlation_id or None,
        content_type=message.content_type or "application/json",
        properties={FIRST_SEEN: timestamp(seen), **sendable(kept), BROUGHT_BACK: timestamp(now)},
    )


@dataclass
class Redelivery:
    """Looks after the dead-letter sub-queues of all trigger queues."""

    bus: Bus
    queues: QueueSettings
    state: State
    _: KW_ONLY
    now: Callable[[], datetime]
    #: Open, since a link takes longer to open than to look; and up to where a queue holds nothing that comes back.
    _peekers: dict[str, Receiver] = field(default_factory=dict, init=False)
    _looked: dict[str, int] = field(default_factory=dict, init=False)

    async def run(self) -> None:
        """Bring back what is to come back, in every queue. What fails is logged, and tried at the next run."""
        names = self.queues.received
        results = await asyncio.gather(*map(self._tend, names), return_exceptions=True)
        for queue, result in zip(names, results, strict=True):
            if isinstance(result, Exception):
                log.warning("redelivery_waits queue=%s error=%s", queue, type(result).__name__)
                await self._hang_up(queue)

    async def close(self) -> None:
        """Close what looks."""
        for queue in list(self._peekers):
            await self._hang_up(queue)

    async def _hang_up(self, queue: str) -> None:
        """Look through a new link the next time, from the beginning: the queue may be another one by then."""
        self._looked.pop(queue, None)
        peeker = self._peekers.pop(queue, None)
        if peeker is not None:
            with suppress(Exception):
                await peeker.close()

    async def _tend(self, queue: str) -> None:
        wanted = await self._look(queue)
        if not wanted:
            return
        counts = Counter[str]()
        async with self.bus.receiver(queue, dead=True) as sub_queue:
            left: list[Message] = []
            received = 0
            try:
                while wanted and received < MOST:
                    messages = await sub_queue.receive(_PAGE, seconds=2.0)
                    if not messages:
                        break
                    received += len(messages)
                    wanted -= {message.sequence_number for message in messages}
                    left += await self._bring_back(queue, sub_queue, messages, counts)
            finally:
                await sub_queue.abandon(left)  # what stays locked could not be replayed by an operator
        log.warning("brought_back queue=%s %s", queue, " ".join(f"{name}={n}" for name, n in sorted(counts.items())))
        await self.state.put(STATE, queue, {"at": timestamp(self.now()), **counts})

    async def _look(self, queue: str) -> set[int]:
        """The sequence numbers of those that come back. Nothing is received for that."""
        peeker = self._peekers.get(queue) or self._peekers.setdefault(queue, self.bus.receiver(queue, dead=True))
        start = self._looked.get(queue, 1)
        for _ in range(MOST // _PAGE):
            messages = await peeker.peek(_PAGE, start)
            if start > 1 and not (messages and messages[0].sequence_number == start):
                # What was seen last is gone, and may be with its queue: look from the beginning.
                start, messages = 1, await peeker.peek(_PAGE, 1)
            wanted = {message.sequence_number for message in messages if comes_back(message)}
            if wanted or len(messages) < 2:
                return wanted
            start = self._looked[queue] = messages[-1].sequence_number
        return set()

    async def _bring_back(
        self, queue: str, sub_queue: Receiver, messages: Sequence[Message], counts: Counter[str]
    ) -> list[Message]:
        """Send first, then take away: what fails in between comes twice, never not at all. Gives those that stay."""
        back = [message for message in messages if comes_back(message)]
        sent = [sent_for(message, queue, self.queues, self.now()) for message in back]
        await self.bus.send(sent)
        letters = [message for message in sent if message.queue == self.queues.dead_letters]
        measures.refused(letters)
        counts["put_aside"] += len(letters)
        counts["brought_back"] += len(sent) - len(letters)
        await sub_queue.complete(back)
        return [message for message in messages if not comes_back(message)]
