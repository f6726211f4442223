"""What `msisync show person` asks Table Storage about fields that a person was synced without. Looks only."""

from __future__ import annotations

from ...azure.errors import storage_within
from ...azure.shared_state import State
from ...model.entities import PERSON
from ...model.errors import StorageUnavailableError
from ...sync.left_out_rows import fields_of, kind_of
from .facts import Search
from .parked import ANSWER_SECONDS


async def look(state: State, search: Search) -> None:
    """Fill in what the app has noted of each person. Raises StorageUnavailableError."""
    try:
        async with storage_within(ANSWER_SECONDS):
            for person in search.persons:
                if person.subject.id:
                    row = await state.read(kind_of(PERSON.name), f"{person.subject.table}|{person.subject.id}")
                    person.subject.left_out = fields_of(row)
    except ValueError as error:  # written by another version
        raise StorageUnavailableError(type(error).__name__) from None
