"""The real Azurite as the stack runs it, through the storage SDK that the product uses."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from azure.data.tables.aio import TableServiceClient

from emulators.azurite import connection_string, is_listening
from emulators.processes import Child, free_ports


@pytest_asyncio.fixture
async def azurite(tmp_path: Path) -> AsyncIterator[tuple[Child, str]]:
    blob, queue, table = free_ports(3)
    command = [sys.executable, "-m", "emulators.azurite", "--location", str(tmp_path / "data")]
    command += ["--blob-port", str(blob), "--queue-port", str(queue), "--table-port", str(table)]
    child = Child("azurite", command, log=tmp_path / "azurite.log", is_ready=is_listening)
    await child.start()
    yield child, connection_string(blob_port=blob, queue_port=queue, table_port=table)
    await child.kill()


async def test_tables_survive_a_stop_and_start(azurite: tuple[Child, str]) -> None:
    child, connection = azurite
    async with TableServiceClient.from_connection_string(connection) as service:
        table = await service.create_table("parked")
        await table.create_entity({"PartitionKey": "account 1", "RowKey": "person 1", "attempt": 3})
        await child.stop()
        await child.start()
        entity = await table.get_entity("account 1", "person 1")
        assert entity["attempt"] == 3
