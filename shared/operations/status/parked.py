"""How many records wait for parents: one pass over the table, a page of few columns in memory at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.entities import ENTITIES
from shared.operations.status.facts import MAX_PARKED, Parked
from shared.store import PAGE, RECORDS

if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient


async def count(table: TableClient) -> tuple[dict[str, Parked], bool]:
    """The parked records by entity, and whether there are more than were counted. Raises azure.core's AzureError."""
    from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415  (slow to import)

    found: dict[str, Parked] = {}
    seen = 0
    try:
        for parent in ENTITIES:
            rows = table.query_entities(
                RECORDS, parameters={"entity": parent}, select=["Entity", "Since"], results_per_page=PAGE
            )
            async for row in rows:
                if seen == MAX_PARKED:
                    return found, True
                seen += 1
                _add(found.setdefault(row["Entity"], Parked()), parent, row.get("Since"))
    except ResourceNotFoundError:  # the app makes the table when it first parks a record
        return {}, False
    return found, False


def _add(parked: Parked, parent: str, since: datetime | None) -> None:
    parked.by_parent[parent] = parked.by_parent.get(parent, 0) + 1
    if since is None:
        return
    since = since if since.tzinfo else since.replace(tzinfo=UTC)
    if parked.oldest is None or since < parked.oldest:
        parked.oldest = since
