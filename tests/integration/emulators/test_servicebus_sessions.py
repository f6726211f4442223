"""The unmodified azure-servicebus SDK against the emulator: sessions."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
from azure.servicebus.exceptions import (
    OperationTimeoutError,
    ServiceBusError,
    SessionLockLostError,
)

from emulators.servicebus.harness import Emulator, die_holding
from emulators.servicebus.settings import QueueSettings
from tests.support.service_bus import WAIT, send

SHORT_LOCK = 1.5

QUEUES = [
    *[QueueSettings(f"s{number}", sessions=True) for number in range(8)],
    QueueSettings("short", sessions=True, lock_seconds=SHORT_LOCK),
]


def next_session(client: ServiceBusClient, queue: str, wait: float = WAIT) -> ServiceBusReceiver:
    return client.get_queue_receiver(queue, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=wait)


async def test_the_next_available_session_is_accepted_and_its_messages_come_in_order(client: ServiceBusClient) -> None:
    await send(client, "s0", "a1", "a2", session="A")
    await send(client, "s0", "b1", session="B")
    async with next_session(client, "s0") as first, next_session(client, "s0") as second:
        assert (first.session.session_id, second.session.session_id) == ("A", "B")
        messages = await first.receive_messages(10, max_wait_time=WAIT)
        assert [(str(message), message.session_id) for message in messages] == [("a1", "A"), ("a2", "A")]
        for message in messages:
            await first.complete_message(message)
        assert not await first.receive_messages(1, max_wait_time=0.5)
        (other,) = await second.receive_messages(10, max_wait_time=WAIT)
        await second.complete_message(other)


async def test_a_waiting_receiver_gets_the_session_that_appears(client: ServiceBusClient) -> None:
    receiver = next_session(client, "s1")
    waiting = asyncio.create_task(receiver.receive_messages(1, max_wait_time=WAIT))
    await asyncio.sleep(0.5)  # nobody tells that a receiver waits; if it does not yet, nothing fails
    assert not waiting.done()
    await send(client, "s1", "hello", session="new")
    async with receiver:
        assert [str(message) for message in await waiting] == ["hello"]
        assert receiver.session.session_id == "new"


async def test_waiting_for_a_session_ends_and_who_left_gets_none(client: ServiceBusClient) -> None:
    started = time.monotonic()
    with pytest.raises(OperationTimeoutError):
        async with next_session(client, "s2", wait=0.5):
            pass
    assert 0.4 < time.monotonic() - started < WAIT
    await send(client, "s2", "x", session="S")
    async with next_session(client, "s2") as receiver:
        assert receiver.session.session_id == "S"


@pytest.mark.parametrize("shares_connection", [False, True])
async def test_only_its_holder_renews_and_reads_a_session(emulator: Emulator, shares_connection: bool) -> None:
    """The other one holds a session too, and asks for what is not its own, on the same connection or another."""
    mine, yours = f"mine-{shares_connection}", f"yours-{shares_connection}"
    async with ServiceBusClient.from_connection_string(emulator.connection_string, retry_total=0) as opened:
        opened._connection_sharing = shares_connection
        async with (
            opened.get_queue_receiver("s3", session_id=mine) as holder,
            opened.get_queue_receiver("s3", session_id=yours) as intruder,
        ):
            await holder.session.set_state("secret")
            before = await holder.session.renew_lock()
            intruder.session._session_id = mine
            for attempt in (intruder.session.renew_lock, intruder.session.get_state):
                with pytest.raises(SessionLockLostError):
                    await attempt()
            with pytest.raises(SessionLockLostError):
                await intruder.session.set_state("changed")
            assert await holder.session.get_state() == b"secret"
            assert await holder.session.renew_lock() >= before


async def test_closing_gives_the_session_and_its_messages_back_at_once(client: ServiceBusClient) -> None:
    await send(client, "s4", "one", session="S")
    async with client.get_queue_receiver("s4", session_id="S") as receiver:
        assert len(await receiver.receive_messages(1, max_wait_time=WAIT)) == 1
    async with next_session(client, "s4") as receiver:
        (message,) = await receiver.receive_messages(1, max_wait_time=WAIT)
        assert message.delivery_count == 0
        await receiver.complete_message(message)


async def test_a_client_that_dies_loses_its_session_at_once(client: ServiceBusClient, emulator: Emulator) -> None:
    await send(client, "s5", "one", "two", session="S")
    await die_holding(emulator, "s5", 2, session="S")
    async with next_session(client, "s5") as receiver:
        messages = await receiver.receive_messages(2, max_wait_time=WAIT)
        assert [(str(message), message.delivery_count) for message in messages] == [("one", 0), ("two", 0)]
        for message in messages:
            await receiver.complete_message(message)


async def test_a_session_lock_ends_when_it_is_not_renewed(client: ServiceBusClient) -> None:
    await send(client, "short", "one", session="S")
    async with client.get_queue_receiver("short", session_id="S") as receiver:
        until = receiver.session.locked_until_utc
        assert until is not None
        assert timedelta(0) < until - datetime.now(UTC) < timedelta(seconds=SHORT_LOCK)
        (message,) = await receiver.receive_messages(1, max_wait_time=WAIT)
        # The SDK checks its own clock first; this makes it ask the service.
        receiver.session._locked_until_utc = datetime.now(UTC) + timedelta(minutes=1)
        async with next_session(client, "short") as other:
            assert other.session.session_id == "S"
            with pytest.raises(SessionLockLostError):
                await receiver.complete_message(message)
            (again,) = await other.receive_messages(1, max_wait_time=WAIT)
            assert again.delivery_count == 1
            await other.complete_message(again)


async def test_settling_deferring_and_dead_lettering_in_a_session(client: ServiceBusClient) -> None:
    await send(client, "s6", "abandon", "defer", "dead-letter", session="S")
    async with client.get_queue_receiver("s6", session_id="S") as receiver:
        abandon, defer, dead_letter = await receiver.receive_messages(3, max_wait_time=WAIT)
        await receiver.abandon_message(abandon)
        await receiver.defer_message(defer)
        await receiver.dead_letter_message(dead_letter, reason="why")
        (again,) = await receiver.receive_messages(3, max_wait_time=WAIT)
        assert (str(again), again.delivery_count) == ("abandon", 1)
        await receiver.complete_message(again)
        assert defer.sequence_number is not None
        (deferred,) = await receiver.receive_deferred_messages([defer.sequence_number])
        await receiver.complete_message(deferred)
        assert not await receiver.peek_messages(5, sequence_number=1)
    async with client.get_queue_receiver("s6", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
        (dead,) = await receiver.receive_messages(1, max_wait_time=WAIT)
        assert (dead.session_id, dead.dead_letter_reason) == ("S", "why")
        await receiver.complete_message(dead)


async def test_scheduled_messages_of_a_session_make_it_available(client: ServiceBusClient) -> None:
    due = datetime.now(UTC) + timedelta(seconds=1)
    async with client.get_queue_sender("s7") as sender:
        await sender.schedule_messages([ServiceBusMessage(str(n), session_id="S") for n in range(20)], due)
    async with next_session(client, "s7") as receiver:
        messages = await receiver.receive_messages(20, max_wait_time=WAIT)
        assert len(messages) == 20
        assert datetime.now(UTC) >= due
        await asyncio.gather(*map(receiver.complete_message, messages))


async def test_a_session_queue_takes_neither_messages_nor_receivers_without_a_session(client: ServiceBusClient) -> None:
    async with client.get_queue_sender("s3") as sender:
        with pytest.raises(ServiceBusError, match="SessionId was not set"):
            await sender.send_messages(ServiceBusMessage("x"))
        with pytest.raises(ServiceBusError, match="SessionId was not set"):
            await sender.send_messages([ServiceBusMessage("x", session_id="S"), ServiceBusMessage("y")])
    with pytest.raises(ServiceBusError, match="requires sessions"):
        async with client.get_queue_receiver("s3"):
            pass
    async with client.get_queue_receiver("s3", session_id="S") as receiver:
        assert not await receiver.peek_messages(sequence_number=1)
