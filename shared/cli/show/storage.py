"""What `msisync show` asks Table Storage: who waits for whom, the fields that a record was synced without, and
what the app has noted of itself. Looks only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import replace

from ...azure.errors import storage_within
from ...azure.parked_rows import utc
from ...azure.parked_table import Store
from ...azure.shared_state import State
from ...marketo.quota import Budget
from ...model.errors import StorageUnavailableError
from ...model.outcome import Parent
from ...sync import circuit, circuit_breaker, heartbeat
from ...sync.left_out_rows import fields_of, kind_of
from ..finding import age
from ..status.look import rows_of
from .facts import Person, Search, Subject, Wait

#: How long an operator waits for a storage that does not answer.
ANSWER_SECONDS = 15.0


async def look_at_parked(store: Store, search: Search) -> None:
    """Fill in who waits for whom among the persons and their parents. Raises StorageUnavailableError."""
    async with storage_within(ANSWER_SECONDS):
        sellers = [parent for parent in search.parents if parent.entity == "sales_person"]
        await asyncio.gather(
            *(_look_at_person(store, search, person) for person in search.persons if person.subject.id),
            *(
                _look_at_waits(store, subject, subject.parents or sellers)
                for parent, subject in search.parents.items()
                if parent.entity == "company"
            ),
        )


async def _look_at_person(store: Store, search: Search, person: Person) -> None:
    parent = Parent(person.subject.entity.name, person.subject.table, person.subject.id)
    _, children = await asyncio.gather(
        _look_at_waits(store, person.subject, search.parents), anext(store.children(parent), [])
    )
    person.children = len(children)  # of a page of 1,000 at most


async def look_at_deals(store: Store, search: Search, missing: Collection[str]) -> None:
    """The same for these opportunities, and the rows that give their roles. Raises StorageUnavailableError."""
    deals = [deal for id_ in missing if (deal := search.deals.get(id_))]
    ties = [tie for tie in search.ties.values() if any(parent.id in missing for parent in tie.parents)]
    async with storage_within(ANSWER_SECONDS):
        await asyncio.gather(*(_look_at_waits(store, each, each.parents) for each in (*deals, *ties)))


async def look_at_app(state: State, budget: Budget, search: Search, schedule: str) -> None:
    """Fill in why the app may send nothing at all, as it has noted itself. Raises StorageUnavailableError.

    `schedule`: that of the timer that runs every minute.
    """
    async with storage_within(ANSWER_SECONDS):
        circuits, beats, usage = await asyncio.gather(
            rows_of(state, circuit_breaker.KIND), rows_of(state, heartbeat.KIND), budget.refresh()
        )
    search.outages, search.closed = circuit.still_open(circuits, search.at), usage.closed
    beat = heartbeat.beat_of(beats.get(heartbeat.TIMER, {}))
    if silent := heartbeat.silence(beat, schedule, search.at):
        search.silent = f"the app has told nothing for {age(silent)}"
    elif beat is None and heartbeat.interval(schedule):
        search.silent = "the app has never run here"


async def _look_at_waits(store: Store, subject: Subject, parents: Iterable[Parent]) -> None:
    found = await asyncio.gather(*(_wait_of(store, subject, parent) for parent in parents))
    subject.parked = [parked for parked in found if parked]


async def _wait_of(store: Store, subject: Subject, parent: Parent) -> Wait | None:
    """The record's wait for this parent, or None: two point reads."""
    row = await store.table.get(parent.entity, f"{parent.id}|{subject.table}|{subject.id}")
    if row is None:
        return None
    wait = Wait(parent, utc(row["Since"]), linked_later=bool(row.get("LinkedLater")))
    for note in (await store.notes([parent])).values():
        wait = replace(wait, next_check=note.next_check, checks=note.checks, cause=note.cause)
    return wait


async def look_at_left_out(state: State, search: Search) -> None:
    """Fill in what the app has noted of each person. Raises StorageUnavailableError."""
    try:
        async with storage_within(ANSWER_SECONDS):
            for person in search.persons:
                if person.subject.id:
                    row = await state.read(
                        kind_of(person.subject.entity.name), f"{person.subject.table}|{person.subject.id}"
                    )
                    person.subject.left_out = fields_of(row)
    except ValueError as error:  # written by another version
        raise StorageUnavailableError(type(error).__name__) from None
