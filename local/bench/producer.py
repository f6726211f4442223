"""Posts a burst, as Dynamics would: a process of its own, so that producing is not counted as the app's work.

`python -m local.bench.producer --records N --order import`, with the broker's connection string on the first line of
its input. It builds and encodes everything, prints READY, waits for another line, sends as fast as the unmodified SDK
can, and prints one line of JSON: [[seconds since the epoch, number of changes], …], one pair per batch, in order.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator
from uuid import UUID

from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch
from azure.servicebus.aio import ServiceBusClient, ServiceBusSender
from azure.servicebus.exceptions import MessageSizeExceededError

from emulators.dataverse.notifications import Notification, Origin, notification
from emulators.processes import die_with_parent
from local.bench.population import ORDERS, ordered_changes, world_of
from local.queues import INTAKE
from local.world.model import Reference, World

#: Service Bus, Standard tier: 256 KB for a batch. The SDK (7.15.0) fills batches up to that without counting the
#: properties of the envelope, which it copies from the first message.
BATCH_BYTES = 255 * 1024
#: Application properties, of the types that AMQP allows.
Properties = dict[str | bytes, int | float | bytes | bool | str | UUID]


def created(world: World, change: Reference) -> Notification:
    """The notification of the row's Create."""
    table, row_id = change
    return notification("Create", table, world.rows[table][row_id], Origin(at=time.time()))


def message(posted: Notification) -> ServiceBusMessage:
    """The message that carries a notification."""
    return ServiceBusMessage(
        posted.json(),
        content_type="application/json",
        correlation_id=posted.context["CorrelationId"],
        application_properties=Properties(posted.properties().items()),
    )


async def _batches(sender: ServiceBusSender, messages: Iterator[ServiceBusMessage]) -> list[ServiceBusMessageBatch]:
    """Encode all messages into batches as large as the broker takes."""
    batches = [await sender.create_message_batch(BATCH_BYTES)]
    for each in messages:
        try:
            batches[-1].add_message(each)
        except MessageSizeExceededError:
            batches.append(await sender.create_message_batch(BATCH_BYTES))
            batches[-1].add_message(each)
    return batches


async def _post(world: World, order: str, connection_string: str) -> None:
    async with (
        ServiceBusClient.from_connection_string(connection_string) as client,
        client.get_queue_sender(INTAKE) as sender,
    ):
        changes = ordered_changes(world, order)
        batches = await _batches(sender, (message(created(world, change)) for change in changes))
        _say("READY {}")
        await asyncio.to_thread(sys.stdin.readline)
        sent = []
        for batch in batches:
            sent.append((time.time(), len(batch)))
            await sender.send_messages(batch)
        _say(json.dumps(sent))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Run the producer."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m local.bench.producer", description=__doc__)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--order", choices=ORDERS, required=True)
    options = parser.parse_args()
    asyncio.run(_post(world_of(options.records), options.order, sys.stdin.readline().strip()))


if __name__ == "__main__":
    main()
