"""Rows that are no persons: which table an id belongs to, and whether Marketo has its record."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ...model.entities import PERSON, TABLES
from ..context import Context

#: The column that names a row to people, by table; of other tables, none does.
_NAMES = {"account": "name", "opportunity": "name", "systemuser": "fullname"}


@dataclass(frozen=True, slots=True)
class Found:
    """A row of Dynamics. `in_marketo`: whether Marketo has its record; None of roles, which have no key there."""

    table: str
    id: str
    name: str
    entity: str
    in_marketo: bool | None


async def find(context: Context, id_: str) -> list[Found]:
    """The rows with this id in the tables that sync.toml maps, but for leads and contacts. Raises as both clients do.

    Costs a request for each table, and a Marketo call where one has the row.
    """
    others = [table for table in TABLES if table in context.config.tables and TABLES[table][0] is not PERSON]
    found = await asyncio.gather(*(_find(context, table, id_) for table in others))
    return [each for each in found if each]


async def _find(context: Context, table: str, id_: str) -> Found | None:
    entity, source = TABLES[table]
    name = _NAMES.get(table, source.key)
    rows = await context.dataverse.rows(source.entity_set, source.key, [id_], (source.key, name))
    if id_ not in rows:
        return None
    in_marketo = id_ in await context.marketo.find(entity, [id_]) if entity.is_parent else None
    shown = str(rows[id_].get(name) or "") if table in _NAMES else ""
    return Found(table, id_, shown, entity.name, in_marketo)
