"""Messages that a receiver has locked: removed, kept locked, or given back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from .settlement import Outcome, settle

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusReceivedMessage
    from azure.servicebus.aio import ServiceBusReceiver

#: A lock with less than this left is renewed; the queues' locks last 5 minutes.
RENEW_BEFORE = timedelta(seconds=150)
#: How long giving back may take: what stays locked comes back by itself when its lock ends.
GIVE_BACK_SECONDS = 20.0


class Held:
    """What one receiver holds. Give it back before the receiver is closed."""

    def __init__(self, receiver: ServiceBusReceiver) -> None:
        self._receiver = receiver
        self._messages: dict[int, ServiceBusReceivedMessage] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, messages: Iterable[ServiceBusReceivedMessage]) -> None:
        """Hold these as well."""
        self._messages.update((message.sequence_number or 0, message) for message in messages)

    async def complete(self, messages: Sequence[ServiceBusReceivedMessage]) -> int:
        """Remove messages from their queue. Gives how many the broker has confirmed; none of them is held any more."""
        for message in messages:
            self._messages.pop(message.sequence_number or 0, None)
        return await settle(self._receiver, messages, Outcome.REMOVED)

    async def renew(self) -> None:
        """Keep what is held locked."""
        from azure.servicebus.exceptions import MessageLockLostError  # noqa: PLC0415  (half a second)

        soon = datetime.now(UTC) + RENEW_BEFORE
        # In the order in which their locks end: what is renewed goes to the end, and is not looked at again.
        for number, message in list(self._messages.items()):
            if _ends(message) >= soon:
                return
            del self._messages[number]
            with suppress(MessageLockLostError):  # then it is in the queue again
                await self._receiver.renew_message_lock(message)
                self._messages[number] = message

    async def give_back(self) -> None:
        """Let others have what is held, at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                await settle(self._receiver, list(self._messages.values()), Outcome.GIVEN_BACK)
        self._messages.clear()


def _ends(message: ServiceBusReceivedMessage) -> datetime:
    return message.locked_until_utc or datetime.max.replace(tzinfo=UTC)
