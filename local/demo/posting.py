"""Posts notifications: to the queue with the unmodified SDK, and to the webhook."""

import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.exceptions import MessageSizeExceededError

from local.demo.script import Posting

WEBHOOK_TIMEOUT = 30.0
#: The SDK's own sum of a batch is some bytes too low: this keeps below the broker's 256 KB.
BATCH_BYTES = 250 * 1024


async def post(endpoints: Mapping[str, Any], postings: Sequence[Posting], sent: Callable[[Counter[str]], None]) -> None:
    """Send the messages in their order, in batches as large as the broker takes.

    `sent` is told after each batch how many messages of each entity were in it.
    """
    bus = endpoints["service_bus"]
    async with (
        ServiceBusClient.from_connection_string(bus["connection_string"]) as client,
        client.get_queue_sender(bus["queues"]["changes"]) as sender,
    ):
        batch = await sender.create_message_batch(BATCH_BYTES)
        counts: Counter[str] = Counter()
        for posting in postings:
            message = _message(posting)
            try:
                batch.add_message(message)
            except MessageSizeExceededError:
                await sender.send_messages(batch)
                sent(counts)
                batch, counts = await sender.create_message_batch(BATCH_BYTES), Counter()
                batch.add_message(message)
            counts[posting.entity] += 1
        await sender.send_messages(batch)
        sent(counts)


def _message(posting: Posting) -> ServiceBusMessage:
    return ServiceBusMessage(
        posting.body,
        content_type=posting.content_type,
        correlation_id=posting.correlation_id or None,
        application_properties=dict(posting.properties.items()),
    )


async def post_webhooks(endpoints: Mapping[str, Any], postings: Sequence[Posting]) -> Counter[int]:
    """Send these to the webhook, then one that is not JSON and one without the key; count the answers by status."""
    functions = endpoints["functions"]
    address = f"{functions['url']}/api/receive_webhook"
    headers = {"Content-Type": "application/json"}
    key = {"code": functions["webhook_key"]}
    statuses: Counter[int] = Counter()
    tls = ssl.create_default_context(cafile=endpoints["ca_bundle"])
    async with httpx.AsyncClient(trust_env=False, verify=tls, timeout=WEBHOOK_TIMEOUT, headers=headers) as client:
        for posting in postings:
            statuses[(await client.post(address, params=key, content=posting.body)).status_code] += 1
        statuses[(await client.post(address, params=key, content="no JSON")).status_code] += 1
        statuses[(await client.post(address, content=postings[0].body)).status_code] += 1
    return statuses
