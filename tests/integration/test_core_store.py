"""The table of parked records in the real Azurite: pages, transactions, and rows that change under one's hands."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from azure.data.tables.aio import TableServiceClient

from emulators.azurite import connection_string
from emulators.processes import free_ports
from shared.azure.parked_rows import Note, NoteState, Parked
from shared.azure.parked_table import Store
from shared.azure.table import PAGE, TRANSACTION, Account
from shared.config.settings import StorageSettings
from shared.model.errors import StorageUnavailableError
from shared.model.outcome import Parent, WillNotCome
from shared.model.record import Record
from tests.support.values import guid

NOON = datetime(2026, 3, 4, 12, 0, 0, 123_000, tzinfo=UTC)


def company() -> Parent:
    """A parent that no other test has."""
    return Parent("company", "account", str(uuid4()))


def parked(parent: Parent, number: int = 1, entity: str = "person", table: str = "contact") -> Parked:
    return Parked(parent, entity, Record(table, guid(number), NOON, parked_since=NOON))


def request(parent: Parent, minutes: float = 1.0, checks: int = 0) -> Note:
    return Note(parent, NOON, NOON + timedelta(minutes=minutes), checks)


async def asked(store: Store, parents: Sequence[Parent]) -> set[Parent]:
    """Those of these parents whose notes say that they have been asked for."""
    return {parent for parent, note in (await store.notes(parents)).items() if note.state is NoteState.ASKED}


@asynccontextmanager
async def opened(connection: str, table: str) -> AsyncIterator[Store]:
    account = Account(StorageSettings.model_validate({"AzureWebJobsStorage": connection}))
    try:
        yield Store(account.table(table))
    finally:
        await account.close()


@pytest.fixture
async def store(azurite: str) -> AsyncIterator[Store]:
    """A store with a table of its own."""
    async with opened(azurite, f"t{uuid4().hex}") as store:
        yield store


@pytest.fixture
def parent() -> Parent:
    return company()


async def keep(store: Store, parked: Iterable[Parked]) -> None:
    await store.park(parked, NOON + timedelta(minutes=1))


async def pages(store: Store, parent: Parent) -> list[list[Parked]]:
    return [page async for page in store.children(parent)]


async def children(store: Store, parent: Parent) -> list[Parked]:
    return [child for page in await pages(store, parent) for child in page]


async def ids(store: Store, parent: Parent) -> list[str]:
    return sorted(child.record.id for child in await children(store, parent))


async def due(store: Store, now: datetime) -> list[Note]:
    return [replace(found, etag="") async for page in store.due("company", now) for found in page]


async def waited_for(store: Store, *parents: Parent, entity: str = "company") -> dict[str, Note]:
    found = await store.waited_for(entity, {parent.id for parent in parents})
    return {id_: replace(note, etag="") for id_, note in found.items()}


async def test_a_record_comes_back_as_it_was_parked(store: Store, parent: Parent) -> None:
    waits = replace(
        parked(parent).record, correlation_id="c é", attempt=3, requested=True, first_seen=NOON - timedelta(days=400)
    )
    await keep(store, [Parked(parent, "person", waits, trace="00-1-2-01")])
    (found,) = await children(store, parent)
    assert replace(found, etag="") == Parked(parent, "person", waits, trace="00-1-2-01")
    assert found.etag


async def test_what_a_record_is_released_for_is_not_kept(store: Store, parent: Parent) -> None:
    """Whoever parks again has to come back from parking again."""
    await keep(store, [Parked(parent, "person", replace(parked(parent).record, released=True, collected=True))])
    (found,) = await children(store, parent)
    assert not found.record.released


async def test_children_are_those_of_this_parent_and_of_every_table_and_entity(store: Store) -> None:
    one, other = company(), company()
    user = Parent("sales_person", "systemuser", one.id)
    mixed = [parked(one, 1), parked(one, 1, table="lead"), parked(one, 1, "opportunity", "opportunity")]
    await keep(store, [*mixed, parked(other, 2), parked(user, 3)])
    assert {(c.entity, c.record.table, c.record.id) for c in await children(store, one)} == {
        ("person", "contact", guid(1)), ("person", "lead", guid(1)), ("opportunity", "opportunity", guid(1)),
    }  # fmt: skip
    assert await ids(store, user) == [guid(3)]
    assert await children(store, company()) == []


async def test_a_record_that_parks_twice_waits_once_with_what_was_said_last(store: Store, parent: Parent) -> None:
    first = parked(parent)
    await keep(store, [first])
    await keep(store, [first, replace(first, record=replace(first.record, attempt=5))])
    (found,) = await children(store, parent)
    assert found.record.attempt == 5


async def test_who_is_asked_for_while_it_waits_still_has_its_children_follow(store: Store, parent: Parent) -> None:
    first = parked(parent)
    await keep(store, [replace(first, record=replace(first.record, deciding=True))])
    await keep(store, [replace(first, record=replace(first.record, requested=True))])
    (found,) = await children(store, parent)
    assert found.record.deciding


async def test_children_of_a_large_parent_come_in_pages_and_leave_in_transactions(store: Store, parent: Parent) -> None:
    count = PAGE + TRANSACTION + 7
    await keep(store, (parked(parent, n) for n in range(count)))
    found = await pages(store, parent)
    assert [len(page) for page in found if page] == [PAGE, TRANSACTION + 7]
    assert len({child.record.id for page in found for child in page}) == count
    for page in found:
        await store.remove(page)
    assert await children(store, parent) == []


async def test_a_page_that_is_removed_meanwhile_makes_the_next_one_skip_nothing(store: Store, parent: Parent) -> None:
    """So a release goes: send, remove, next page."""
    await keep(store, (parked(parent, n) for n in range(PAGE + 50)))
    seen: list[str] = []
    async for page in store.children(parent):
        seen += [child.record.id for child in page]
        await store.remove(page)
    assert len(seen) == len(set(seen)) == PAGE + 50
    assert await children(store, parent) == []


async def test_a_child_that_parks_anew_while_it_is_released_stays_alone(store: Store, parent: Parent) -> None:
    await keep(store, (parked(parent, n) for n in range(150)))
    found = await children(store, parent)
    await keep(store, [replace(parked(parent, 70), record=replace(parked(parent, 70).record, attempt=1))])
    await store.remove(found)
    (left,) = await children(store, parent)
    assert (left.record.id, left.record.attempt) == (guid(70), 1)


async def test_children_that_another_instance_has_removed_already_are_no_error(store: Store, parent: Parent) -> None:
    await keep(store, (parked(parent, n) for n in range(5)))
    found = await children(store, parent)
    await store.remove(found[:2])
    await asyncio.gather(store.remove(found), store.remove(found))
    await store.remove(found)
    assert await children(store, parent) == []


async def test_nothing_to_park_or_remove_is_no_error(store: Store) -> None:
    await keep(store, [])
    await store.remove([])
    await store.put([])
    await store.unmark([])
    assert await asked(store, []) == set()


async def test_a_parent_is_requested_from_its_note_on_until_it_comes(store: Store) -> None:
    wanted, other = company(), company()
    assert await asked(store, [wanted, other]) == set()
    await store.put([request(wanted)])
    assert await asked(store, [wanted, other]) == {wanted}
    await store.unmark([wanted])
    assert await asked(store, [wanted, other]) == set()


async def test_notes_that_are_gone_already_are_taken_away_with_those_that_are_not(store: Store) -> None:
    parents = [company() for _ in range(120)]
    await store.put(request(parent) for parent in parents[::2])
    await store.unmark(parents)
    await store.unmark(parents)
    assert await asked(store, parents) == set()


async def test_a_parent_whose_children_are_leaving_must_be_asked_for_again(store: Store, parent: Parent) -> None:
    await store.put([request(parent)])
    leaving = replace(request(parent), state=NoteState.UNASKED)
    etag = await store.leave(leaving)
    assert await asked(store, [parent]) == set()
    assert await waited_for(store, parent) == {parent.id: leaving}, "a crash now leaves the note to the timer"
    await store.forget(parent, etag)
    assert await waited_for(store, parent) == {}


async def test_a_note_that_was_written_anew_is_not_forgotten(store: Store, parent: Parent) -> None:
    etag = await store.leave(request(parent))
    await store.put([request(parent)])
    await store.forget(parent, etag)
    assert await asked(store, [parent]) == {parent}


async def test_a_note_that_is_gone_is_forgotten_without_an_error(store: Store, parent: Parent) -> None:
    etag = await store.leave(request(parent))
    await store.unmark([parent])
    await store.forget(parent, etag)
    assert await waited_for(store, parent) == {}


async def test_notes_of_certain_parents_are_found_among_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: beyond some pages, one by one."""
    parents = [company() for _ in range(PAGE + 5)]
    person = Parent("person", "contact", guid(1))
    await store.put(request(parent) for parent in parents)
    await store.put([request(person, 5, checks=3)])
    some = [min(parents, key=lambda parent: parent.id), max(parents, key=lambda parent: parent.id)]
    for few, pages in ((10, 5), (0, 5), (0, 1)):
        monkeypatch.setattr("shared.azure.parked_table.FEW", few)
        monkeypatch.setattr("shared.azure.parked_table.NOTE_PAGES", pages)
        found = await waited_for(store, *some, company())
        assert found == {parent.id: request(parent) for parent in some}
    assert await waited_for(store, person, entity="person") == {person.id: request(person, 5, checks=3)}
    assert await waited_for(store, person, entity="opportunity") == {}


