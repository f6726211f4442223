"""What status and resync do with Azurite: counts of several processes, parked records counted, and sent on safely."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from azure.data.tables.aio import TableClient

from shared.azure.parked_rows import Note, NoteState, Parked
from shared.azure.parked_table import Store
from shared.azure.service_bus import Outgoing
from shared.azure.shared_state import State
from shared.azure.table import Account
from shared.cli.command import Result
from shared.cli.doctor.notes import _refused
from shared.config.settings import StorageSettings
from shared.model.errors import BrokerUnavailableError, MsiSyncError
from shared.model.outcome import Failed, Outcome, Parent, Synced, WillNotCome
from shared.model.record import Record, decode
from shared.sync import statistics
from shared.sync.history_log import nothing_kept
from shared.sync.statistics import KIND, Counts, last_error, row_name, totals
from tests.support.commands import typed
from tests.support.queues import QUEUES

NOON = datetime(2026, 3, 4, 12, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def storage(azurite: str) -> StorageSettings:
    """Tables that no other test has."""
    tables = {"PARKED_TABLE": f"t{uuid4().hex}", "STATE_TABLE": f"s{uuid4().hex}"}
    return StorageSettings.model_validate({"AzureWebJobsStorage": azurite, **tables})


@pytest.fixture
async def table(storage: StorageSettings) -> AsyncIterator[TableClient]:
    async with TableClient.from_connection_string(
        storage.connection.get_secret_value(), storage.parked_table
    ) as client:
        yield client


@pytest.fixture
async def account(storage: StorageSettings) -> AsyncIterator[Account]:
    account = Account(storage)
    yield account
    await account.close()


@pytest.fixture
def store(storage: StorageSettings, account: Account) -> Store:
    return Store(account.table(storage.parked_table))


def guid() -> str:
    return str(uuid4())


async def test_processes_count_into_the_same_rows_and_the_timer_removes_old_ones(
    storage: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "PATIENCE_SECONDS", 300.0)  # fifteen writers of one row, on a busy machine
    accounts = [Account(storage) for _ in range(3)]
    states = [State(account.table(storage.state_table)) for account in accounts]
    now = NOON
    some = [Counts(state, now=lambda: now) for state in states]
    record = Record("contact", guid(), NOON)
    outcomes: list[tuple[Record, Outcome]] = [(record, Synced("created")), (record, Failed("1003", "too long"))]
    await asyncio.gather(*(counts.add("person", outcomes) for counts in some for _ in range(5)))
    await some[0].add("company", outcomes[:1])
    for counts in some:
        await counts.tend()
    rows = {name: value async for name, value in states[0].all(KIND)}
    assert totals(rows, "person", NOON - HOUR) | {"parked": 0} == {
        "synced": 15, "failed": 15, "removed": 0, "skipped": 0, "retried": 0, "parked": 0, "left_out": 0,
    }  # fmt: skip
    error = last_error(rows, "person")
    assert error
    assert (error["code"], error["id"]) == ("1003", record.id)
    now = NOON + 50 * HOUR
    await some[1].tend()
    assert [name async for name, _ in states[0].all(KIND)] == []
    await some[1].add("person", outcomes)
    assert [name async for name, _ in states[0].all(KIND)] == [row_name(now, "person")]
    for account in accounts:
        await account.close()


async def park(store: Store, parent: Parent, entity: str, record: Record) -> Record:
    await store.park([Parked(parent, entity, record)], NOON + HOUR)
    await store.put([Note(parent, NOON, NOON + HOUR)])
    return record


async def test_parked_records_are_counted_by_entity_and_parent(store: Store) -> None:
    assert await store.count(9) == ({}, False)  # there is no table yet
    account, seller = Parent("company", "account", guid()), Parent("sales_person", "systemuser", guid())
    for minutes in range(3):
        since = NOON + timedelta(minutes=minutes)
        await park(store, account, "person", Record("contact", guid(), NOON, parked_since=since))
    await park(store, seller, "person", Record("lead", guid(), NOON, parked_since=NOON - HOUR))
    await park(store, seller, "company", Record("account", guid(), NOON, parked_since=NOON))
    found, more = await store.count(9)
    assert (found["person"].by_parent, found["company"].by_parent) == (
        {"sales_person": 1, "company": 3}, {"sales_person": 1},
    )  # fmt: skip
    assert (found["person"].oldest, found["company"].oldest, more) == (NOON - HOUR, NOON, False)


async def test_counting_stops_at_its_bound(store: Store) -> None:
    account = Parent("company", "account", guid())
    for number in range(1, 5):
        await park(store, account, "person", Record("contact", guid(), NOON, parked_since=NOON))
        found, more = await store.count(3)
        assert (found["person"].count, more) == (min(number, 3), number > 3)


class Outbox:
    """An operator who sends parked records on, the bus, and what was still parked when something was sent."""

    def __init__(self, store: Store, state: State, table: TableClient) -> None:
        self.sent: list[Outgoing] = []
        self.parked_meanwhile: list[int] = []
        self.away = False
        self._table = table
        settings = SimpleNamespace(queues=QUEUES)
        parts = {"parked": store, "outgoing": self, "state": state, "history": nothing_kept()}
        self._context = SimpleNamespace(settings=settings, **parts)

    async def send(self, messages: Sequence[Outgoing]) -> None:
        if self.away:
            raise BrokerUnavailableError("ServiceBusConnectionError")
        self.parked_meanwhile.append(len(await self.parked()))
        self.sent += messages

    async def parked(self) -> list[str]:
        return [row["RowKey"] async for row in self._table.list_entities() if "|" in row["RowKey"]]

    async def resync(self, *words: str) -> Result:
        return (await typed(self._context, "resync", "--all-parked", *words))[0]


@pytest.fixture
def outbox(storage: StorageSettings, account: Account, store: Store, table: TableClient) -> Outbox:
    return Outbox(store, State(account.table(storage.state_table)), table)


async def states(store: Store, *parents: Parent) -> set[NoteState]:
    return {note.state for note in (await store.notes(parents)).values()}


async def test_parked_records_are_sent_then_removed(store: Store, outbox: Outbox) -> None:
    assert (await outbox.resync()).data["records"] == {}  # there is no table yet
    account, seller = Parent("company", "account", guid()), Parent("sales_person", "systemuser", guid())
    waiting = [
        await park(store, account, "person", Record("contact", guid(), NOON, attempt=2, parked_since=NOON)),
        await park(store, seller, "company", Record("account", account.id, NOON, requested=True, parked_since=NOON)),
    ]
    shown = await outbox.resync()
    assert (shown.exit, shown.data["records"], outbox.sent) == (1, {"account": 1, "contact": 1}, [])
    assert await states(store, account, seller) == {NoteState.ASKED}
    outbox.away = True
    with pytest.raises(MsiSyncError, match="Service Bus did not take"):
        await outbox.resync("--apply")
    assert len(await outbox.parked()) == 2
    outbox.away = False
    done = await outbox.resync("--apply")
    assert (done.exit, done.data["applied"]) == (0, True)
    assert outbox.parked_meanwhile == [2, 1]  # what is being sent is still there
    sent = {record.id: record for each in outbox.sent for record in decode(each.body, str(each.session))}
    assert sent == {record.id: replace(record, released=True, forced=True) for record in waiting}
    assert {(each.queue, each.session) for each in outbox.sent} == {("companies", "company"), ("persons", "person")}
    assert await outbox.parked() == []
    assert await states(store, account, seller) == {NoteState.UNASKED}  # who parks again asks anew


async def test_the_doctor_counts_rows_that_the_security_role_hides(store: Store) -> None:
    assert await _refused(store.table) == {}  # there is no table yet
    for code, number in (("RowHidden", 2), ("1003", 1)):
        cause = WillNotCome(code, "no", NOON)
        for _ in range(number):
            parent = Parent("company", "account", guid())
            await store.put([Note(parent, NOON, NOON, state=NoteState.WILL_NOT_COME, cause=cause)])
    assert await _refused(store.table) == {"account": 2}
