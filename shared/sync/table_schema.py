"""How the rows of one table are read, chosen and mapped: what shared/sync/schema.py loads. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..config.conditions import Row, SyncFilter
from ..dataverse.metadata import Column, hidden_in
from ..model.errors import ConfigurationError
from ..model.outcome import NO_VALUE
from .mapping import FieldMap, Labels, Mapped


@dataclass(frozen=True, slots=True)
class TableSchema:
    """How the rows of one table are read, chosen and mapped. `id_fields` take the row's own id.

    `company_fields` of a person are its company's as well: Marketo takes them through the company alone, once there is
    one. `hidden` columns are null in every row that our user reads, whatever they hold. `clears_refused`: a value that
    Marketo does not take empties the field. `deleted_flag`: the boolean field of persons whose rows are deleted, as
    Marketo spells it; empty where there is none.
    """

    columns: frozenset[str]
    fields: FieldMap
    labels: Labels
    id_fields: tuple[str, ...]
    filter: SyncFilter
    company_fields: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    clears_refused: bool = False
    deleted_flag: str = ""

    def own_fields(self, id_: str) -> dict[str, Any]:
        """What the sync itself sets of the record of a row that is there, one that was restored included."""
        own: dict[str, Any] = dict.fromkeys(self.id_fields, id_)
        return {**own, self.deleted_flag: False} if self.deleted_flag else own

    def record(self, id_: str, row: Row) -> Mapped:
        """What the sync sends of a row, but for its links and its role: the mapped fields and those of its own."""
        fields, left_out = self.fields.map(row, self.labels)
        fields.update(self.own_fields(id_))
        if self.clears_refused:
            fields.update((each.field, None) for each in left_out if each.code in NO_VALUE)
        return Mapped(fields, left_out)

    def company_fields_in(self, record: Iterable[str]) -> list[str]:
        """Those of these fields that are the company's of a person."""
        return [name for name in record if name.lower() in self.company_fields]


def filter_for(wanted: SyncFilter, columns: Mapping[str, Column] | Collection[str], table: str) -> SyncFilter:
    """The filter of a table that has these columns.

    Without the native connector's column every row is synced. Without a column of a rule, or when one that decides is
    hidden from our user, nobody can tell what may leave Dynamics: ConfigurationError, and the rows wait.
    """
    missing = sorted({column for condition in wanted.rule for column in condition} - set(columns))
    if missing:
        raise ConfigurationError(
            "FilterColumnMissing",
            f"the filter of {table} in sync.toml names {', '.join(missing)}, which cannot be read in Dynamics; "
            "fix the filter: until then nothing of this table is synced",
        )
    hidden = sorted(wanted.columns & hidden_in(columns))
    if hidden:
        raise ConfigurationError(
            "FilterColumnHidden",
            f"column-level security hides {', '.join(hidden)} of {table} from the sync user, and the filter needs it; "
            "let the user read it by a column security profile: until then nothing of this table is synced",
        )
    return wanted if wanted.flag in columns else replace(wanted, flag="")
