"""Posts to a real queue: by the key and the path that the registered service endpoint names."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient

from emulators.dataverse.harness import Running, registration, running
from emulators.dataverse.notifications import CLAIMS
from emulators.dataverse.seeding import seed
from emulators.functions.harness import until
from emulators.servicebus.harness import running_emulator
from emulators.servicebus.sas import POLICIES
from emulators.servicebus.settings import QueueSettings

#: A policy that may send to the queue of changes and nothing else.
POLICY, KEY = "DataverseSend", "ZGF0YXZlcnNlLXNlbmQta2V5"
WRONG_KEY = "d3Jvbmcta2V5LXdyb25nLWtleS13cm9uZy1rZXktd3I="


@pytest_asyncio.fixture(scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The connection string of a running emulator."""
    queues = [QueueSettings("changes"), QueueSettings("persons", sessions=True)]
    policy = f"{POLICY}:{KEY}:Send:changes"
    async with running_emulator(tmp_path_factory.mktemp("servicebus"), queues, policies=[policy]) as emulator:
        yield emulator.connection_string


@pytest.fixture
async def api(broker: str) -> AsyncIterator[Running]:
    """An organization whose changes of contacts are posted to the broker."""
    async with running(empty=True, service_bus=broker) as started:
        seed(started.environment, registration("contact"))
        await set_endpoint(started, saskeyname=POLICY, saskey=KEY)
        started.environment.switches.post_retry_seconds = []
        yield started


async def settled(api: Running) -> tuple[int, int]:
    """How many posts went through and how many failed, once none is on its way."""
    await until(lambda: not api.simulator.delivery.pending)
    return api.environment.stats.posted, api.environment.stats.failed_posts


async def received(broker: str, count: int) -> list[ServiceBusReceivedMessage]:
    """So many messages, which are all that the queue has."""
    async with (
        ServiceBusClient.from_connection_string(broker) as client,
        client.get_queue_receiver("changes") as receiver,
    ):
        messages: list[ServiceBusReceivedMessage] = []
        while len(messages) < count:
            batch = await receiver.receive_messages(max_message_count=count - len(messages), max_wait_time=20)
            assert batch, f"only {len(messages)} of {count} messages came"
            for message in batch:
                await receiver.complete_message(message)
            messages += batch
        assert not await receiver.peek_messages()
    return messages


async def set_endpoint(api: Running, **changes: Any) -> None:
    (row,) = (await api.call("GET", "serviceendpoints?$select=name")).json()["value"]
    assert (await api.call("PATCH", f"serviceendpoints({row['serviceendpointid']})", changes)).status == 204


async def jobs(api: Running) -> list[dict[str, Any]]:
    query = "asyncoperations?$select=statuscode,message&$filter=" + quote("statuscode ne 30")
    found: list[dict[str, Any]] = (await api.call("GET", query)).json()["value"]
    return found


async def test_a_registered_endpoint_reaches_its_queue(api: Running, broker: str) -> None:
    answer = await api.call("POST", "contacts", {"lastname": "Berg", "description": "x" * 1900})
    assert await settled(api) == (1, 0)
    (message,) = await received(broker, 1)
    text = b"".join(message.body).decode()
    assert message.content_type == "application/json"
    assert message.session_id is None
    assert (message.application_properties or {})[f"{CLAIMS}RequestName".encode()] == b"Create"
    assert "http:\\/\\/schemas.microsoft.com\\/xrm" in text
    assert json.loads(text)["PrimaryEntityId"] == answer.row_id


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"saskey": WRONG_KEY}, "Authentic"),
        ({"saskeyname": "NoSuchPolicy"}, "Authentic"),
        ({"path": "persons"}, "Authentic"),
        (
            {
                "path": "no-such-queue",
                "saskeyname": "RootManageSharedAccessKey",
                "saskey": POLICIES["RootManageSharedAccessKey"].key,
            },
            "NotFound",
        ),
    ],
)
async def test_a_wrong_endpoint_fails_its_jobs(api: Running, broker: str, change: dict[str, Any], reason: str) -> None:
    await set_endpoint(api, **change)
    for number in range(3):
        assert (await api.call("POST", "contacts", {"lastname": f"Berg {number}"})).status == 204
    assert await settled(api) == (0, 3)
    failed = await jobs(api)
    assert [job["statuscode"] for job in failed] == [31, 31, 31]
    assert reason in failed[0]["message"]
    assert WRONG_KEY not in json.dumps(failed)
    assert await received(broker, 0) == []


async def test_a_waiting_job_goes_by_the_key_that_is_registered_meanwhile(api: Running, broker: str) -> None:
    api.environment.switches.post_retry_seconds = [0.1] * 50
    await set_endpoint(api, saskey=WRONG_KEY)
    await api.call("POST", "contacts", {"lastname": "Berg"})
    async with asyncio.timeout(20):
        while [job["statuscode"] for job in await jobs(api)] != [10]:  # noqa: ASYNC110 - a row is no event
            await asyncio.sleep(0.01)
    await set_endpoint(api, saskey=KEY)
    assert await settled(api) == (1, 0)
    await received(broker, 1)