async def test_why_a_parent_will_not_come_is_kept_without_what_marketo_quotes(store: Store, parent: Parent) -> None:
    text = "Invalid value for field 'email' and value 'ann@contoso.example'"
    cause = WillNotCome("1003", text, NOON, skipped=True)
    await store.put([replace(request(parent), state=NoteState.WILL_NOT_COME, cause=cause)])
    await keep(store, [parked(parent)])
    (found,) = (await store.notes([parent])).values()
    assert found.cause == replace(cause, message="Invalid value for field 'email' and value '…'")
    await store.put([request(parent)])
    (found,) = (await store.notes([parent])).values()
    assert (found.state, found.cause) == (NoteState.ASKED, None)


async def test_notes_are_replaced_as_they_were_read_and_none_that_was_changed_or_is_gone(store: Store) -> None:
    parents = [company() for _ in range(TRANSACTION + 5)]
    await keep(store, [parked(parent) for parent in parents])
    read = await store.notes(parents)
    cause = WillNotCome("1003", "no", NOON)
    await store.put([replace(read[parents[0]], state=NoteState.WILL_NOT_COME, cause=cause)])
    await store.unmark([parents[1]])
    etags = await store.replace([replace(note, state=NoteState.ASKED) for note in read.values()])
    assert etags.keys() == set(parents[2:])
    assert {parent: note.etag for parent, note in (await store.notes(parents[2:])).items()} == etags
    assert await asked(store, parents) == set(parents[2:])
    assert (await store.notes(parents[:2])).keys() == {parents[0]}
    assert await store.replace([]) == {}


