"""What the platform's scale controller sees of a queue: whether an app that sleeps is woken depends on it."""

from collections.abc import Awaitable, Callable

from azure.core.exceptions import ClientAuthenticationError
from azure.servicebus import ServiceBusMessageState
from azure.servicebus.aio import ServiceBusReceiver

#: How many messages it looks at, from the head of the queue on, when the first one is not active.
PEEKED = 10


async def work_seen(receiver: ServiceBusReceiver, active_messages: Callable[[], Awaitable[int]]) -> int:
    """How many messages of a queue the scale controller counts: an app at zero is woken by one.

    It peeks the first message, then ten from there, and looks for one that is active: scheduled messages stand in the
    same order and do not count. `active_messages` asks for the queue's counts, which needs the right to read them
    (Manage, or the role Data Owner); who lacks it (ClientAuthenticationError) goes by what was peeked, which is one
    or none. (azure-sdk-for-net, ServiceBusMetricsProvider.)
    """
    head = await receiver.peek_messages(1)
    if head and head[0].state is not ServiceBusMessageState.ACTIVE:
        head = await receiver.peek_messages(PEEKED, sequence_number=head[0].sequence_number or 0)
    peeked = int(any(message.state is ServiceBusMessageState.ACTIVE for message in head))
    try:
        return await active_messages() or peeked
    except ClientAuthenticationError:
        return peeked
