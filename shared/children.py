"""Rows that were synced without a link because the filter kept their parent out, found again when it is let in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence

from shared.dataverse.client import API, DataverseClient
from shared.entities import CHILDREN, TABLES
from shared.records import Record
from shared.routing import chunked

#: Parents in one query: with a GUID of 36 characters and its column, far below the 32 KB of a URL.
PARENTS = 50


class Children:
    """Finds the rows of mapped tables that refer to given rows."""

    def __init__(self, dataverse: DataverseClient, tables: Collection[str]) -> None:
        self._dataverse = dataverse
        self._tables = tables

    async def of(self, records: Sequence[Record]) -> AsyncIterator[list[Record]]:
        """The children of these records, by pages. Raises as DataverseClient does."""
        by_table: dict[str, list[Record]] = {}
        for record in records:
            by_table.setdefault(record.table, []).append(record)
        for table, parents in by_table.items():
            for child, column in CHILDREN.get(table, ()):
                if child in self._tables:
                    for part in chunked(parents, PARENTS):
                        async for page in self._referring(child, column, part):
                            yield page

    async def _referring(self, table: str, column: str, parents: list[Record]) -> AsyncIterator[list[Record]]:
        source = TABLES[table][1]
        chosen = " or ".join(f"{column} eq {parent.id}" for parent in parents)
        url = f"{API}/{source.entity_set}?$select={source.key}&$filter={chosen}"
        seen = min(parent.first_seen for parent in parents)
        async for page in self._dataverse.pages(url):
            yield [Record(table, str(row[source.key]).lower(), seen) for row in page]
