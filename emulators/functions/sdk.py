"""Two things that the .NET client does and the public surface of azure-servicebus (pinned: 7.15.0) does not offer.

Everything here that touches the SDK's internals is in this module, and only saves work: leaving credit with the broker
and `complete_message` per message would be right too.
"""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusReceiver

#: Seconds that the broker may take to confirm a settlement.
CONFIRMATION = 10.0


async def withdraw_credit(receiver: ServiceBusReceiver) -> None:
    """Ask the broker for no more messages until the next receive call.

    The SDK leaves the credit that a partial batch did not use with the broker. Messages that come on it later are
    handed back one by one, and come again: work for both sides, and deliveries that the broker counts.
    """
    internals: Any = receiver
    await internals._amqp_transport.reset_link_credit_async(internals._handler, 0)


async def complete_all(receiver: ServiceBusReceiver, messages: Sequence[ServiceBusReceivedMessage]) -> None:
    """Complete messages that came over this receiver's link, confirmed by the broker.

    One disposition settles a whole run of deliveries, as AMQP has it: measured with 100 messages, 0.02 ms of processor
    time per message instead of 0.30 with `complete_message`. Raises what the SDK raises (a closed link, an outcome
    that the broker refused or did not confirm); those of the messages that are not completed come again.
    """
    internals: Any = receiver
    for first, last, tags in _runs(messages):
        await internals._handler.settle_messages_async(
            (first, last), tags[0], "accepted", batchable=True, await_outcome=True, outcome_timeout=CONFIRMATION
        )
        # The link forgets the first tag only.
        internals._handler._link._received_delivery_tags.difference_update(tags)


async def abandon_all(receiver: ServiceBusReceiver, messages: Sequence[ServiceBusReceivedMessage]) -> None:
    """Give messages back: they come again at once, with a higher delivery count. Raises what the SDK raises."""
    results = await asyncio.gather(*map(receiver.abandon_message, messages), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def _runs(messages: Sequence[ServiceBusReceivedMessage]) -> Iterator[tuple[int, int, list[bytes]]]:
    """Cut a batch where delivery ids are not consecutive: the SDK may have handed back one in between."""
    deliveries: list[tuple[int, bytes]] = sorted(_delivery(message) for message in messages)
    for _, run in itertools.groupby(enumerate(deliveries), key=lambda item: item[1][0] - item[0]):
        found = [delivery for _, delivery in run]
        yield found[0][0], found[-1][0], [tag for _, tag in found]


def _delivery(message: ServiceBusReceivedMessage) -> tuple[int, bytes]:
    internals: Any = message
    return internals._delivery_id, internals._delivery_tag
