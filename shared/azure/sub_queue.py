"""A queue's dead-letter sub-queue on Service Bus: what the broker gave up, without the SDK's types."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from . import sdk
from .errors import broker_errors

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusReceivedMessage
    from azure.servicebus.aio import ServiceBusReceiver


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A message in a dead-letter sub-queue. `body` is None when the platform cannot bind it; `text` shows it then."""

    reason: str
    body: bytes | None
    text: str = ""
    enqueued: datetime | None = None
    session: str | None = None
    correlation_id: str | None = None
    content_type: str | None = None
    properties: Mapping[str, object] = field(default_factory=dict)
    sequence_number: int = 0
    #: The SDK's message, of one that was received.
    handle: Any = field(default=None, repr=False, compare=False)


class SubQueue:
    """Looks into and receives from a sub-queue; close it. Raises BrokerUnavailableError."""

    def __init__(self, receiver: ServiceBusReceiver) -> None:
        """`receiver` opens with its first use."""
        self._receiver = receiver

    async def peek(self, count: int, start: int) -> list[GivenUp]:
        """At most so many messages from this sequence number on; nothing is received."""
        with broker_errors():
            return [_given_up(each) for each in await self._receiver.peek_messages(count, sequence_number=start)]

    async def receive(self, count: int, seconds: float) -> list[GivenUp]:
        """At most so many messages, locked; empty when none comes within these seconds."""
        with broker_errors():
            return [_given_up(each) for each in await self._receiver.receive_messages(count, max_wait_time=seconds)]

    async def complete(self, messages: Sequence[GivenUp]) -> None:
        """Take received messages away."""
        with broker_errors():
            await asyncio.gather(*(self._receiver.complete_message(message.handle) for message in messages))

    async def abandon(self, messages: Sequence[GivenUp]) -> None:
        """Unlock received messages, as far as possible."""
        unlocked = (self._receiver.abandon_message(message.handle) for message in messages)
        await asyncio.gather(*unlocked, return_exceptions=True)

    async def close(self) -> None:
        """Close the link."""
        with broker_errors():
            await self._receiver.close()

    async def __aenter__(self) -> SubQueue:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def received_properties(message: ServiceBusReceivedMessage) -> dict[str, object]:
    """Application properties of a received message, its binary texts as text."""
    given = message.application_properties or {}
    return {str(_text(name)): _text(value) for name, value in given.items()}


def _given_up(message: ServiceBusReceivedMessage) -> GivenUp:
    body = message.body
    data = b"" if body is None else b"".join(body) if message.body_type is sdk.amqp.AmqpMessageBodyType.DATA else None
    enqueued = message.enqueued_time_utc
    return GivenUp(
        reason=message.dead_letter_reason or "",
        body=data,
        text=_shown(body) if data is None else "",
        enqueued=enqueued if enqueued is None or enqueued.tzinfo else enqueued.replace(tzinfo=UTC),
        session=message.session_id,
        correlation_id=message.correlation_id,
        content_type=message.content_type,
        properties=received_properties(message),
        sequence_number=message.sequence_number or 0,
        handle=message,
    )


def _text(value: object) -> object:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _shown(body: object) -> str:
    """A value or sequence as text: as it is, or as JSON."""
    plain = _plain(body)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False, default=str)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, Mapping):
        return {str(_plain(name)): _plain(each) for name, each in value.items()}
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return value
    return [_plain(each) for each in value]
