"""The unmodified azure-servicebus SDK against the emulator: looking into session queues without taking anything."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusMessage, ServiceBusMessageState, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.exceptions import SessionCannotBeLockedError

from emulators.servicebus.harness import Emulator
from emulators.servicebus.settings import QueueSettings
from tests.support.service_bus import WAIT, send

QUEUES = [QueueSettings(f"p{number}", sessions=True) for number in range(5)]
# A refusal by the emulator takes milliseconds; any waiting of its own would last longer than this.
PROMPTLY = 2.0
# The SDK's receiver looks on from the last message it got unless it is told where to start.
FROM_THE_START = 1


async def test_a_session_receiver_peeks_its_own_session_whatever_the_messages_state(client: ServiceBusClient) -> None:
    await send(client, "p0", "locked", "deferred", "ready", session="A")
    await send(client, "p0", "other", session="B")
    async with client.get_queue_sender("p0") as sender:
        later = datetime.now(UTC) + timedelta(hours=1)
        await sender.schedule_messages(ServiceBusMessage("scheduled", session_id="A"), later)
    async with client.get_queue_receiver("p0", session_id="A") as receiver:
        _, deferred = await receiver.receive_messages(2, max_wait_time=WAIT)
        await receiver.defer_message(deferred)
        peeked = await receiver.peek_messages(10, sequence_number=FROM_THE_START)
        assert [(str(message), message.session_id) for message in peeked] == [
            ("locked", "A"), ("deferred", "A"), ("ready", "A"), ("scheduled", "A"),
        ]  # fmt: skip
        states = [message.state for message in peeked]
        assert states[1:] == [
            ServiceBusMessageState.DEFERRED, ServiceBusMessageState.ACTIVE, ServiceBusMessageState.SCHEDULED,
        ]  # fmt: skip
        assert {message.delivery_count for message in peeked[2:]} == {0}
        rest = await receiver.peek_messages(10, sequence_number=peeked[2].sequence_number or 0)
        assert [str(message) for message in rest] == ["ready", "scheduled"]


async def test_peeking_takes_nothing_away(client: ServiceBusClient) -> None:
    await send(client, "p1", "one", "two", session="S")
    async with client.get_queue_receiver("p1", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=WAIT) as receiver:
        for _ in range(3):
            peeked = await receiver.peek_messages(10, sequence_number=FROM_THE_START)
            assert [str(message) for message in peeked] == ["one", "two"]
        received = await receiver.receive_messages(10, max_wait_time=WAIT)
        assert [(str(message), message.delivery_count) for message in received] == [("one", 0), ("two", 0)]
        for message in received:
            await receiver.complete_message(message)
        assert await receiver.peek_messages(10, sequence_number=FROM_THE_START) == []


async def test_the_dead_letters_of_a_session_queue_are_peeked_without_a_session(client: ServiceBusClient) -> None:
    for session in ("A", "B"):
        await send(client, "p2", session.lower(), session=session)
        async with client.get_queue_receiver("p2", session_id=session) as receiver:
            (message,) = await receiver.receive_messages(1, max_wait_time=WAIT)
            await receiver.dead_letter_message(message, reason="why", error_description=f"because of {session}")
    async with client.get_queue_receiver("p2", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
        for _ in range(2):
            dead = await receiver.peek_messages(10, sequence_number=FROM_THE_START)
            assert [(str(message), message.session_id, message.dead_letter_reason) for message in dead] == [
                ("a", "A", "why"),
                ("b", "B", "why"),
            ]
            assert dead[0].dead_letter_error_description == "because of A"
            assert dead[0].application_properties == {
                b"DeadLetterReason": b"why",
                b"DeadLetterErrorDescription": b"because of A",
            }


async def test_a_session_that_is_held_refuses_others_promptly(client: ServiceBusClient, emulator: Emulator) -> None:
    await send(client, "p3", "one", session="S")
    async with (
        client.get_queue_receiver("p3", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=WAIT) as holder,
        ServiceBusClient.from_connection_string(emulator.connection_string, retry_total=0) as other,
    ):
        (message,) = await holder.receive_messages(1, max_wait_time=WAIT)
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(SessionCannotBeLockedError):
                async with other.get_queue_receiver("p3", session_id="S", max_wait_time=60):
                    pass
            assert time.monotonic() - started < PROMPTLY
        # A refusal leaves the holder alone.
        await holder.complete_message(message)
    async with client.get_queue_receiver("p3", session_id="S", max_wait_time=WAIT) as receiver:
        assert await receiver.peek_messages(10, sequence_number=FROM_THE_START) == []
