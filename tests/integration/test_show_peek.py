"""Looking into the emulator's queues: everything is seen, nothing is taken, and nobody is kept waiting."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
from azure.servicebus.aio.management import ServiceBusAdministrationClient

from emulators.processes import free_ports
from emulators.servicebus.harness import Emulator, running_emulator
from emulators.servicebus.settings import QueueSettings, QueueStatus
from shared.azure.receiver import Message
from shared.cli import peek as module
from shared.cli.peek import Place, QueueUnavailable, counts, peek

WAIT = 5.0
QUEUES = [
    *(QueueSettings(f"plain{number}") for number in range(2)),
    *(QueueSettings(f"session{number}", sessions=True) for number in range(5)),
    QueueSettings("disabled", sessions=True, status=QueueStatus.RECEIVE_DISABLED),
]


@pytest.fixture(scope="module")
async def emulator(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Emulator]:
    async with running_emulator(tmp_path_factory.mktemp("servicebus"), QUEUES) as running:
        yield running


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[ServiceBusClient]:
    async with ServiceBusClient.from_connection_string(emulator.connection_string, retry_total=1) as opened:
        yield opened


async def send(client: ServiceBusClient, queue: str, *bodies: str, session: str | None = None) -> None:
    async with client.get_queue_sender(queue) as sender:
        await sender.send_messages([ServiceBusMessage(body, session_id=session) for body in bodies])


async def everything(client: ServiceBusClient, place: Place, page: int = 250) -> list[Message]:
    return [message async for found in peek(client, place, page=page) for message in found]


def bodies(messages: list[Message]) -> list[str]:
    return [message.body.decode() for message in messages]


async def test_all_pages_are_seen_with_what_an_operator_asks(client: ServiceBusClient) -> None:
    await send(client, "plain0", *map(str, range(7)))
    later = datetime.now(UTC) + timedelta(hours=1)
    async with client.get_queue_sender("plain0") as sender:
        message = ServiceBusMessage("later", application_properties={"code": "1003", b"attempts": 2})
        await sender.schedule_messages(message, later)
    found = await everything(client, Place("plain0"), page=3)
    assert bodies(found) == [*map(str, range(7)), "later"]
    assert [each.due is not None for each in found] == [False] * 7 + [True]
    assert found[-1].due is not None
    assert abs(found[-1].due - later) < timedelta(seconds=1)
    assert dict(found[-1].properties) == {"code": "1003", "attempts": 2}
    assert found[0].enqueued is not None
    assert found[0].enqueued.tzinfo is not None


async def test_a_session_queue_gives_its_messages_again_uncounted(client: ServiceBusClient) -> None:
    await send(client, "session0", "one", "two", "three", session="person")
    assert bodies(await everything(client, Place("session0", "person"), page=2)) == ["one", "two", "three"]
    # The session is free at once, and no delivery was counted.
    async with client.get_queue_receiver("session0", session_id="person") as receiver:
        received = await receiver.receive_messages(3, max_wait_time=WAIT)
        assert [(str(each), each.delivery_count) for each in received] == [("one", 0), ("two", 0), ("three", 0)]


async def test_a_look_takes_no_message_from_those_who_receive_meanwhile(client: ServiceBusClient) -> None:
    """A link that grants credit would have the broker lock messages for the operator, and count their delivery."""
    await send(client, "plain1", "one", "two", "three")
    async with aclosing(peek(client, Place("plain1"), page=1)) as pages:
        assert bodies(await anext(pages)) == ["one"]
        async with client.get_queue_receiver("plain1") as receiver:
            received = await receiver.receive_messages(3, max_wait_time=WAIT)
            assert [(str(each), each.delivery_count) for each in received] == [("one", 0), ("two", 0), ("three", 0)]
        assert bodies(await anext(pages)) == ["two"]


async def test_a_long_look_returns_the_session(client: ServiceBusClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOLD_SECONDS", 0.0)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    await send(client, "session1", "one", "two", "three", session="person")
    opened: list[str] = []
    get_receiver = client.get_queue_receiver

    def counted(queue: str, **options: Any) -> ServiceBusReceiver:
        opened.append(queue)
        return get_receiver(queue, **options)

    monkeypatch.setattr(client, "get_queue_receiver", counted)
    assert bodies(await everything(client, Place("session1", "person"), page=2)) == ["one", "two", "three"]
    assert len(opened) == 3  # two pages and the end


async def test_a_look_that_is_left_early_leaves_the_session_free(client: ServiceBusClient) -> None:
    await send(client, "session2", "one", "two", session="person")
    async with aclosing(peek(client, Place("session2", "person"), page=1)) as pages:
        assert bodies(await anext(pages)) == ["one"]
    async with client.get_queue_receiver("session2", session_id="person"):
        pass


async def test_a_session_that_somebody_holds_is_left_alone(
    client: ServiceBusClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SESSION_SECONDS", 0.0)
    await send(client, "session3", "one", session="person")
    async with client.get_queue_receiver("session3", session_id="person") as holder:
        (message,) = await holder.receive_messages(1, max_wait_time=WAIT)
        with pytest.raises(QueueUnavailable) as refusal:
            await everything(client, Place("session3", "person"))
        assert refusal.value.code == "InUse"
        assert not refusal.value.concerns_all
        await holder.complete_message(message)


async def test_a_queue_whose_messages_nobody_may_receive(client: ServiceBusClient) -> None:
    for place in (Place("disabled", "person"), Place("disabled", dead=True)):
        with pytest.raises(QueueUnavailable) as refusal:
            await everything(client, place)
        assert (refusal.value.code, refusal.value.concerns_all) == ("Disabled", False)


async def test_dead_letters_of_a_session_queue(client: ServiceBusClient) -> None:
    await send(client, "session4", "bad", session="person")
    async with client.get_queue_receiver("session4", session_id="person") as receiver:
        (message,) = await receiver.receive_messages(1, max_wait_time=WAIT)
        await receiver.dead_letter_message(message, reason="Why", error_description="because")
    (dead,) = await everything(client, Place("session4", dead=True))
    assert (dead.body, dead.reason, dead.description) == (b"bad", "Why", "because")
    async with client.get_queue_receiver("session4", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
        assert len(await receiver.receive_messages(1, max_wait_time=WAIT)) == 1


async def test_a_queue_that_does_not_exist(client: ServiceBusClient) -> None:
    with pytest.raises(QueueUnavailable) as refusal:
        await everything(client, Place("nowhere"))
    assert refusal.value.code == "NoQueue"


async def test_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 2.0)
    (port,) = free_ports(1)
    away = f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=k;SharedAccessKey=eA==;UseDevelopmentEmulator=true;"
    async with ServiceBusClient.from_connection_string(away, retry_total=1) as nowhere:
        with pytest.raises(QueueUnavailable) as refusal:
            await everything(nowhere, Place("plain0"))
    assert refusal.value.concerns_all
    async with ServiceBusAdministrationClient.from_connection_string(away) as administration:
        with pytest.raises(QueueUnavailable):
            await counts(administration, "plain0")


async def test_nothing_is_read_before_it_is_time_and_a_session_is_free_until_then(
    client: ServiceBusClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HOLD_SECONDS", 0.1)
    ready = asyncio.Event()
    async with aclosing(peek(client, Place("session4", "person"), ready=ready)) as pages:
        first = asyncio.create_task(anext(pages))
        async with client.get_queue_receiver("session4", session_id="person", max_wait_time=WAIT):
            await send(client, "session4", "one", session="person")  # the app works meanwhile
            assert not first.done()
        ready.set()
        assert bodies(await first) == ["one"]
        assert await anext(pages, None) is None, "everything has been read"
