"""Looks into queues without disturbing them: nothing is received, settled or counted as delivered.

A session queue can be read only by who holds the session (the SDK peeks through an open receiver). So the
session is taken only when it is free, and given back within a second each time: the app waits no longer than that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ..azure import sdk
from ..azure.receiver import Message, as_message
from ..model.errors import MsiSyncError

#: Messages of one answer; the broker may give fewer.
PAGE = 250
#: How long a session is read at a time (taking and giving it back comes on top), and left alone in between.
HOLD_SECONDS = 0.5
PAUSE_SECONDS = 0.2
#: How long an operator waits for a session that is held, asking now and then, or for a broker that does not answer.
SESSION_SECONDS = 3.0
ASK_AGAIN_SECONDS = 0.5
ANSWER_SECONDS = 15.0
#: While a link is open, the SDK looks after it once a second, and closing it waits for the next time. A link that is
#: peeked through needs no such care. The SDK heeds the first setting only beside the second one, which changes nothing
#: here: messages are asked for when they are received.
_UNATTENDED: dict[str, Any] = {"keep_alive": 0, "prefetch_count": 1}


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
class QueueCounts:
    """How many messages a queue has, as the broker counts them."""

    active: int
    scheduled: int
    dead: int


async def peek(
    bus: sdk.servicebus_aio.ServiceBusClient,
    place: Place,
    *,
    start: int = 1,
    page: int = PAGE,
    ready: asyncio.Event | None = None,
) -> AsyncGenerator[list[Message], None]:
    """The messages of a place from a sequence number on, page by page, in any state.

    `bus` is to try again seldom (`retry_total`), as Context's does: the SDK repeats what is refused as well. The
    session of a session queue is held while a page is handled, so pages are to be handled at once. Close the iterator
    (contextlib.aclosing) when it is left early. Raises QueueUnavailable.

    `ready`: nothing is read before. To open a place takes the SDK half a second, which can pass meanwhile; a session
    that was opened too early is given back and opened again.
    """
    while True:
        async with _receiver(bus, place) as receiver:
            until = time.monotonic() + HOLD_SECONDS
            held = ready is None or await _came(ready, HOLD_SECONDS if place.session else None)
            while held:
                with explained():
                    found = await receiver.peek_messages(page, sequence_number=start, timeout=ANSWER_SECONDS)
                if not found:
                    return
                start = (found[-1].sequence_number or start) + 1
                yield list(map(as_message, found))
                held = place.session is None or time.monotonic() < until
        if ready and not ready.is_set():
            await ready.wait()
        else:
            await asyncio.sleep(PAUSE_SECONDS)


async def _came(ready: asyncio.Event, within: float | None) -> bool:
    """Whether it came within so many seconds; None: it is waited for."""
    with suppress(TimeoutError):
        await asyncio.wait_for(ready.wait(), within)
    return ready.is_set()


async def counts(administration: sdk.bus_management_aio.ServiceBusAdministrationClient, queue: str) -> QueueCounts:
    """What the broker counts in a queue. Raises QueueUnavailable; the right to manage is needed."""
    with explained():
        async with asyncio.timeout(ANSWER_SECONDS):
            found = await administration.get_queue_runtime_properties(queue)
    return QueueCounts(
        found.active_message_count or 0, found.scheduled_message_count or 0, found.dead_letter_message_count or 0
    )


@asynccontextmanager
async def _receiver(
    bus: sdk.servicebus_aio.ServiceBusClient, place: Place
) -> AsyncIterator[sdk.servicebus_aio.ServiceBusReceiver]:
    with explained():
        receiver = await _open(bus, place, until=time.monotonic() + SESSION_SECONDS)
    try:
        yield receiver
    finally:
        await receiver.close()


async def _open(
    bus: sdk.servicebus_aio.ServiceBusClient, place: Place, *, until: float
) -> sdk.servicebus_aio.ServiceBusReceiver:
    """An open receiver. A session that is held is asked for again until the end of an operator's patience."""
    sub_queue = sdk.servicebus.ServiceBusSubQueue.DEAD_LETTER if place.dead else None
    while True:
        receiver = bus.get_queue_receiver(place.queue, session_id=place.session, sub_queue=sub_queue, **_UNATTENDED)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await receiver.__aenter__()
        except sdk.bus_errors.SessionCannotBeLockedError:
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
    bus, core = sdk.bus_errors, sdk.core_errors
    try:
        yield
    except bus.SessionCannotBeLockedError:
        code, text = "InUse", "the app is working on it now, and its messages cannot be listed meanwhile"
    except bus.MessagingEntityDisabledError:
        code, text = "Disabled", "receiving is disabled (msisync resume ends a pause), so nobody can look into it"
    except (bus.MessagingEntityNotFoundError, core.ResourceNotFoundError):
        code, text = "NoQueue", "there is no such queue; see msisync doctor"
    except (bus.ServiceBusAuthenticationError, bus.ServiceBusAuthorizationError, core.ClientAuthenticationError):
        code, text = "NoPermission", "the credentials lack the right to listen, or to manage for counts"
    except TimeoutError:
        code, text = "NoAnswer", "Service Bus does not answer"
    except (core.AzureError, OSError) as error:
        code, text = "NoAnswer", f"Service Bus cannot be reached ({type(error).__name__})"
    else:
        return
    raise QueueUnavailable(code, text)