async def test_what_is_linked_later_comes_back_as_such(store: Store, parent: Parent) -> None:
    await keep(store, [replace(parked(parent, 1), linked_later=True), parked(parent, 2)])
    assert [child.linked_later for child in await children(store, parent)] == [True, False]


async def test_parents_of_other_kinds_have_a_note_as_well_and_keep_the_one_they_have(store: Store) -> None:
    parent, user = company(), Parent("sales_person", "systemuser", guid(5))
    for _ in range(2):
        await store.park([parked(parent)], NOON + timedelta(minutes=1), [user])
    assert {note.state for note in (await store.notes([parent, user])).values()} == {NoteState.UNASKED}
    await store.put([request(user)])
    await store.park([parked(parent)], NOON + timedelta(minutes=1), [user])
    assert await asked(store, [user]) == {user}


async def test_requests_are_due_from_their_next_check_on_and_come_back_as_they_were(store: Store) -> None:
    soon, later = company(), company()
    await store.put([request(soon, 1, checks=3), request(later, 2)])
    assert await due(store, NOON + timedelta(seconds=59)) == []
    assert await due(store, NOON + timedelta(minutes=1)) == [request(soon, 1, checks=3)]
    assert {found.parent for found in await due(store, NOON + timedelta(minutes=2))} == {soon, later}


async def test_a_request_that_died_while_its_children_left_is_due_again(store: Store, parent: Parent) -> None:
    await store.leave(replace(request(parent), state=NoteState.UNASKED))
    assert await due(store, NOON + timedelta(minutes=1)) == [replace(request(parent), state=NoteState.UNASKED)]


async def test_parked_records_are_no_requests_and_requests_no_children(store: Store, parent: Parent) -> None:
    await keep(store, [parked(parent)])
    await store.unmark([parent])
    assert await waited_for(store, parent) == {}
    assert await due(store, NOON + timedelta(days=1)) == []
    await store.put([request(parent)])
    assert await ids(store, parent) == [guid(1)]
    assert [child.record.id async for page in store.everybody("company") for child in page] == [guid(1)]


