"""Messages of the SDK: sent to a queue, and received until all have come."""

from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver

#: Seconds within which a message comes that is there.
WAIT = 5.0


async def send(client: ServiceBusClient, queue: str, *bodies: str, session: str | None = None) -> None:
    """Send messages with these bodies in one call."""
    async with client.get_queue_sender(queue) as sender:
        await sender.send_messages([ServiceBusMessage(body, session_id=session) for body in bodies])


async def receive(receiver: ServiceBusReceiver, count: int = 1) -> list[ServiceBusReceivedMessage]:
    """Receive until so many messages have come."""
    received: list[ServiceBusReceivedMessage] = []
    while len(received) < count:
        more = await receiver.receive_messages(count - len(received), max_wait_time=WAIT)
        assert more, f"only {len(received)} of {count} messages came"
        received += more
    return received
