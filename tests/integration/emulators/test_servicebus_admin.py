"""The unmodified ServiceBusAdministrationClient against the emulator, on the same port as AMQP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.exceptions import MessagingEntityDisabledError, MessagingEntityNotFoundError
from azure.servicebus.management import EntityStatus, ServiceBusAdministrationClient

from emulators.certificates import Certificates
from emulators.servicebus.harness import Emulator
from emulators.servicebus.settings import QueueSettings

WAIT = 5.0

QUEUES = [*[QueueSettings(f"q{number}") for number in range(6)], QueueSettings("sessions", sessions=True)]


def administration(connection_string: str, tls: Certificates) -> ServiceBusAdministrationClient:
    transport = RequestsTransport(connection_verify=str(tls.bundle))
    return ServiceBusAdministrationClient.from_connection_string(connection_string, transport=transport, retry_total=0)


async def test_counts_tell_active_scheduled_and_dead_letters_apart(emulator: Emulator, tls: Certificates) -> None:
    async with ServiceBusClient.from_connection_string(emulator.connection_string) as client:
        async with client.get_queue_sender("q0") as sender:
            await sender.send_messages([ServiceBusMessage("x") for _ in range(5)])
            later = datetime.now(UTC) + timedelta(hours=1)
            await sender.schedule_messages([ServiceBusMessage("y") for _ in range(2)], later)
        async with client.get_queue_receiver("q0") as receiver:
            first, second, *_ = await receiver.receive_messages(3, max_wait_time=WAIT)
            await receiver.dead_letter_message(first)
            await receiver.complete_message(second)
    with administration(emulator.connection_string, tls) as admin:
        counts = admin.get_queue_runtime_properties("q0")
        assert (counts.active_message_count, counts.scheduled_message_count) == (3, 2)
        assert (counts.dead_letter_message_count, counts.total_message_count) == (1, 6)
        assert (counts.transfer_message_count, counts.transfer_dead_letter_message_count) == (0, 0)
        assert counts.size_in_bytes is not None
        assert counts.size_in_bytes > 6


def test_queues_are_listed_in_pages(emulator: Emulator, tls: Certificates) -> None:
    with administration(emulator.connection_string, tls) as admin:
        names = [queue.name for queue in admin.list_queues(max_page_size=3)]
        assert {queue.name for queue in QUEUES} <= set(names)
        assert len(names) == len(set(names))
        counts = {queue.name: queue.active_message_count for queue in admin.list_queues_runtime_properties()}
        assert counts["q5"] == 0


def test_a_queue_is_created_changed_and_deleted(emulator: Emulator, tls: Certificates) -> None:
    with administration(emulator.connection_string, tls) as admin:
        created = admin.create_queue(
            "new/queue",
            requires_session=True,
            requires_duplicate_detection=True,
            duplicate_detection_history_time_window=timedelta(seconds=30),
            lock_duration="PT1M30S",
        )
        assert created.lock_duration == timedelta(seconds=90)
        with pytest.raises(ResourceExistsError):
            admin.create_queue("New/Queue")

        queue = admin.get_queue("new/queue")
        assert (queue.requires_session, queue.requires_duplicate_detection) == (True, True)
        queue.max_delivery_count = 3
        queue.default_message_time_to_live = timedelta(days=14)
        queue.dead_lettering_on_message_expiration = True
        admin.update_queue(queue)
        queue = admin.get_queue("new/queue")
        assert (queue.max_delivery_count, queue.default_message_time_to_live) == (3, timedelta(days=14))
        assert queue.dead_lettering_on_message_expiration

        queue.requires_session = False
        with pytest.raises(HttpResponseError, match="RequiresSession"):
            admin.update_queue(queue)
        admin.delete_queue("new/queue")
        with pytest.raises(ResourceNotFoundError):
            admin.get_queue("new/queue")
        with pytest.raises(ResourceNotFoundError):
            admin.delete_queue("new/queue")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("forward_to", "q1"), ("forward_dead_lettered_messages_to", "q1"),
        ("auto_delete_on_idle", timedelta(hours=1)), ("enable_partitioning", True),
    ],
)  # fmt: skip
def test_what_the_emulator_lacks_is_refused(emulator: Emulator, tls: Certificates, name: str, value: Any) -> None:
    with (
        administration(emulator.connection_string, tls) as admin,
        pytest.raises(HttpResponseError, match="This emulator has no"),
    ):
        admin.create_queue("unsupported", **{name: value})


def test_a_lock_of_more_than_five_minutes_is_refused(emulator: Emulator, tls: Certificates) -> None:
    with administration(emulator.connection_string, tls) as admin:
        queue = admin.get_queue("q1")
        queue.lock_duration = timedelta(minutes=6)
        with pytest.raises(HttpResponseError, match="lock_seconds"):
            admin.update_queue(queue)


async def test_disabling_ends_open_links_until_it_is_enabled_again(emulator: Emulator, tls: Certificates) -> None:
    def set_status(status: EntityStatus) -> None:
        queue = admin.get_queue("q2")
        queue.status = status
        admin.update_queue(queue)
        assert admin.get_queue("q2").status == status

    with administration(emulator.connection_string, tls) as admin:
        async with ServiceBusClient.from_connection_string(emulator.connection_string, retry_total=0) as client:
            async with client.get_queue_receiver("q2") as receiver, client.get_queue_sender("q2") as sender:
                assert not await receiver.receive_messages(1, max_wait_time=0.5)
                set_status(EntityStatus.RECEIVE_DISABLED)
                await sender.send_messages(ServiceBusMessage("kept"))
                with pytest.raises(MessagingEntityDisabledError):
                    await receiver.receive_messages(1, max_wait_time=WAIT)
                set_status(EntityStatus.SEND_DISABLED)
                with pytest.raises(MessagingEntityDisabledError):
                    await sender.send_messages(ServiceBusMessage("refused"))
            set_status(EntityStatus.ACTIVE)
            async with client.get_queue_receiver("q2") as receiver:
                (message,) = await receiver.receive_messages(1, max_wait_time=WAIT)
                assert str(message) == "kept"
                await receiver.complete_message(message)


async def test_deleting_a_queue_ends_its_links(emulator: Emulator, tls: Certificates) -> None:
    async with (
        ServiceBusClient.from_connection_string(emulator.connection_string, retry_total=0) as client,
        client.get_queue_receiver("q3") as receiver,
        client.get_queue_sender("q3") as sender,
    ):
        assert not await receiver.receive_messages(1, max_wait_time=0.5)
        with administration(emulator.connection_string, tls) as admin:
            admin.delete_queue("q3")
        with pytest.raises(MessagingEntityNotFoundError):
            await receiver.receive_messages(1, max_wait_time=WAIT)
        with pytest.raises(MessagingEntityNotFoundError):
            await sender.send_messages(ServiceBusMessage("x"))


def test_a_wrong_key_is_refused(emulator: Emulator, tls: Certificates) -> None:
    wrong = emulator.connection_string.replace("SharedAccessKey=", "SharedAccessKey=not-")
    with administration(wrong, tls) as admin, pytest.raises(ClientAuthenticationError):
        admin.get_queue("q0")


def test_plain_http_works_on_the_same_port(emulator: Emulator) -> None:
    assert httpx.get(f"http://127.0.0.1:{emulator.port}/q0", trust_env=False).status_code == 401