async def test_a_parent_has_a_note_as_soon_as_a_record_is_parked_under_it(store: Store) -> None:
    parents = [company() for _ in range(TRANSACTION + 20)]
    await keep(store, [parked(parent, n) for parent in parents for n in range(2)])
    assert await asked(store, parents) == set()
    assert await due(store, NOON + timedelta(seconds=59)) == []
    found = await due(store, NOON + timedelta(minutes=1))
    assert {request.parent for request in found} == set(parents)
    assert all(request.state is NoteState.UNASKED for request in found)


@pytest.mark.parametrize("minutes", [0.5, 60])
async def test_parking_under_a_requested_parent_leaves_its_note(store: Store, parent: Parent, minutes: float) -> None:
    await store.put([request(parent, minutes, checks=4)])
    await keep(store, [parked(parent)])
    assert await asked(store, [parent]) == {parent}
    at = NOON + timedelta(minutes=minutes)
    assert await due(store, at - timedelta(seconds=1)) == []
    assert await due(store, at) == [request(parent, minutes, checks=4)]


async def test_parking_while_a_parents_children_leave_keeps_its_note(store: Store, parent: Parent) -> None:
    etag = await store.leave(request(parent))
    await keep(store, [parked(parent)])
    await store.forget(parent, etag)
    assert (await waited_for(store, parent)).keys() == {parent.id}


async def test_many_due_requests_come_in_pages_each_once_also_when_they_are_marked_meanwhile(store: Store) -> None:
    parents = [company() for _ in range(PAGE + 20)]
    await store.put(request(parent) for parent in parents)
    seen: list[str] = []
    async for page in store.due("company", NOON + timedelta(minutes=1)):
        seen += [found.parent.id for found in page]
        await store.put(replace(found, next_check=NOON + timedelta(hours=1)) for found in page)
    assert sorted(seen) == sorted(parent.id for parent in parents)
    assert await due(store, NOON + timedelta(minutes=1)) == []


async def test_instances_share_the_table_and_the_first_use_by_many_at_once_makes_it(azurite: str) -> None:
    table = f"t{uuid4().hex}"
    parents = [company() for _ in range(20)]
    async with opened(azurite, table) as one, opened(azurite, table) as other:
        await asyncio.gather(*(s.put([request(p)]) for s in (one, other) for p in parents))
        for store in (one, other):
            assert await asked(store, parents) == set(parents)


async def test_what_is_parked_is_there_after_the_process_that_parked_it_is_gone(azurite: str) -> None:
    table = f"t{uuid4().hex}"
    parent = company()
    for number in (1, 2):
        async with opened(azurite, table) as store:
            await keep(store, [parked(parent, number)])
            assert len(await children(store, parent)) == number


@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")  # the SDK's, of a refusal
async def test_storage_that_is_away_or_refuses_is_an_error_of_the_products_own(azurite: str) -> None:
    blob, queue, table = free_ports(3)
    key = base64.b64encode(b"another key").decode()
    nowhere = connection_string(blob_port=blob, queue_port=queue, table_port=table)
    strange = re.sub("AccountKey=[^;]*", f"AccountKey={key}", azurite)
    async with opened(nowhere, "parked") as away, opened(strange, "parked") as stranger:
        with pytest.raises(StorageUnavailableError) as error:
            await away.put([request(company())])
        assert (error.value.cause, error.value.status) == ("ServiceRequestError", None)
        for look in (lambda: stranger.put([request(company())]), lambda: asked(stranger, [company()])):
            with pytest.raises(StorageUnavailableError) as error:
                await look()
            assert error.value.status == 403


async def test_a_table_that_is_missing_holds_nothing_and_the_first_write_makes_it(azurite: str) -> None:
    table, parent = f"t{uuid4().hex}", company()
    async with opened(azurite, table) as store, TableServiceClient.from_connection_string(azurite) as service:
        assert (await children(store, parent), await due(store, NOON), await asked(store, [parent])) == ([], [], set())
        assert table not in [each.name async for each in service.list_tables()]
        await keep(store, [parked(parent)])
        assert table in [each.name async for each in service.list_tables()]


async def test_a_proxy_of_the_environment_is_used(azurite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose requests do not go through it gets an answer."""
    (nobody,) = free_ports(1)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{nobody}")
    settings = StorageSettings.model_validate({"AzureWebJobsStorage": azurite})
    account = Account(settings, retry_total=0)
    with pytest.raises(StorageUnavailableError):
        await account.table("parked").get("company", "x")
    await account.close()
    monkeypatch.delenv("http_proxy")
    account = Account(settings, retry_total=0)
    assert await account.table("parked").get("company", "x") is None
    await account.close()
