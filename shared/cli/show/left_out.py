"""What `msisync show person` asks Table Storage about fields that a person was synced without. Looks only."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from ...model.entities import PERSON
from ...model.left_out import LeftOut
from ...sync.left_out_rows import fields_of, kind_of
from .facts import Search
from .parked import ANSWER_SECONDS, StorageUnavailable

if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient


async def look(table: TableClient, search: Search) -> None:
    """Fill in what the app has noted of each person. Raises StorageUnavailable."""
    from azure.core.exceptions import AzureError  # noqa: PLC0415  (slow to import)

    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            for person in search.persons:
                if person.subject.id:
                    person.subject.left_out = await _noted(table, f"{person.subject.table}|{person.subject.id}")
    except (AzureError, OSError, ValueError) as error:
        raise StorageUnavailable("NoAnswer", f"it cannot be read ({type(error).__name__})") from None


async def _noted(table: TableClient, name: str) -> list[LeftOut]:
    from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415

    try:
        row = await table.get_entity(kind_of(PERSON.name), name)
    except ResourceNotFoundError:
        return []
    return fields_of(json.loads(row["Value"]))
