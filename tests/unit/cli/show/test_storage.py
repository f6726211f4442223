"""Whom a person waits for, why, and who waits for it, as the table of parked records has it."""

from datetime import timedelta

import pytest

from shared.azure.parked_rows import Note, NoteState, Parked
from shared.azure.parked_table import Store
from shared.cli.show.facts import Person, Search, Subject
from shared.cli.show.storage import look_at_parked
from shared.model.outcome import Parent, WillNotCome
from shared.model.record import Record
from tests.support.tables import FullTable
from tests.support.values import NOON, guid

CHECK = NOON + timedelta(minutes=4)
SELLER, ACCOUNT = Parent("sales_person", "systemuser", guid(1)), Parent("company", "account", guid(2))
PERSON = Parent("person", "contact", guid(3))


@pytest.fixture
def store() -> Store:
    return Store(FullTable())


@pytest.fixture
def person() -> Subject:
    return Subject("contact", PERSON.id)


def waits(parent: Parent, table: str, id_: str, entity: str = "person", *, linked_later: bool = False) -> Parked:
    return Parked(parent, entity, Record(table, id_, NOON, parked_since=NOON), linked_later=linked_later)


async def test_waits_are_found_by_the_possible_parents(store: Store, person: Subject) -> None:
    mine, of_another = waits(ACCOUNT, "contact", person.id), waits(ACCOUNT, "contact", guid(4))
    above, below = waits(SELLER, "account", ACCOUNT.id, "company"), waits(PERSON, "connection", guid(5))
    await store.park([mine, of_another, above, below], CHECK)
    await store.put([Note(ACCOUNT, NOON, CHECK, 3)])
    seller, account = Subject("systemuser", SELLER.id), Subject("account", ACCOUNT.id, parents=[SELLER])
    search = Search([Person(person)], {SELLER: seller, ACCOUNT: account})
    await look_at_parked(store, search)
    (wait,) = person.parked
    assert (wait.linked_later, wait.cause) == (False, None)
    assert (wait.parent, wait.since, wait.next_check, wait.checks) == (ACCOUNT, NOON, CHECK, 3)
    (wait,) = account.parked
    assert (wait.parent, wait.next_check, wait.checks) == (SELLER, CHECK, 0)
    assert (seller.parked, search.persons[0].children) == ([], 1)


async def test_what_is_linked_later_and_why_its_parent_does_not_come_is_found(store: Store, person: Subject) -> None:
    cause = WillNotCome("1003", "Invalid value", NOON)
    await store.park([waits(ACCOUNT, "contact", person.id, linked_later=True)], CHECK)
    await store.put([Note(ACCOUNT, NOON, CHECK, state=NoteState.WILL_NOT_COME, cause=cause)])
    await look_at_parked(store, Search([Person(person)], {ACCOUNT: Subject("account", ACCOUNT.id)}))
    (wait,) = person.parked
    assert (wait.linked_later, wait.cause) == (True, cause)
