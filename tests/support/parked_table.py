"""Parked records and notes of parents in the real table: how to make them, and what the table has."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from shared.azure.parked_rows import Note, NoteState, Parked
from shared.azure.parked_table import Store
from shared.azure.table import Account
from shared.config.settings import StorageSettings
from shared.model.outcome import Parent
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
