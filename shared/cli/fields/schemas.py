"""Both sides' schema, loaded once for all that is checked or proposed: four requests a table, one call an object."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ...dataverse.metadata import Column, Metadata
from ...marketo.client import MarketoClient
from ...marketo.fields import MarketoField
from ...model.codes import Kind
from ...model.entities import ENTITIES, TABLES
from ...model.errors import DataverseError, MarketoError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Schemas:
    """Columns by table and logical name, Marketo's fields by entity and name.

    What a vendor refuses to describe is in neither: `refused` has the answer, by table or by `in_marketo(entity)`.
    """

    columns: Mapping[str, Mapping[str, Column]]
    fields: Mapping[str, Mapping[str, MarketoField]]
    refused: Mapping[str, str]

    def of(self, table: str) -> tuple[Mapping[str, Column], Mapping[str, MarketoField]] | None:
        """Both sides of a table, or None when one of them could not be had."""
        entity = TABLES[table][0].name
        if table not in self.columns or entity not in self.fields:
            return None
        return self.columns[table], self.fields[entity]

    def only(self, tables: Collection[str]) -> Schemas:
        """What of these is about the tables, and the objects that they feed."""
        entities = {TABLES[table][0].name for table in tables}
        names = {*tables, *map(in_marketo, entities)}
        return Schemas(
            {table: columns for table, columns in self.columns.items() if table in tables},
            {entity: fields for entity, fields in self.fields.items() if entity in entities},
            {name: why for name, why in self.refused.items() if name in names},
        )


async def load_schemas(
    metadata: Metadata,
    marketo: MarketoClient,
    tables: Collection[str],
    language: int,
    more_entities: Collection[str] = (),
) -> Schemas:
    """The schema of these tables and of the objects that they feed; labels are in `language` where there are any.

    Raises as the two clients do when a vendor cannot be asked at all.
    """
    entities = list(dict.fromkeys([*(TABLES[table][0].name for table in tables), *more_entities]))
    columns, fields = await asyncio.gather(
        asyncio.gather(*(_or_refusal(metadata.columns(table, language)) for table in tables)),
        asyncio.gather(*(_or_refusal(marketo.describe(ENTITIES[entity])) for entity in entities)),
    )
    by_table = dict(zip(tables, columns, strict=True))
    by_entity = dict(zip(entities, fields, strict=True))
    answers = [*by_table.items(), *((in_marketo(entity), found) for entity, found in by_entity.items())]
    return Schemas(
        {table: found for table, found in by_table.items() if isinstance(found, dict)},
        {entity: found for entity, found in by_entity.items() if isinstance(found, dict)},
        {name: found for name, found in answers if isinstance(found, str)},
    )


def in_marketo(entity: str) -> str:
    """What an entity's object is called, apart from the table that may have the same name."""
    return f"Marketo {ENTITIES[entity].path}"


async def _or_refusal(loading: Awaitable[dict[str, T]]) -> dict[str, T] | str:
    try:
        return await loading
    except (DataverseError, MarketoError) as error:
        if error.kind in {Kind.CONFIGURATION, Kind.GONE, Kind.PERMANENT}:
            return str(error)
        raise
