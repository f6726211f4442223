"""Settles many received messages at once.

The SDK settles one message a call and waits for the broker each time: a third of a millisecond of work for each, and in
Azure a round trip. AMQP settles a range of deliveries in one frame (AMQP 1.0, part 2, 2.7.6), and the SDK's own client
can do that, though not in public. Where it cannot, messages are settled one by one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusReceivedMessage
    from azure.servicebus.aio import ServiceBusReceiver

log = logging.getLogger(__name__)

#: How long the broker may take to confirm, in seconds.
CONFIRM_SECONDS = 30.0
#: Settlements on their way at once, one by one: with more, the SDK spends its time waiting for itself.
_AT_ONCE = 20


class Outcome(Enum):
    """What becomes of a message, as AMQP calls it. Unlike abandoned ones, released messages count no delivery."""

    REMOVED = "accepted"
    GIVEN_BACK = "released"


async def settle(receiver: ServiceBusReceiver, messages: Sequence[ServiceBusReceivedMessage], outcome: Outcome) -> int:
    """Settle messages of one receiver. Gives how many the broker has confirmed."""
    confirmed = 0
    for run in runs(messages):
        try:
            await _at_once(receiver, run, outcome)
        except Exception as error:  # noqa: BLE001  (the SDK's inner errors are as private as what raises them)
            log.info("settled one by one error=%s", type(error).__name__)
            confirmed += await _one_by_one(receiver, run, outcome)
        else:
            confirmed += len(run)
    return confirmed


def runs(messages: Sequence[ServiceBusReceivedMessage]) -> Iterator[list[ServiceBusReceivedMessage]]:
    """Messages whose deliveries follow one another, together."""
    run: list[ServiceBusReceivedMessage] = []
    for message in sorted(messages, key=_delivery):
        if run and _delivery(message) != _delivery(run[-1]) + 1:
            yield run
            run = []
        run.append(message)
    if run:
        yield run


async def _at_once(receiver: ServiceBusReceiver, run: list[ServiceBusReceivedMessage], outcome: Outcome) -> None:
    await receiver._handler.settle_messages_async(
        (_delivery(run[0]), _delivery(run[-1])),
        run[0]._delivery_tag,
        outcome.value,
        await_outcome=True,
        outcome_timeout=CONFIRM_SECONDS,
    )


async def _one_by_one(receiver: ServiceBusReceiver, run: list[ServiceBusReceivedMessage], outcome: Outcome) -> int:
    from azure.servicebus.exceptions import ServiceBusError  # noqa: PLC0415  (half a second)

    one = receiver.complete_message if outcome is Outcome.REMOVED else receiver.abandon_message
    confirmed = 0
    for start in range(0, len(run), _AT_ONCE):
        some = run[start : start + _AT_ONCE]
        for result in await asyncio.gather(*(one(message) for message in some), return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, ServiceBusError | OSError | ValueError):
                raise result
            confirmed += result is None
    return confirmed


def _delivery(message: ServiceBusReceivedMessage) -> int:
    return getattr(message, "_delivery_id", None) or 0
