"""Which fields have reached all records of Marketo, by which filter: noted when a run over all rows of a table ends.

A field that is mapped later reaches a record with its row's next change. Rows that do not change stay without it, until
somebody runs msisync quick-sync: who maps one is told so. One row of the shared state for each table:

    {"synced": {field: rules}, "filter": filter, "tables": [table],
     "begun": {"run": id, "fields": {field: rules}, "filter": filter}}

`begun` is what sync.toml said when the run that is going on came to the table: a field that was mapped otherwise since
has not reached the rows that were sent before, and another filter has not judged them. `tables` are those of sync.toml
at the end of the run: what is mapped later needs a run of its own. Nothing is noted of a part of a table's rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...azure.shared_state import State, Value
from ...config.sync_toml import SyncConfig
from .model import Run, RunKind

#: The kind of the rows of the shared state, by table.
KIND = "mapped"
#: A run of another kind sends what differs, not every row.
_KINDS = frozenset({RunKind.INITIAL_SYNC, RunKind.QUICK_SYNC})


@dataclass(frozen=True, slots=True)
class SyncedFields:
    """Notes what runs have done. Raises StorageUnavailableError. Done twice, it does no harm."""

    state: State
    config: SyncConfig

    async def began(self, run: Run, table: str) -> None:
        """A run comes to a table."""
        if _covers_all(run):
            begun = {"run": run.id, "fields": rules_of(self.config, table), "filter": filter_of(self.config, table)}
            await self.state.change(KIND, table, lambda row: {**row, "begun": begun})

    async def completed(self, run: Run, table: str) -> None:
        """A run has nothing left to do in a table."""
        if _covers_all(run):
            now, tables = rules_of(self.config, table), sorted(self.config.tables)
            await self.state.change(KIND, table, lambda row: _ended(row, run, now, tables))


def _covers_all(run: Run) -> bool:
    return run.kind in _KINDS and not run.scope.conditions


def _ended(row: Value, run: Run, now: Mapping[str, Any], tables: Sequence[str]) -> Value | None:
    begun = row.get("begun") or {}
    if begun.get("run") != run.id:
        return None
    kept = {name: rules for name, rules in begun["fields"].items() if now.get(name) == rules}
    if not run.scope.fields:
        return {"synced": kept, "filter": begun.get("filter"), "tables": tables}
    if "synced" not in row:  # nobody knows of the others
        return {}
    sent = {name.lower() for name in run.scope.fields}
    kept = {name: rules for name, rules in kept.items() if name.lower() in sent}
    return {**row, "synced": {**row["synced"], **kept}, "begun": None}


def rules_of(config: SyncConfig, table: str) -> dict[str, Any]:
    """The rules of a table as JSON types, by field."""
    return {
        name: [rule.model_dump(mode="json", exclude_defaults=True) for rule in rules]
        for name, rules in config.fields_of(table).items()
    }


def filter_of(config: SyncConfig, table: str) -> dict[str, Any]:
    """The filter of a table as JSON types."""
    chosen = config.filter_of(table)
    return {"flag": chosen.flag, "rule": [dict(condition) for condition in chosen.rule]}


@dataclass(frozen=True, slots=True)
class Unsynced:
    """Fields of a table that rows may be without. `is_whole`: the table itself was mapped after the last run.

    `is_filtered_anew`: the last run was with another filter, so that rows may be missing.
    """

    table: str
    fields: tuple[str, ...]
    is_whole: bool = False
    is_filtered_anew: bool = False


def unsynced(config: SyncConfig, rows: Mapping[str, Value]) -> list[Unsynced]:
    """What was mapped, or mapped otherwise, since the last complete run over all rows, by the notes of all tables.

    Nothing where no run was ever complete: then Marketo has what changed, as was decided when the app was set up.
    """
    ended = {table: row for table, row in rows.items() if "synced" in row}
    return list(_unsynced(config, ended)) if ended else []


def _unsynced(config: SyncConfig, rows: Mapping[str, Value]) -> Iterator[Unsynced]:
    mapped_before = {name for row in rows.values() for name in row.get("tables", ())}
    for table in config.tables:
        rules = rules_of(config, table)
        if table not in rows:
            if table not in mapped_before:
                yield Unsynced(table, tuple(rules), is_whole=True)
            continue
        synced, judged_by = rows[table]["synced"], rows[table].get("filter")
        new = tuple(name for name, each in rules.items() if synced.get(name) != each)
        anew = judged_by not in (None, filter_of(config, table))  # None: noted by an earlier version
        if new or anew:
            yield Unsynced(table, new, is_filtered_anew=anew)
