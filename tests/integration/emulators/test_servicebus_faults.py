"""Faults that a test brings about in the emulator, as the unmodified SDK sees them."""

import gc
from collections.abc import AsyncIterator

import httpx
import pytest
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.exceptions import ServiceBusError

from emulators.servicebus.administration import Administration, administration
from emulators.servicebus.harness import Emulator
from emulators.servicebus.settings import QueueSettings
from tests.support.service_bus import WAIT, send

#: The SDK leaves the socket of a broken connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
QUEUES = [QueueSettings("plain", lock_seconds=60), QueueSettings("sessions", sessions=True, lock_seconds=60)]


@pytest.fixture
async def broker(emulator: Emulator) -> AsyncIterator[Administration]:
    async with administration(emulator.connection_string) as broker:
        yield broker
    gc.collect()


async def test_a_lost_settlement_ends_the_link_and_messages_return(emulator: Emulator, broker: Administration) -> None:
    async with ServiceBusClient.from_connection_string(emulator.connection_string) as client:
        await send(client, "sessions", "one", "two", session="s")
    for lost in (True, False):
        async with (
            ServiceBusClient.from_connection_string(emulator.connection_string, retry_total=0) as client,
            client.get_queue_receiver("sessions", session_id="s") as receiver,
        ):
            messages = await receiver.receive_messages(2, max_wait_time=WAIT)
            assert [(str(each), each.delivery_count) for each in messages] == [("one", 0), ("two", 0)]
            if lost:
                await broker.fault("lose-settlement", "sessions")
                with pytest.raises(ServiceBusError):
                    await receiver.complete_message(messages[0])
            else:
                for message in messages:
                    await receiver.complete_message(message)
    assert (await broker.counts())["sessions"].waiting == 0


async def test_dropped_connections_and_lost_locks(emulator: Emulator, broker: Administration) -> None:
    async with ServiceBusClient.from_connection_string(emulator.connection_string, retry_total=0) as client:
        await send(client, "plain", "x")
        receiver = client.get_queue_receiver("plain")
        assert len(await receiver.receive_messages(1, max_wait_time=WAIT)) == 1
        assert await broker.fault("drop-connections") == 1
        with pytest.raises(ServiceBusError):
            await receiver.receive_messages(1, max_wait_time=WAIT)
        await receiver.close()
    async with (
        ServiceBusClient.from_connection_string(emulator.connection_string) as client,
        client.get_queue_receiver("plain") as receiver,
    ):
        # A message without a session stays locked when its connection breaks.
        assert not await receiver.receive_messages(1, max_wait_time=0.5)
        assert await broker.fault("lose-locks", "plain") == 1
        (again,) = await receiver.receive_messages(1, max_wait_time=WAIT)
        assert (str(again), again.delivery_count) == ("x", 1)
        await receiver.complete_message(again)


async def test_faults_need_the_manage_right_and_must_exist(emulator: Emulator, broker: Administration) -> None:
    url = f"http://127.0.0.1:{emulator.port}/$local/drop-connections"
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.post(url)).status_code == 401
    for what, queue in (("lose-locks", "nobody"), ("burn", "plain")):
        with pytest.raises(httpx.HTTPStatusError, match="404"):
            await broker.fault(what, queue)
