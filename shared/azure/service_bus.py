"""Service Bus: sends ordinary, scheduled and session messages. The Functions host receives, but for dead letters."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..config.settings import BusSettings
from ..model.record import timestamp
from . import sdk
from .errors import broker_errors
from .receiver import Receiver

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusMessage
    from azure.servicebus.aio import ServiceBusClient, ServiceBusSender

#: Application properties, of the types that AMQP allows.
Properties = Mapping[str | bytes, int | float | bytes | bool | str | UUID]

#: The Standard tier takes 256 KB, but the SDK's own sum of a batch is some bytes too low: leave room.
BATCH_BYTES = 250 * 1024
_INT32 = range(-(2**31), 2**31)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send. `at` makes it visible at that time; `session` is needed on session queues."""

    queue: str
    body: bytes = field(repr=False)
    session: str | None = None
    at: datetime | None = None
    content_type: str = "application/json"
    correlation_id: str | None = None
    properties: Properties = field(default_factory=dict)


@dataclass
class Bus:
    """Sends messages; one open sender per queue. `client`: of somebody who is signed in otherwise, as operators are.

    `context`: properties that every message gets, such as that of the trace in which it is sent.
    """

    settings: BusSettings
    client: ServiceBusClient | None = None
    _: KW_ONLY
    context: Callable[[], Properties] = dict
    _senders: dict[str, tuple[ServiceBusSender, asyncio.Lock]] = field(default_factory=dict, init=False)

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Return when the broker has every message; raise BrokerUnavailableError when it has not."""
        by_queue: dict[str, list[Outgoing]] = {}
        for message in messages:
            by_queue.setdefault(message.queue, []).append(message)
        with broker_errors():
            await asyncio.gather(*(self._send(queue, group) for queue, group in by_queue.items()))

    def receiver(self, queue: str, *, dead: bool) -> Receiver:
        """Looks into and receives from the queue, or from its dead-letter sub-queue; opens with its first use."""
        sub_queue = sdk.servicebus.ServiceBusSubQueue.DEAD_LETTER if dead else None
        return Receiver(self._open().get_queue_receiver(queue, sub_queue=sub_queue))

    async def _send(self, queue: str, messages: list[Outgoing]) -> None:
        sender, lock = self._sender(queue)
        async with lock:  # an SDK sender is for one task at a time
            if len(messages) == 1:  # the common case; a batch of one costs a quarter more
                await sender.send_messages(_wire(messages[0], self.context()))
                return
            batch = await sender.create_message_batch(max_size_in_bytes=BATCH_BYTES)
            context = self.context()
            for message in messages:
                wire = _wire(message, context)
                try:
                    batch.add_message(wire)
                except sdk.bus_errors.MessageSizeExceededError:
                    if len(batch):
                        await sender.send_messages(batch)
                    batch = await sender.create_message_batch(max_size_in_bytes=BATCH_BYTES)
                    try:
                        batch.add_message(wire)
                    except sdk.bus_errors.MessageSizeExceededError:  # it may still be one that the broker takes alone
                        await sender.send_messages(wire)
            if len(batch):
                await sender.send_messages(batch)

    def _sender(self, queue: str) -> tuple[ServiceBusSender, asyncio.Lock]:
        if queue not in self._senders:
            self._senders[queue] = self._open().get_queue_sender(queue), asyncio.Lock()
        return self._senders[queue]

    def _open(self) -> ServiceBusClient:
        self.client = self.client or connect(self.settings)
        return self.client

    async def close(self) -> None:
        """Close every sender and the connection. The SDK takes up to a second for a sender, so all close at once."""
        await asyncio.gather(*(sender.close() for sender, _ in self._senders.values()))
        self._senders.clear()
        if self.client:
            await self.client.close()
            self.client = None


def connect(settings: BusSettings, credential: Callable[[], Any] | None = None, **options: Any) -> ServiceBusClient:
    """The SDK's client, by connection string, with this credential or with the app's identity. `options`: the SDK's."""
    options.setdefault("ssl_context", _trusted())
    if settings.connection.get_secret_value():
        return sdk.servicebus_aio.ServiceBusClient.from_connection_string(
            settings.connection.get_secret_value(), **options
        )
    own = credential or partial(sdk.identity.ManagedIdentityCredential, client_id=settings.identity_client_id or None)
    return sdk.servicebus_aio.ServiceBusClient(settings.namespace, own(), **options)


@cache
def _trusted() -> ssl.SSLContext:
    """Whom the SDK trusts anyway. Left alone, it reads the list of them again for each queue that it opens."""
    import certifi  # noqa: PLC0415  (of the SDK, which is imported late)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certifi.where())
    return context


def sendable(given: Mapping[str, object]) -> Properties:
    """Application properties as the SDK can send them: no nothing, no dates, no 64-bit numbers."""
    found: dict[str | bytes, int | float | bytes | bool | str | UUID] = {}
    for name, value in given.items():
        if isinstance(value, datetime):
            found[name] = timestamp(value)
        elif isinstance(value, float | bytes | str | UUID) or (isinstance(value, int) and value in _INT32):
            found[name] = value
        elif value is not None:
            found[name] = str(value)
    return found


def _wire(message: Outgoing, context: Properties) -> ServiceBusMessage:
    wire = sdk.servicebus.ServiceBusMessage(
        message.body,
        content_type=message.content_type,
        session_id=message.session,
        correlation_id=message.correlation_id,
        application_properties={**context, **message.properties},
    )
    if message.at:  # setting it to nothing costs the SDK as much
        wire.scheduled_enqueue_time_utc = message.at
    return wire
