"""Looks into and receives from queues of Service Bus, without the SDK's types."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from . import sdk
from .errors import broker_errors


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it lies in its queue. `due`: it is scheduled for that time.

    Of `properties`, text is text; the SDK does not tell it from binary, so what is no UTF-8 stays bytes. `is_data`: the
    platform can bind the body; of an AMQP value or sequence, which it cannot, `body` shows the text. `reason` and
    `description` say why the broker gave the message up.
    """

    sequence_number: int
    body: bytes = field(repr=False)
    enqueued: datetime | None = None
    due: datetime | None = None
    delivery_count: int = 0
    properties: Mapping[str, object] = field(default_factory=dict)
    reason: str = ""
    description: str = ""
    correlation_id: str = ""
    content_type: str = ""
    session: str | None = None
    is_data: bool = True
    #: The SDK's message, of one that was received.
    handle: Any = field(default=None, repr=False, compare=False)


class Receiver:
    """Looks into and receives from a queue or its dead-letter sub-queue; close it. Raises BrokerUnavailableError."""

    def __init__(self, receiver: sdk.servicebus_aio.ServiceBusReceiver) -> None:
        """`receiver` opens with its first use, or in a with statement."""
        self._receiver = receiver

    async def peek(self, count: int, start: int) -> list[Message]:
        """At most so many messages from this sequence number on; nothing is received."""
        with broker_errors():
            return list(map(as_message, await self._receiver.peek_messages(count, sequence_number=start)))

    async def receive(self, count: int, seconds: float) -> list[Message]:
        """At most so many messages, locked; empty when none comes within these seconds."""
        with broker_errors():
            return list(map(as_message, await self._receiver.receive_messages(count, max_wait_time=seconds)))

    async def complete(self, messages: Sequence[Message]) -> None:
        """Take received messages away."""
        with broker_errors():
            await asyncio.gather(*(self._receiver.complete_message(message.handle) for message in messages))

    async def remove(self, messages: Sequence[Message]) -> int:
        """Take received messages away, as far as possible. Gives how many the broker has confirmed."""
        removed = (self._receiver.complete_message(message.handle) for message in messages)
        return (await asyncio.gather(*removed, return_exceptions=True)).count(None)

    async def abandon(self, messages: Sequence[Message]) -> None:
        """Unlock received messages, as far as possible."""
        unlocked = (self._receiver.abandon_message(message.handle) for message in messages)
        await asyncio.gather(*unlocked, return_exceptions=True)

    async def close(self) -> None:
        """Close the link."""
        with broker_errors():
            await self._receiver.close()

    async def __aenter__(self) -> Receiver:
        with broker_errors():
            await self._receiver.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def as_message(message: sdk.servicebus.ServiceBusReceivedMessage) -> Message:
    """A message of the SDK, peeked or received, without the SDK's types."""
    is_data = message.body is None or message.body_type is sdk.amqp.AmqpMessageBodyType.DATA
    due = _utc(message.scheduled_enqueue_time_utc)
    given = message.application_properties or {}
    return Message(
        sequence_number=message.sequence_number or 0,
        body=b"".join(message.body or ()) if is_data else _shown(message.body).encode(errors="replace"),
        enqueued=_utc(message.enqueued_time_utc),
        due=due if due and due > datetime.now(UTC) else None,
        delivery_count=message.delivery_count or 0,
        properties={str(_text(name)): _text(value) for name, value in given.items()},
        reason=message.dead_letter_reason or "",
        description=message.dead_letter_error_description or "",
        correlation_id=str(_text(message.correlation_id or "")),
        content_type=str(_text(message.content_type or "")),
        session=message.session_id,
        is_data=is_data,
        handle=message,
    )


def _utc(moment: datetime | None) -> datetime | None:
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


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
