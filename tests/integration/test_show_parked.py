"""Looking up in Azurite whom a person waits for, and who waits for it, without leaving a trace."""

from datetime import timedelta
from uuid import uuid4

import pytest
from azure.data.tables.aio import TableServiceClient

from emulators.azurite import connection_string
from emulators.processes import free_ports
from shared.azure.parked_rows import Note, NoteState, Parked
from shared.azure.parked_table import Store
from shared.azure.table import Account
from shared.cli.show.facts import Person, Search, Subject
from shared.cli.show.storage import look_at_parked
from shared.config.settings import StorageSettings
from shared.model.errors import StorageUnavailableError
from shared.model.outcome import Parent, WillNotCome
from shared.model.record import Record
from tests.support.values import NOON

CHECK = NOON + timedelta(minutes=4)


def settings(connection: str, table: str) -> StorageSettings:
    return StorageSettings.model_validate({"AzureWebJobsStorage": connection, "PARKED_TABLE": table})


async def looked(given: StorageSettings, search: Search) -> Search:
    account = Account(given)
    try:
        await look_at_parked(Store(account.table(given.parked_table)), search)
    finally:
        await account.close()
    return search


def guid() -> str:
    return str(uuid4())


async def test_waits_are_found_by_the_possible_parents(azurite: str) -> None:
    given = settings(azurite, f"t{uuid4().hex}")
    seller, account = Parent("sales_person", "systemuser", guid()), Parent("company", "account", guid())
    person, child = Subject("contact", guid()), Record("connection", guid(), NOON, parked_since=NOON)
    opened = Account(given)
    store = Store(opened.table(given.parked_table))
    try:
        await store.park(
            [
                Parked(account, "person", Record("contact", person.id, NOON, parked_since=NOON)),
                Parked(account, "person", Record("contact", guid(), NOON, parked_since=NOON)),
                Parked(seller, "company", Record("account", account.id, NOON, parked_since=NOON)),
                Parked(Parent("person", "contact", person.id), "opportunity_role", child),
            ],
            CHECK,
        )
        await store.put([Note(account, NOON, CHECK, 3)])
    finally:
        await opened.close()
    parents = {
        seller: Subject("systemuser", seller.id),
        account: Subject("account", account.id, parents=[seller]),
    }
    found = await looked(given, Search([Person(person)], parents))
    (wait,) = person.parked
    assert (wait.linked_later, wait.cause) == (False, None)
    assert (wait.parent, wait.since, wait.next_check, wait.checks) == (account, NOON, CHECK, 3)
    assert found.persons[0].children == 1
    (above,) = parents[account].parked
    assert (above.parent, above.next_check, above.checks) == (seller, CHECK, 0)
    assert parents[seller].parked == []


async def test_what_is_linked_later_and_why_its_parent_does_not_come_is_found(azurite: str) -> None:
    given = settings(azurite, f"t{uuid4().hex}")
    account, person = Parent("company", "account", guid()), Subject("contact", guid())
    cause = WillNotCome("1003", "Invalid value", NOON)
    opened = Account(given)
    store = Store(opened.table(given.parked_table))
    try:
        record = Record("contact", person.id, NOON, parked_since=NOON)
        await store.park([Parked(account, "person", record, linked_later=True)], CHECK)
        await store.put([Note(account, NOON, CHECK, state=NoteState.WILL_NOT_COME, cause=cause)])
    finally:
        await opened.close()
    await looked(given, Search([Person(person)], {account: Subject("account", account.id)}))
    (wait,) = person.parked
    assert (wait.linked_later, wait.cause) == (True, cause)


async def test_a_table_that_is_not_there_is_not_made(azurite: str) -> None:
    given = settings(azurite, f"t{uuid4().hex}")
    for _ in range(2):
        subject = Subject("lead", guid())
        parents = {Parent("company", "account", guid()): Subject("account", guid())}
        found = await looked(given, Search([Person(subject)], parents))
        assert (subject.parked, found.persons[0].children) == ([], 0)
    async with TableServiceClient.from_connection_string(azurite) as service:
        assert given.parked_table not in [table.name async for table in service.list_tables()]


async def test_a_storage_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.cli.show.storage.ANSWER_SECONDS", 1.0)
    blob, queue, table = free_ports(3)
    away = settings(connection_string(blob_port=blob, queue_port=queue, table_port=table), "parked")
    with pytest.raises(StorageUnavailableError):
        await looked(away, Search([Person(Subject("lead", guid()))]))
