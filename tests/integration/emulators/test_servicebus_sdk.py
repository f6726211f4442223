"""The unmodified azure-servicebus SDK against the emulator: messages without sessions."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from azure.servicebus import ServiceBusClient as SyncServiceBusClient
from azure.servicebus import (
    ServiceBusMessage,
    ServiceBusMessageBatch,
    ServiceBusMessageState,
    ServiceBusReceiveMode,
    ServiceBusSubQueue,
)
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.amqp import AmqpAnnotatedMessage
from azure.servicebus.exceptions import (
    MessageLockLostError,
    MessageNotFoundError,
    MessageSizeExceededError,
    MessagingEntityDisabledError,
    MessagingEntityNotFoundError,
    ServiceBusAuthenticationError,
    ServiceBusError,
)

from emulators.servicebus.harness import Emulator, die_holding
from emulators.servicebus.settings import QueueSettings, QueueStatus
from tests.support.service_bus import WAIT, receive, send

SHORT_LOCK = 1.0

QUEUES = [
    *[QueueSettings(f"q{number}") for number in range(12)],
    QueueSettings("short", lock_seconds=SHORT_LOCK, max_delivery_count=2),
    QueueSettings("no-sends", status=QueueStatus.SEND_DISABLED),
    QueueSettings("no-receives", status=QueueStatus.RECEIVE_DISABLED),
    QueueSettings("refused"),
    *[QueueSettings(f"given-back-{number}", lock_seconds=60) for number in range(16)],
    QueueSettings("nested"),
]


def parts_of(batch: ServiceBusMessageBatch) -> list[bytes]:
    """The data sections of the SDK's batch."""
    parts: list[bytes] = batch._message[5]
    return parts


async def test_a_message_comes_as_it_was_sent(client: ServiceBusClient) -> None:
    sent = ServiceBusMessage(
        '{"a": 1}', content_type="application/json", correlation_id="c", message_id="m", subject="s",
        application_properties={"number": 5, "text": "ü"}, time_to_live=timedelta(hours=1),
    )  # fmt: skip
    async with client.get_queue_sender("q0") as sender:
        await sender.send_messages(sent)
    async with client.get_queue_receiver("Q0") as receiver:
        (message,) = await receive(receiver)
        assert str(message) == '{"a": 1}'
        assert (message.content_type, message.correlation_id, message.message_id) == ("application/json", "c", "m")
        assert (message.subject, message.time_to_live, message.delivery_count) == ("s", timedelta(hours=1), 0)
        assert message.application_properties == {b"number": 5, b"text": "ü".encode()}
        assert message.enqueued_time_utc is not None
        assert abs((datetime.now(UTC) - message.enqueued_time_utc).total_seconds()) < WAIT
        await receiver.complete_message(message)
        assert not await receiver.peek_messages(sequence_number=1)


@pytest.mark.parametrize("part", [b"", b"garbage", b"\x00\x53\x75\xa0\x09short"])
async def test_a_batch_with_an_invalid_part_is_refused_as_a_whole(client: ServiceBusClient, part: bytes) -> None:
    async with client.get_queue_sender("refused") as sender, client.get_queue_receiver("refused") as receiver:
        batch = await sender.create_message_batch()
        batch.add_message(ServiceBusMessage("good"))
        parts_of(batch).append(part)
        with pytest.raises(ServiceBusError):
            await sender.send_messages(batch)
        assert not await receiver.peek_messages(sequence_number=1)


async def test_a_message_whose_body_is_messages_is_not_taken_for_a_batch(client: ServiceBusClient) -> None:
    batch = ServiceBusMessageBatch(max_size_in_bytes=10_000)
    for text in ("one", "two"):
        batch.add_message(ServiceBusMessage(text))
    parts = [bytes(part) for part in parts_of(batch)]
    async with client.get_queue_sender("nested") as sender, client.get_queue_receiver("nested") as receiver:
        await sender.send_messages(AmqpAnnotatedMessage(data_body=parts))
        (message,) = await receive(receiver)
        assert list(message.body) == parts
        await receiver.complete_message(message)
        assert not await receiver.peek_messages(sequence_number=1)


async def test_waiting_messages_come_once_and_in_order(client: ServiceBusClient) -> None:
    for start in range(0, 300, 100):
        await send(client, "q1", *map(str, range(start, start + 100)))
    async with client.get_queue_receiver("q1") as receiver:
        for start in range(0, 300, 100):
            batch = await receive(receiver, 100)  # the SDK gives out what has come so far
            assert [str(message) for message in batch] == [str(number) for number in range(start, start + 100)]
            await asyncio.gather(*map(receiver.complete_message, batch))
        assert not await receiver.peek_messages(sequence_number=1)


