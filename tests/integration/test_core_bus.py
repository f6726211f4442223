"""The sending half against the emulator: what arrives, when, in which session, and how much fits into a batch."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.servicebus import ServiceBusReceivedMessage, ServiceBusReceiveMode
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver

from emulators.servicebus.harness import Emulator, running_emulator
from emulators.servicebus.settings import QueueSettings
from local.harness.telemetry import in_memory
from shared.azure.service_bus import BATCH_BYTES, Bus, Outgoing
from shared.config.settings import BusSettings
from shared.model.errors import BrokerUnavailableError
from shared.telemetry import spans
from tests.support.service_bus import receive

QUEUES = [
    *[QueueSettings(f"q{number}") for number in range(9)],
    QueueSettings("s0", sessions=True),
    QueueSettings("s1", sessions=True),
]


@pytest.fixture(scope="module")
async def emulator(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Emulator]:
    async with running_emulator(tmp_path_factory.mktemp("servicebus"), QUEUES) as running:
        yield running


@pytest.fixture(scope="module")
async def bus(emulator: Emulator) -> AsyncIterator[Bus]:
    bus = Bus(BusSettings.model_validate({"ServiceBusConnection": emulator.connection_string}), context=spans.carried)
    yield bus
    await bus.close()


@pytest.fixture(scope="module")
async def client(emulator: Emulator) -> AsyncIterator[ServiceBusClient]:
    async with ServiceBusClient.from_connection_string(emulator.connection_string, retry_total=0) as opened:
        yield opened


def receiver(client: ServiceBusClient, queue: str, session: str | None = None) -> ServiceBusReceiver:
    return client.get_queue_receiver(queue, session_id=session, receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE)


def body(message: ServiceBusReceivedMessage) -> bytes:
    return b"".join(message.body)


async def test_a_message_arrives_with_everything_that_was_said_of_it(bus: Bus, client: ServiceBusClient) -> None:
    properties: dict[str | bytes, str | int] = {"code": "1003", "message": "Ungültig: 'é'", "attempts": 3}
    sent = Outgoing("q0", '{"a":"é"}'.encode(), correlation_id="c", properties=properties)
    await bus.send([sent, Outgoing("q0", b"{}")])
    async with receiver(client, "q0") as opened:
        first, second = await receive(opened, 2)
    assert body(first) == sent.body
    assert (first.content_type, first.correlation_id) == ("application/json", "c")
    told = {
        key.decode() if isinstance(key, bytes) else key: value.decode() if isinstance(value, bytes) else value
        for key, value in (first.application_properties or {}).items()
    }
    assert told == properties
    assert (second.correlation_id, second.session_id, second.application_properties or {}) == (None, None, {})


async def test_a_message_without_a_context_carries_its_sender_s_span(bus: Bus, client: ServiceBusClient) -> None:
    with in_memory().listening(), spans.invocation("route_changes"):
        here = spans.here()
        await bus.send([Outgoing("q8", b"1"), Outgoing("q8", b"2", properties={spans.TRACEPARENT: "its own"})])
    async with receiver(client, "q8") as opened:
        found = await receive(opened, 2)
    told = [(message.application_properties or {})[spans.TRACEPARENT.encode()] for message in found]
    assert told == [here.encode(), b"its own"]
    assert here.startswith("00-")


async def test_messages_of_a_session_arrive_in_it_and_in_order(bus: Bus, client: ServiceBusClient) -> None:
    await bus.send([Outgoing("s0", str(n).encode(), session="person" if n % 2 else "other") for n in range(20)])
    for session, remainder in (("person", 1), ("other", 0)):
        async with receiver(client, "s0", session) as opened:
            found = await receive(opened, 10)
        assert [int(body(message)) for message in found] == [n for n in range(20) if n % 2 == remainder]
        assert {message.session_id for message in found} == {session}


async def test_only_scheduled_messages_of_a_batch_wait_for_their_time(bus: Bus, client: ServiceBusClient) -> None:
    at = datetime.now(UTC) + timedelta(seconds=1.5)
    await bus.send([Outgoing("s1", b"later", session="a", at=at), Outgoing("s1", b"now", session="a")])
    async with receiver(client, "s1", "a") as opened:
        (first,) = await receive(opened, 1)
        (second,) = await receive(opened, 1)
    assert [body(first), body(second)] == [b"now", b"later"]
    assert first.enqueued_time_utc
    assert second.enqueued_time_utc
    assert first.enqueued_time_utc < at <= second.enqueued_time_utc + timedelta(milliseconds=50)
    assert datetime.now(UTC) >= at - timedelta(milliseconds=50)


async def test_more_than_one_batch_of_messages_arrives_whole_and_in_order(bus: Bus, client: ServiceBusClient) -> None:
    bodies = [f"{n:04d}".encode().ljust(2048, b".") for n in range(300)]
    await bus.send([Outgoing("q2", each, properties={"number": n}) for n, each in enumerate(bodies)])
    async with receiver(client, "q2") as opened:
        assert [body(message) for message in await receive(opened, 300)] == bodies


@pytest.mark.parametrize("size", [BATCH_BYTES - 1024, 192 * 1024, 100 * 1024])
async def test_messages_that_nearly_fill_a_batch_arrive(bus: Bus, client: ServiceBusClient, size: int) -> None:
    await bus.send([Outgoing("q3", bytes([n]) * size) for n in range(3)])
    async with receiver(client, "q3") as opened:
        found = [body(message) for message in await receive(opened, 3)]
    assert [(len(each), each[0]) for each in found] == [(size, n) for n in range(3)]


async def test_a_full_batch_is_within_the_limit_of_the_broker(bus: Bus, client: ServiceBusClient) -> None:
    """The SDK's sum of a batch is some 60 bytes too low, so its last bytes matter: each round leaves others unused."""
    many = [Outgoing("q4", b"." * 1900, properties={"first_seen": "2026-03-04T12:00:00.000Z"})] * 115
    tiny = [Outgoing("q4", b"!")] * 400
    for extra in range(0, 100, 10):
        await bus.send([Outgoing("q4", b"!" * (1 + extra)), *many, *tiny])
    async with receiver(client, "q4") as opened:
        assert len(await receive(opened, 10 * 516)) == 10 * 516


