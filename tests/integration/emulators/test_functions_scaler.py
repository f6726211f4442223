"""What wakes an app that the platform has scaled to zero: the scale controller's rule, on the emulator."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.core.pipeline.transport import RequestsTransport
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.management import ServiceBusAdministrationClient

from emulators.certificates import Certificates
from emulators.functions.scaler import work_seen
from emulators.servicebus import connection_string
from emulators.servicebus.harness import Emulator, running_emulator
from emulators.servicebus.settings import QueueSettings

QUEUES = [QueueSettings("plain", lock_seconds=300), QueueSettings("sessions", sessions=True, lock_seconds=300)]
#: The app's identity as it was: it may send and receive. Data Owner may read the counts as well.
SENDS_AND_RECEIVES, OWNS = "SendAndListen", "RootManageSharedAccessKey"


@pytest.fixture
async def emulator(tmp_path: Path, tls: Certificates) -> AsyncIterator[Emulator]:
    """One for each test: its queues are empty."""
    async with running_emulator(tmp_path, QUEUES, cert=tls.certificate, key=tls.key) as running:
        yield running


async def send(emulator: Emulator, queue: str, session: str | None, *, scheduled: int, active: int) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    messages = [ServiceBusMessage("later", session_id=session, scheduled_enqueue_time_utc=later)] * scheduled
    async with (
        ServiceBusClient.from_connection_string(emulator.connection_string) as client,
        client.get_queue_sender(queue) as sender,
    ):
        await sender.send_messages([*messages, *[ServiceBusMessage("now", session_id=session)] * active])


async def seen(emulator: Emulator, tls: Certificates, queue: str, session: str | None, policy: str) -> int:
    """What the scale controller sees with the rights of this policy."""
    connection = connection_string(emulator.port, policy)
    transport = RequestsTransport(connection_verify=str(tls.bundle))
    administration = ServiceBusAdministrationClient.from_connection_string(
        connection, transport=transport, retry_total=0
    )

    async def active_messages() -> int:
        return int(administration.get_queue_runtime_properties(queue).active_message_count or 0)

    with administration:
        async with (
            ServiceBusClient.from_connection_string(connection) as client,
            client.get_queue_receiver(queue, session_id=session) as receiver,
        ):
            return await work_seen(receiver, active_messages)


@pytest.mark.parametrize(("queue", "session"), [("plain", None), ("sessions", "person")])
@pytest.mark.parametrize(
    ("scheduled", "active", "peeked"),
    [
        (0, 0, 0),
        (0, 500, 1),
        (9, 500, 1),
        (10, 500, 0),  # ten messages that come later hide all that could be worked on now
    ],
)
async def test_scheduled_messages_hide_work_from_a_scaler_that_may_not_read_counts(
    emulator: Emulator, tls: Certificates, *, queue: str, session: str | None, scheduled: int, active: int, peeked: int
) -> None:
    await send(emulator, queue, session, scheduled=scheduled, active=active)
    assert await seen(emulator, tls, queue, session, SENDS_AND_RECEIVES) == peeked
    assert await seen(emulator, tls, queue, session, OWNS) == active
