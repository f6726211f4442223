"""Storage for a file of tests; and when several files run at once, the longest are begun first."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from emulators.azurite import connection_string, is_listening
from emulators.processes import Child, free_ports
from local.harness.dead_letters import Letters, running_letters
from shared.azure.parked_table import Store
from shared.cli.context import Context
from shared.model.outcome import Parent
from tests.support.parked_table import company, opened

HERE = Path(__file__).parent
LONGEST = (
    *("test_stack", "test_functions_host_servicebus_failures", "test_functions_host_servicebus", "test_parked_table"),
    *("test_functions_host_end", "test_servicebus_sdk", "test_register_command", "test_sign_in_dataverse"),
    *("test_dead_letters_replay", "test_core_bus", "test_servicebus_sessions", "test_show_peek"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; the others stay in their order."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)) if HERE in item.path.parents else len(LONGEST))


@pytest.fixture(scope="module")
async def azurite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Run an Azurite, and give its connection string."""
    folder: Path = tmp_path_factory.mktemp("azurite")
    blob, queue, table = free_ports(3)
    command = [sys.executable, "-m", "emulators.azurite", "--location", str(folder / "data")]
    command += ["--blob-port", str(blob), "--queue-port", str(queue), "--table-port", str(table)]
    child = Child("azurite", command, log=folder / "azurite.log", is_ready=is_listening)
    await child.start()
    yield connection_string(blob_port=blob, queue_port=queue, table_port=table)
    await child.kill()


@pytest.fixture
async def store(azurite: str) -> AsyncIterator[Store]:
    """A store with a table of its own."""
    async with opened(azurite, f"t{uuid4().hex}") as store:
        yield store


@pytest.fixture
def parent() -> Parent:
    return company()


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Letters]:
    """A broker with the product's queues."""
    async with running_letters(tmp_path) as running:
        yield running


@pytest.fixture
async def context(broker: Letters) -> AsyncIterator[Context]:
    """What an operator's command has of it."""
    made = Context(broker.settings)
    yield made
    await made.close()
