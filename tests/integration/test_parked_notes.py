"""The notes of parents in the table of parked records: who was asked for, when again, and why one will not come."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.azure.parked_rows import NoteState
from shared.azure.parked_table import Store
from shared.azure.table import PAGE, TRANSACTION
from shared.model.outcome import Parent, WillNotCome
from tests.support.parked_table import NOON, asked, children, company, due, ids, keep, parked, request, waited_for
from tests.support.values import guid


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
