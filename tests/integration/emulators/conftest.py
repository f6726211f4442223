"""What the tests of the emulators share: a Service Bus with the queues of a file, hosts on one, a Marketo, queues."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from azure.servicebus.aio import ServiceBusClient

from emulators.certificates import Certificates, write_certificates
from emulators.dataverse.harness import RecordingQueues
from emulators.dataverse.harness import Running as Dataverse
from emulators.dataverse.harness import running as running_dataverse
from emulators.dataverse.seeding import seed
from emulators.functions.queue_harness import App, Bus, running_bus
from emulators.marketo.harness import Marketo
from emulators.marketo.harness import running as running_marketo
from emulators.marketo.instance import Instance
from emulators.servicebus.harness import Emulator, running_emulator


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return write_certificates(tmp_path_factory.mktemp("tls"), ["127.0.0.1"])


@pytest.fixture(scope="module")
async def emulator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tls: Certificates
) -> AsyncIterator[Emulator]:
    """One for a whole file: with its QUEUES, and its POLICIES if it has any."""
    async with running_emulator(
        tmp_path_factory.mktemp("servicebus"),
        request.module.QUEUES,
        cert=tls.certificate,
        key=tls.key,
        policies=getattr(request.module, "POLICIES", ()),
    ) as running:
        yield running


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[ServiceBusClient]:
    async with ServiceBusClient.from_connection_string(emulator.connection_string, retry_total=0) as opened:
        yield opened


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    """One for a single test, which may kill it."""
    async with running_bus(tmp_path) as running:
        yield running


@pytest.fixture
async def apps() -> AsyncIterator[list[App]]:
    """Hosts that a test starts; they are stopped after it."""
    started: list[App] = []
    yield started
    await asyncio.gather(*(app.child.stop(15) for app in started))


@pytest.fixture
async def marketo(request: pytest.FixtureRequest) -> AsyncIterator[Marketo]:
    """An empty one; its clock stands at the file's NOW, if it has one."""
    now = getattr(request.module, "NOW", None)
    async with running_marketo(Instance(now=lambda: now) if now else Instance()) as running:
        yield running


@pytest.fixture
def queues() -> RecordingQueues:
    return RecordingQueues()


@pytest.fixture
async def api(request: pytest.FixtureRequest, queues: RecordingQueues) -> AsyncIterator[Dataverse]:
    """An organization that has the file's ROWS, if it has any; what it posts goes to `queues`."""
    async with running_dataverse(empty=True, queues=queues) as running:
        seed(running.environment, getattr(request.module, "ROWS", {}))
        yield running


@pytest.fixture
async def control(api: Dataverse) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that organization's control API."""
    async with httpx.AsyncClient(base_url=api.control_url, trust_env=False, timeout=30) as client:
        yield client