async def test_a_message_over_the_limit_does_not_stop_the_sender(bus: Bus, client: ServiceBusClient) -> None:
    with pytest.raises(BrokerUnavailableError) as error:
        await bus.send([Outgoing("q5", b"." * 256 * 1024)])
    assert error.value.is_too_large
    await bus.send([Outgoing("q5", b"after")])
    async with receiver(client, "q5") as opened:
        assert body((await receive(opened, 1))[0]) == b"after"


async def test_several_queues_and_many_senders_at_once_mix_nothing_up(bus: Bus, client: ServiceBusClient) -> None:
    sends = [
        bus.send([Outgoing(queue, f"{queue} {n} {i}".encode()) for queue in ("q6", "q7") for i in range(5)])
        for n in range(20)
    ]
    await asyncio.gather(*sends)
    for queue in ("q6", "q7"):
        async with receiver(client, queue) as opened:
            found = {body(message).decode() for message in await receive(opened, 100)}
        assert found == {f"{queue} {n} {i}" for n in range(20) for i in range(5)}


async def test_nothing_to_send_is_no_call(emulator: Emulator) -> None:
    nowhere = emulator.connection_string.replace(str(emulator.port), "1")
    bus = Bus(BusSettings.model_validate({"ServiceBusConnection": nowhere}))
    await bus.send([])
    await bus.close()


async def test_a_missing_queue_does_not_stop_the_others(bus: Bus, client: ServiceBusClient) -> None:
    with pytest.raises(BrokerUnavailableError, match="MessagingEntityNotFoundError"):
        await bus.send([Outgoing("nowhere", b"x")])
    await bus.send([Outgoing("q8", b"x")])
    async with receiver(client, "q8") as opened:
        assert len(await receive(opened, 1)) == 1
