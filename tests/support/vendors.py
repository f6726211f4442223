"""What the two systems say where a test does not care: the base of the worlds that stand for them."""

from collections.abc import Collection, Sequence
from typing import Any

from shared.marketo.fields import MarketoField
from shared.model.entities import TABLES, Entity


class Vendors:
    """Dataverse and Marketo with the columns and fields of `columns` and `fields`; nothing is hidden or refused."""

    columns: Collection[str] = ("name",)
    fields: Collection[str] = ("company",)

    async def hidden_columns(self, _table: str, /) -> frozenset[str]:
        """Return the columns that field security hides."""
        return frozenset()

    async def readable_columns(self, table: str, /) -> Any:
        """Return the columns of a table, those of the rules among them."""
        return frozenset([*self.columns, *TABLES[table][1].rule_columns])

    async def labels(self, *_: Any) -> dict[str, dict[int, str]]:
        """Return the labels of choices."""
        return {}

    async def describe(self, _entity: Entity, /) -> dict[str, MarketoField]:
        """Return the fields of an object of Marketo."""
        return dict.fromkeys(self.fields, MarketoField("string", 255))

    def key_of(self, entity: Entity, /) -> str:
        """Return the field that records are looked up by."""
        return entity.key

    async def find(self, _entity: Entity, _keys: Sequence[str], /) -> dict[str, int]:
        """Return the ids of those that Marketo has."""
        return {}

    async def read(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        """Return the records that a filter finds."""
        return []

    async def probe_write(self, _entity: Entity, /) -> None:
        """Let a call without records go well."""
