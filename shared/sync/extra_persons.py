"""Persons in Marketo whose row in Dynamics is gone. Reads only.

Marketo cannot list its persons. Its ids are numbers, though, given one after the other, so persons are asked for by
id, 300 a call, from the first to the last that is known. A row is gone only where Dynamics says so of lead and contact:
what the security role hides is there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from ..dataverse.client import MAX_IDS, NOT_FOUND, DataverseClient
from ..marketo.client import MAX_FILTER_VALUES, MarketoClient
from ..model.entities import PERSON, PERSON_TABLES
from ..model.ids_and_times import as_guid
from .comparison import Difference, Kind
from .routing import chunked


@dataclass(frozen=True, slots=True)
class ExtraPersons:
    """Looks for them. Raises as the two clients do."""

    dataverse: DataverseClient
    marketo: MarketoClient

    async def between(self, first: int, last: int) -> AsyncIterator[Difference]:
        """Those with one of these ids of Marketo."""
        key = self.marketo.key_of(PERSON)
        found: dict[str, int] = {}
        for start in range(first, last + 1, MAX_FILTER_VALUES):
            ids = range(start, min(start + MAX_FILTER_VALUES, last + 1))
            for row in await self.marketo.read(PERSON, "id", [str(id_) for id_ in ids], ("id", key)):
                if guid := as_guid(str(row.get(key) or "")):
                    found[guid] = int(row["id"])
            if len(found) >= MAX_IDS or ids[-1] == last:
                for part in chunked(list(found), MAX_IDS):
                    for guid in await self._gone(part):
                        yield Difference(PERSON.name, "", guid, Kind.EXTRA, marketo_ids=(found[guid],))
                found.clear()

    async def _gone(self, ids: list[str]) -> list[str]:
        """Those of these at most 300 ids that no lead or contact has."""
        for table in PERSON_TABLES.values():
            if ids:
                rows = await self.dataverse.rows(table, ids, ())
                ids = [id_ for id_ in ids if id_ not in rows]
        for table in PERSON_TABLES.values():
            statuses = await self.dataverse.statuses(table, ids)
            ids = [id_ for id_, status in zip(ids, statuses, strict=True) if status == NOT_FOUND]
        return ids
