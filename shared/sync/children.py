"""The rows that must be synced again because of another row: those that refer to it, and those linked through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence

from ..dataverse.client import API, DataverseClient
from ..model.entities import BELOW_CONTACT, CHILDREN, TABLES
from ..model.record import Record
from .links import MAX_CONTACT_STEPS
from .routing import chunked

#: Parents in one query: with a GUID of 36 characters and its column, far below the 32 KB of a URL.
PARENTS = 50


class Children:
    """Finds the rows of mapped tables that depend on given rows."""

    def __init__(self, dataverse: DataverseClient, tables: Collection[str]) -> None:
        self._dataverse = dataverse
        self._tables = tables

    async def of(self, records: Sequence[Record]) -> AsyncIterator[list[Record]]:
        """The children of these records, by pages. Raises as DataverseClient does.

        The company of a contact or an opportunity may be found through a contact: what is below a contact follows it.
        """
        contacts = [record for record in records if record.table == "contact" and record.deciding]
        by_table: dict[str, list[Record]] = {}
        for record in records:
            if record.table != "contact" or record.filter_changed:  # its company is no matter of its own roles
                by_table.setdefault(record.table, []).append(record)
        for table, parents in by_table.items():
            for child, column in CHILDREN.get(table, ()):
                async for page in self._referring(child, column, parents):
                    yield page
                    contacts += page if (table, child) == ("account", "contact") else ()
        async for page in self._below(contacts):
            yield page

    async def _below(self, contacts: list[Record]) -> AsyncIterator[list[Record]]:
        """The rows that have their company through these contacts, some steps down; contacts may form a circle."""
        seen = {contact.id for contact in contacts}
        for step in range(MAX_CONTACT_STEPS + 1):
            next_ones: list[Record] = []
            for child, column in BELOW_CONTACT:
                if child == "contact" and step == MAX_CONTACT_STEPS:
                    continue
                async for page in self._referring(child, column, contacts):
                    fresh = [record for record in page if child != "contact" or record.id not in seen]
                    if fresh:
                        yield fresh
                    next_ones += fresh if child == "contact" else ()
                    seen.update(record.id for record in fresh)
            contacts = next_ones

    async def _referring(self, table: str, column: str, parents: list[Record]) -> AsyncIterator[list[Record]]:
        if table not in self._tables:
            return
        source = TABLES[table][1]
        for part in chunked(parents, PARENTS):
            chosen = " or ".join(f"{column} eq {parent.id}" for parent in part)
            url = f"{API}/{source.entity_set}?$select={source.key}&$filter={chosen}"
            seen = min(parent.first_seen for parent in part)
            async for page in self._dataverse.pages(url):
                yield [Record(table, str(row[source.key]).lower(), seen) for row in page]
