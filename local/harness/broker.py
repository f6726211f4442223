"""A test's side of the broker: what it sends, and what it finds in the queues."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from azure.servicebus import (
    ServiceBusMessage,
    ServiceBusReceivedMessage,
)
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender
from azure.servicebus.amqp import AmqpAnnotatedMessage

from emulators.servicebus.administration import Administration, QueueCounts
from emulators.waiting import eventually

#: An AMQP message of one's own may have a body that Service Bus' own class never has.
Message = ServiceBusMessage | AmqpAnnotatedMessage

_PAGE = 100


@dataclass(frozen=True)
class DeadLetter:
    """A message of dead-letters: its body and its application properties."""

    body: bytes
    properties: dict[str, Any]

    @property
    def code(self) -> str:
        """Why it is there."""
        return str(self.properties.get("code"))


class Broker:
    """Queues by the names that endpoints.json gives them."""

    def __init__(self, connection_string: str, queues: dict[str, str], http: httpx.AsyncClient) -> None:
        self._connection_string = connection_string
        self._queues = queues
        self._administration = Administration(connection_string, http)
        self._client: ServiceBusClient | None = None
        self._senders: dict[str, ServiceBusSender] = {}
        self._peeker: ServiceBusReceiver | None = None
        self._letters: list[DeadLetter] = []
        self._next_letter = 0

    def queue(self, name: str) -> str:
        """A queue's name in the broker."""
        return self._queues[name]

    async def post(
        self,
        queue: str,
        bodies: Sequence[bytes | ServiceBusMessage | AmqpAnnotatedMessage],
        *,
        session: str | None = None,
    ) -> None:
        """Send messages, in this order."""
        messages: list[Any] = [
            body
            if isinstance(body, Message)
            else ServiceBusMessage(body, content_type="application/json", session_id=session)
            for body in bodies
        ]
        sender = self._sender(queue)
        for start in range(0, len(messages), _PAGE):
            await sender.send_messages(messages[start : start + _PAGE])

    async def dead_letters(self) -> list[DeadLetter]:
        """Everything that has come to dead-letters since the last `forget_dead_letters`."""
        if self._peeker is None:
            self._peeker = self._connection().get_queue_receiver(self.queue("dead_letters"))
        while batch := await self._peeker.peek_messages(_PAGE, sequence_number=self._next_letter):
            self._letters += [DeadLetter(b"".join(each.body), _properties(each)) for each in batch]
            self._next_letter = (batch[-1].sequence_number or 0) + 1
        return self._letters

    async def dead_letter_of(self, record_id: str) -> DeadLetter:
        """Wait for the dead letter of a record."""

        async def look() -> list[DeadLetter]:
            return [each for each in await self.dead_letters() if each.properties.get("record_id") == record_id]

        return (await eventually(look, what=f"a dead letter of {record_id}"))[0]

    async def forget_dead_letters(self) -> None:
        """Count only those that come from now on."""
        await self.dead_letters()
        self._letters.clear()

    async def counts(self) -> dict[str, QueueCounts]:
        """How many messages are in each queue, by its name in the broker."""
        return await self._administration.counts()

    async def set_status(self, queue: str, status: str) -> None:
        """Change a queue's status: Active, SendDisabled, ReceiveDisabled or Disabled."""
        await self._administration.set_status(self.queue(queue), status)

    async def idle(self, *, seconds: float = 30.0) -> None:
        """Wait until no queue has anything to work on, not even later."""

        async def look() -> dict[str, int]:
            counts = await self.counts()
            return {name: count.waiting for name, count in counts.items() if count.waiting}

        dead = self.queue("dead_letters")
        await eventually(look, lambda waiting: waiting.keys() <= {dead}, seconds=seconds, what="idle queues")

    async def hurry(self, name: str) -> int:
        """Let the scheduled messages of a queue, named as the broker names it, come now. Gives their number."""
        return await self.fault("hurry", name)

    async def hurried(self, *queues: str, seconds: float = 30.0) -> None:
        """Let what these queues do later come now, until nothing waits: rows that are missing are looked for twice.

        What is still among the changes may be meant for them.
        """
        names = [self.queue(queue) for queue in ("changes", *queues)]

        async def look() -> int:
            for name in names:
                await self.hurry(name)
            counts = await self.counts()
            return sum(counts[name].waiting for name in names)

        await eventually(look, lambda left: not left, seconds=seconds, what="an end of what comes later")

    async def fault(self, what: str, name: str = "") -> int:
        """Bring about what emulators/servicebus/faults.py knows; gives how many connections or messages it has hit."""
        return await self._administration.fault(what, name)

    async def disconnect(self, *, emptied: bool = True) -> None:
        """Close the connection; the next call opens another one. `emptied`: the broker is stopped, or will be."""
        links = [*self._senders.values(), *([self._peeker] if self._peeker else [])]
        await asyncio.gather(*(link.close() for link in links))
        if self._client is not None:
            await self._client.close()
        self._client, self._peeker = None, None
        self._next_letter = 0 if emptied else self._next_letter
        self._senders.clear()

    def _sender(self, queue: str) -> ServiceBusSender:
        if queue not in self._senders:
            self._senders[queue] = self._connection().get_queue_sender(self.queue(queue))
        return self._senders[queue]

    def _connection(self) -> ServiceBusClient:
        if self._client is None:
            self._client = ServiceBusClient.from_connection_string(self._connection_string)
        return self._client


def _properties(message: ServiceBusReceivedMessage) -> dict[str, Any]:
    found = {}
    for name, value in (message.application_properties or {}).items():
        plain = value.decode() if isinstance(value, bytes) else value
        found[name.decode() if isinstance(name, bytes) else name] = plain
    return found
