"""How many records wait for parents: one pass over the table, a page of few columns in memory at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..model.entities import ENTITIES

if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient

#: Rows of one answer, the most that Table Storage gives.
PAGE = 1000
#: A query for the parked records of one parent's entity: their keys begin with a GUID (shared/azure/parked_table.py).
RECORDS = "PartitionKey eq @entity and RowKey ge '0'"


@dataclass(slots=True)
class Parked:
    """Records of one entity that wait for parents: how many by the parents' entity, and since when the oldest.

    `linked_later`: links, by the parents' entity, without which records are in Marketo until the parents come.
    """

    by_parent: dict[str, int] = field(default_factory=dict)
    oldest: datetime | None = None
    linked_later: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """All that wait."""
        return sum(self.by_parent.values())


async def count(table: TableClient, most: int) -> tuple[dict[str, Parked], bool]:
    """The parked records by entity, and whether there are more than the `most` that are counted.

    Raises azure.core's AzureError.
    """
    from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415  (slow to import)

    found: dict[str, Parked] = {}
    seen = 0
    try:
        for parent in ENTITIES:
            rows = table.query_entities(
                RECORDS, parameters={"entity": parent}, select=["Entity", "Since", "LinkedLater"], results_per_page=PAGE
            )
            async for row in rows:
                if seen == most:
                    return found, True
                seen += 1
                parked = found.setdefault(row["Entity"], Parked())
                if row.get("LinkedLater"):
                    parked.linked_later[parent] = parked.linked_later.get(parent, 0) + 1
                else:
                    _add(parked, parent, row.get("Since"))
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