async def test_a_lone_message_reaches_a_waiting_receiver_at_once(client: ServiceBusClient) -> None:
    async with client.get_queue_receiver("q2") as receiver, client.get_queue_sender("q2") as sender:
        delays = []
        for _ in range(5):
            waiting = asyncio.create_task(receiver.receive_messages(1, max_wait_time=WAIT))
            await asyncio.sleep(0.05)  # nobody tells that a receiver waits: the best of five does
            sent_at = time.perf_counter()
            await sender.send_messages(ServiceBusMessage("ping"))
            (message,) = await waiting
            delays.append(time.perf_counter() - sent_at)
            await receiver.complete_message(message)
        # The best of a few: the machine may be busy with other things.
        assert min(delays) < 0.05


async def test_every_way_to_settle_a_message(client: ServiceBusClient) -> None:
    await send(client, "q3", "complete", "abandon", "dead-letter", "defer")
    async with client.get_queue_receiver("q3") as receiver:
        complete, abandon, dead_letter, defer = await receive(receiver, 4)
        await receiver.complete_message(complete)
        await receiver.abandon_message(abandon)
        await receiver.dead_letter_message(dead_letter, reason="why", error_description="in words")
        await receiver.defer_message(defer)

        (again,) = await receive(receiver)
        assert (str(again), again.delivery_count) == ("abandon", 1)
        await receiver.renew_message_lock(again)
        await receiver.complete_message(again)

        (peeked,) = await receiver.peek_messages(10)
        assert (str(peeked), peeked.state) == ("defer", ServiceBusMessageState.DEFERRED)
        assert defer.sequence_number is not None
        (deferred,) = await receiver.receive_deferred_messages(defer.sequence_number)
        await receiver.complete_message(deferred)
        with pytest.raises(MessageNotFoundError):
            await receiver.receive_deferred_messages(defer.sequence_number)

    async with client.get_queue_receiver("q3", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
        (dead,) = await receive(receiver)
        assert (str(dead), dead.dead_letter_reason, dead.dead_letter_error_description) == (
            "dead-letter", "why", "in words",
        )  # fmt: skip
        await receiver.complete_message(dead)


async def test_receive_and_delete_removes_what_it_hands_out(client: ServiceBusClient) -> None:
    await send(client, "q4", "once")
    mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
    async with client.get_queue_receiver("q4", receive_mode=mode) as receiver:
        assert [str(message) for message in await receive(receiver)] == ["once"]
    async with client.get_queue_receiver("q4") as receiver:
        assert not await receiver.peek_messages(sequence_number=1)


async def test_a_lock_that_expired_is_lost_and_too_many_deliveries_dead_letter(client: ServiceBusClient) -> None:
    await send(client, "short", "slow")
    async with client.get_queue_receiver("short") as receiver:
        (first,) = await receive(receiver)
        (second,) = await receive(receiver)
        assert second.delivery_count == 1
        with pytest.raises(MessageLockLostError):
            await receiver.complete_message(first)
        # The SDK checks its own clock first; this makes it believe that the lock is still held.
        first._expiry = datetime.now(UTC) + timedelta(minutes=1)
        with pytest.raises(MessageLockLostError):
            await receiver.complete_message(first)
        await receiver.abandon_message(second)
    async with client.get_queue_receiver("short", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
        (dead,) = await receive(receiver)
        assert dead.dead_letter_reason == "MaxDeliveryCountExceeded"
        await receiver.complete_message(dead)


async def test_message_locks_of_a_dead_client_expire_in_time(client: ServiceBusClient, emulator: Emulator) -> None:
    await send(client, "short", "orphan")
    locked_at = await die_holding(emulator, "short")
    async with client.get_queue_receiver("short") as receiver:
        (message,) = await receive(receiver)
        assert time.monotonic() - locked_at > SHORT_LOCK - 0.3
        assert message.delivery_count == 1
        await receiver.complete_message(message)


async def test_scheduled_messages_come_when_they_are_due(client: ServiceBusClient) -> None:
    due = datetime.now(UTC) + timedelta(seconds=4)
    async with client.get_queue_sender("q5") as sender:
        (far,) = await sender.schedule_messages(ServiceBusMessage("far"), due + timedelta(hours=1))
        await sender.send_messages(
            [ServiceBusMessage(f"annotated {n}", scheduled_enqueue_time_utc=due) for n in range(60)]
        )
        numbers = await sender.schedule_messages([ServiceBusMessage(f"scheduled {n}") for n in range(41)], due)
        await sender.cancel_scheduled_messages(numbers[0])
        with pytest.raises(MessageNotFoundError):
            await sender.cancel_scheduled_messages(numbers[0])
    async with client.get_queue_receiver("q5") as receiver:
        peeked = await receiver.peek_messages(1)
        assert (str(peeked[0]), peeked[0].state) == ("far", ServiceBusMessageState.SCHEDULED)
        batch = await receive(receiver, 100)
        assert datetime.now(UTC) >= due
        await asyncio.gather(*map(receiver.complete_message, batch))
    async with client.get_queue_sender("q5") as sender:
        await sender.cancel_scheduled_messages(far)


async def test_closing_a_receiver_gives_back_what_it_did_not_look_at(client: ServiceBusClient) -> None:
    await send(client, "q6", *map(str, range(5)))
    async with client.get_queue_receiver("q6", prefetch_count=10) as receiver:
        (first,) = await receive(receiver)
        await receiver.complete_message(first)
    async with client.get_queue_receiver("q6") as receiver:
        rest = await receive(receiver, 4)
        assert [(str(message), message.delivery_count) for message in rest] == [(str(n), 0) for n in range(1, 5)]


async def test_what_is_too_large_is_refused(client: ServiceBusClient) -> None:
    async with client.get_queue_sender("q7") as sender:
        with pytest.raises(MessageSizeExceededError):
            await sender.send_messages(ServiceBusMessage("x" * 256 * 1024))
        batch = await sender.create_message_batch()
        assert batch.max_size_in_bytes == 256 * 1024
        await sender.send_messages(ServiceBusMessage("x" * 250 * 1024))
    async with client.get_queue_receiver("q7") as receiver:
        (message,) = await receive(receiver)
        assert len(str(message)) == 250 * 1024
        await receiver.complete_message(message)


async def test_an_unknown_queue_is_not_found(client: ServiceBusClient) -> None:
    with pytest.raises(MessagingEntityNotFoundError):
        await send(client, "nowhere", "x")
    with pytest.raises(MessagingEntityNotFoundError):
        async with client.get_queue_receiver("nowhere") as receiver:
            await receiver.receive_messages(1, max_wait_time=WAIT)


async def test_a_disabled_direction_is_refused(client: ServiceBusClient) -> None:
    with pytest.raises(MessagingEntityDisabledError):
        await send(client, "no-sends", "x")
    await send(client, "no-receives", "x")
    with pytest.raises(MessagingEntityDisabledError):
        async with client.get_queue_receiver("no-receives") as receiver:
            await receiver.receive_messages(1, max_wait_time=WAIT)


async def test_a_session_receiver_on_a_queue_without_sessions_is_refused(client: ServiceBusClient) -> None:
    with pytest.raises(ServiceBusError, match="does not require sessions"):
        async with client.get_queue_receiver("q8", session_id="s") as receiver:
            await receiver.receive_messages(1, max_wait_time=WAIT)


async def test_a_wrong_key_is_refused(emulator: Emulator) -> None:
    wrong = emulator.connection_string.replace("SharedAccessKey=", "SharedAccessKey=not-")
    async with ServiceBusClient.from_connection_string(wrong, retry_total=0) as client:
        with pytest.raises(ServiceBusAuthenticationError):
            await send(client, "q8", "x")


def test_the_synchronous_client_works_too(emulator: Emulator) -> None:
    with (
        SyncServiceBusClient.from_connection_string(emulator.connection_string) as client,
        client.get_queue_sender("q9") as sender,
        client.get_queue_receiver("q9", max_wait_time=WAIT) as receiver,
    ):
        sender.send_messages([ServiceBusMessage("a"), ServiceBusMessage("b")])
        for expected in ("a", "b"):
            message = next(receiver)
            assert str(message) == expected
            receiver.complete_message(message)


async def test_what_is_abandoned_just_before_the_link_closes_is_free_for_others(client: ServiceBusClient) -> None:
    async def given_back(queue: str) -> int:
        await send(client, queue, "a", "b")
        async with client.get_queue_receiver(queue) as receiver:
            # More credit than there are messages: what is abandoned is on its way to this link again.
            received = await receiver.receive_messages(100, max_wait_time=WAIT)
            await asyncio.gather(*map(receiver.abandon_message, received))
        async with client.get_queue_receiver(queue) as receiver:
            return len(await receiver.receive_messages(2, max_wait_time=WAIT))

    assert await asyncio.gather(*(given_back(f"given-back-{number}") for number in range(16))) == [2] * 16
