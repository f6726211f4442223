"""Looks into queues without disturbing them: nothing is received, settled or counted as delivered.

A session queue can be read only by who holds the session (the SDK peeks through an open receiver). So the
session is taken only when it is free, and given back within a second each time: the app waits no longer than that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..azure.sub_queue import received_properties
from ..model.errors import MsiSyncError

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusReceivedMessage
    from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
    from azure.servicebus.aio.management import ServiceBusAdministrationClient

#: Messages of one answer; the broker may give fewer.
PAGE = 250
#: How long a session is read at a time (taking and giving it back comes on top), and left alone in between.
HOLD_SECONDS = 0.5
PAUSE_SECONDS = 0.2
#: How long an operator waits for a session that is held, asking now and then, or for a broker that does not answer.
SESSION_SECONDS = 3.0
ASK_AGAIN_SECONDS = 0.5
ANSWER_SECONDS = 15.0


class QueueUnavailable(MsiSyncError):  # noqa: N818  (a state of the queue, not a fault)
    """A queue cannot be read now: `code` is InUse, Disabled, NoQueue, NoPermission or NoAnswer."""

    @property
    def concerns_all(self) -> bool:
        """Whether other queues of the namespace cannot be read either."""
        return self.code == "NoAnswer"


@dataclass(frozen=True, slots=True)
class Place:
    """A queue, or its dead-letter sub-queue. `session` is the only session of a session queue."""

    queue: str
    session: str | None = None
    dead: bool = False

    def __str__(self) -> str:
        return f"{self.queue}/$deadletterqueue" if self.dead else self.queue


@dataclass(frozen=True, slots=True)
class Peeked:
    """A message as it lies in its queue, without the SDK's types. `due`: it is scheduled for that time.

    Of `properties`, text is text; the SDK does not tell it from binary, so what is no UTF-8 stays bytes.
    """

    sequence_number: int
    body: bytes = field(repr=False)
    enqueued: datetime | None
    due: datetime | None = None
    delivery_count: int = 0
    properties: Mapping[str, object] = field(default_factory=dict)
    dead_letter_reason: str = ""
    dead_letter_description: str = ""
    correlation_id: str = ""
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many messages a queue has, as the broker counts them."""

    active: int
    scheduled: int
    dead: int


async def peek(
    bus: ServiceBusClient, place: Place, *, start: int = 1, page: int = PAGE
) -> AsyncGenerator[list[Peeked], None]:
    """The messages of a place from a sequence number on, page by page, in any state.

    `bus` is to try again seldom (`retry_total`), as Context's does: the SDK repeats what is refused as well. The
    session of a session queue is held while a page is handled, so pages are to be handled at once. Close the iterator
    (contextlib.aclosing) when it is left early. Raises QueueUnavailable.
    """
    while True:
        async with _receiver(bus, place) as receiver:
            until = time.monotonic() + HOLD_SECONDS
            held = True
            while held:
                with explained():
                    found = await receiver.peek_messages(page, sequence_number=start, timeout=ANSWER_SECONDS)
                if not found:
                    return
                start = (found[-1].sequence_number or start) + 1
                yield [as_peeked(message) for message in found]
                held = place.session is None or time.monotonic() < until
        await asyncio.sleep(PAUSE_SECONDS)


async def counts(administration: ServiceBusAdministrationClient, queue: str) -> QueueCounts:
    """What the broker counts in a queue. Raises QueueUnavailable; the right to manage is needed."""
    with explained():
        async with asyncio.timeout(ANSWER_SECONDS):
            found = await administration.get_queue_runtime_properties(queue)
    return QueueCounts(
        found.active_message_count or 0, found.scheduled_message_count or 0, found.dead_letter_message_count or 0
    )


@asynccontextmanager
async def _receiver(bus: ServiceBusClient, place: Place) -> AsyncIterator[ServiceBusReceiver]:
    with explained():
        receiver = await _open(bus, place, until=time.monotonic() + SESSION_SECONDS)
    try:
        yield receiver
    finally:
        await receiver.close()


async def _open(bus: ServiceBusClient, place: Place, *, until: float) -> ServiceBusReceiver:
    """An open receiver. A session that is held is asked for again until the end of an operator's patience."""
    from azure.servicebus import ServiceBusSubQueue  # noqa: PLC0415  (half a second that most commands need not pay)
    from azure.servicebus.exceptions import SessionCannotBeLockedError  # noqa: PLC0415

    sub_queue = ServiceBusSubQueue.DEAD_LETTER if place.dead else None
    while True:
        receiver = bus.get_queue_receiver(place.queue, session_id=place.session, sub_queue=sub_queue)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await receiver.__aenter__()
        except SessionCannotBeLockedError:
            await receiver.close()
            if time.monotonic() >= until:
                raise
            await asyncio.sleep(ASK_AGAIN_SECONDS)
        except BaseException:
            await receiver.close()
            raise


@contextmanager
def explained() -> Iterator[None]:
    """What the SDK raises, in an operator's words."""
    from azure.core.exceptions import AzureError, ClientAuthenticationError, ResourceNotFoundError  # noqa: PLC0415
    from azure.servicebus import exceptions as bus  # noqa: PLC0415

    try:
        yield
    except bus.SessionCannotBeLockedError:
        raise QueueUnavailable(
            "InUse", "the app is working on it now, and its messages cannot be listed meanwhile"
        ) from None
    except bus.MessagingEntityDisabledError:
        raise QueueUnavailable(
            "Disabled", "receiving is disabled (msisync resume ends a pause), so nobody can look into it"
        ) from None
    except (bus.MessagingEntityNotFoundError, ResourceNotFoundError):
        raise QueueUnavailable("NoQueue", "there is no such queue; see msisync doctor") from None
    except (bus.ServiceBusAuthenticationError, bus.ServiceBusAuthorizationError, ClientAuthenticationError):
        raise QueueUnavailable(
            "NoPermission", "the credentials lack the right to listen, or to manage for counts"
        ) from None
    except TimeoutError:
        raise QueueUnavailable("NoAnswer", "Service Bus does not answer") from None
    except (AzureError, OSError) as error:
        raise QueueUnavailable("NoAnswer", f"Service Bus cannot be reached ({type(error).__name__})") from None


def as_peeked(message: ServiceBusReceivedMessage) -> Peeked:
    """A message of the SDK, peeked or received, without the SDK's types."""
    due = _utc(message.scheduled_enqueue_time_utc)
    return Peeked(
        message.sequence_number or 0,
        _body(message),
        _utc(message.enqueued_time_utc),
        due if due and due > datetime.now(UTC) else None,
        message.delivery_count or 0,
        received_properties(message),
        message.dead_letter_reason or "",
        message.dead_letter_error_description or "",
        _text(message.correlation_id or ""),
        _text(message.content_type or ""),
    )


def _body(message: ServiceBusReceivedMessage) -> bytes:
    try:
        return b"".join(message.body)
    except TypeError:  # a foreign sender's, with AMQP values in place of data
        return str(message).encode()


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _utc(moment: datetime | None) -> datetime | None:
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)
