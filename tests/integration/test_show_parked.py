"""Looking up in Azurite whom a person waits for, without leaving a trace."""

from uuid import uuid4

import pytest
from azure.data.tables.aio import TableServiceClient

from emulators.azurite import connection_string
from emulators.processes import free_ports
from shared.cli.show.facts import Person, Search, Subject
from shared.cli.show.storage import look_at_parked
from shared.model.errors import StorageUnavailableError
from tests.support.parked_table import company, opened
from tests.support.values import guid


def search() -> Search:
    return Search([Person(Subject("lead", guid(1)))], {company(): Subject("account", guid(2))})


async def test_a_table_that_is_not_there_is_not_made(azurite: str) -> None:
    table, found = f"t{uuid4().hex}", search()
    async with opened(azurite, table) as store:
        await look_at_parked(store, found)
    (person,) = found.persons
    assert (person.subject.parked, person.children) == ([], 0)
    async with TableServiceClient.from_connection_string(azurite) as service:
        assert table not in [each.name async for each in service.list_tables()]


async def test_a_storage_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.cli.show.storage.ANSWER_SECONDS", 1.0)
    blob, queue, table = free_ports(3)
    nowhere = connection_string(blob_port=blob, queue_port=queue, table_port=table)
    async with opened(nowhere, "parked") as store:
        with pytest.raises(StorageUnavailableError):
            await look_at_parked(store, search())
