"""The compiled mapping of each table: sync.toml against Marketo's describe and Dataverse's metadata.

Loaded on first use and kept for a day: one Marketo call per object, one request to Dataverse per table and, where
labels are mapped, a few more. A field or column that has disappeared is left out, and warned about once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from shared.conditions import Row, SyncFilter
from shared.config import SyncConfig
from shared.dataverse.metadata import Metadata
from shared.entities import TABLES, Entity
from shared.errors import ConfigurationError
from shared.fields import FieldMap, Labels, MarketoField, compile_table, has_unknown_choice, label_columns
from shared.marketo.client import MarketoClient

log = logging.getLogger(__name__)

KEEP_SECONDS = 86_400.0
#: Labels are read again for a choice that has none, at most so often: a deleted option never gets one.
RELABEL_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class TableSchema:
    """How the rows of one table are read, chosen and mapped. `id_fields` take the row's own id."""

    columns: frozenset[str]
    fields: FieldMap
    labels: Labels
    id_fields: tuple[str, ...]
    filter: SyncFilter


class Schema:
    """Compiled tables by name, loaded once for all that wait for them."""

    def __init__(
        self, config: SyncConfig, metadata: Metadata, marketo: MarketoClient, *, clock: Callable[[], float]
    ) -> None:
        self._config = config
        self._metadata = metadata
        self._marketo = marketo
        self._clock = clock
        self._tables: dict[str, tuple[float, TableSchema]] = {}
        self._described: dict[str, tuple[float, dict[str, MarketoField]]] = {}
        self._relabelled: dict[str, float] = {}
        self._warned: set[tuple[str, str]] = set()
        self._lock = asyncio.Lock()

    async def of(self, table: str) -> TableSchema:
        """The schema of a mapped table. Raises as the two clients do, and ConfigurationError (`filter_for`)."""
        kept = self._tables.get(table)
        if kept and kept[0] > self._clock():
            return kept[1]
        async with self._lock:
            kept = self._tables.get(table)
            if kept and kept[0] > self._clock():
                return kept[1]
            schema = await self._load(table)
            self._tables[table] = (self._clock() + KEEP_SECONDS, schema)
            return schema

    async def labelled(self, table: str, rows: Iterable[Row]) -> TableSchema:
        """The schema, with labels that are read again when these rows have choices without one. Raises as `of`."""
        schema = await self.of(table)
        if not any(has_unknown_choice(row, schema.labels) for row in rows):
            return schema
        async with self._lock:
            if self._clock() >= self._relabelled.get(table, 0):
                self._relabelled[table] = self._clock() + RELABEL_SECONDS
                until, schema = self._tables.get(table, (0, schema))
                schema = replace(schema, labels=await self._labels(table, schema.fields))
                self._tables[table] = until, schema
        return self._tables[table][1]

    async def filter_of(self, table: str) -> SyncFilter:
        """Which rows of a mapped table are synced; costs nothing where all are. Raises as `of`."""
        wanted = self._config.filter_of(table)
        return (await self.of(table)).filter if wanted.columns else wanted

    def forget(self) -> None:
        """Load everything anew at its next use."""
        self._tables.clear()
        self._described.clear()

    async def _load(self, table: str) -> TableSchema:
        entity, source = TABLES[table]
        there = await self._metadata.readable_columns(table)
        described = await self._describe(entity)
        fields = compile_table(
            self._config.fields_of(table), described, columns=there, clears=self._config.empty == "clear"
        )
        self._warn(table, "not writable in Marketo", fields.dropped)
        self._warn(table, "not readable in Dynamics", fields.dropped_columns)
        chosen = filter_for(self._config.filter_of(table), there, table)
        labels = await self._labels(table, fields)
        columns = {*fields.columns, *chosen.columns, *(there.intersection(source.rule_columns))}
        return TableSchema(frozenset(columns), fields, labels, self._id_fields(table, described), chosen)

    async def _labels(self, table: str, fields: FieldMap) -> Labels:
        wanted = label_columns(self._config.fields_of(table)) & fields.columns
        return await self._metadata.labels(table, wanted, self._config.language) if wanted else {}

    def _id_fields(self, table: str, described: Collection[str]) -> tuple[str, ...]:
        """Without the first nothing can be synced; one beside it may be missing. Raises ConfigurationError."""
        spelled = {name.lower(): name for name in described}
        names = self._config.key_fields(TABLES[table][0].name)
        for name in names:
            known = spelled.get(name.lower(), name)
            if known != name:  # Marketo takes it, and answers with its own (marketo.md 5.1)
                text = f"[keys] of sync.toml names {name}, which Marketo spells {known}: write it so"
                raise ConfigurationError("KeySpelling", text)
        missing = [name for name in names[1:] if name not in described]
        self._warn(table, "not in Marketo", missing)
        return tuple(name for name in names if name not in missing)

    def _warn(self, table: str, what: str, names: Iterable[str]) -> None:
        for name in names:
            if (table, name) not in self._warned:
                self._warned.add((table, name))
                log.warning("left_out table=%s name=%s: %s; see msisync fields check", table, name, what)

    async def _describe(self, entity: Entity) -> dict[str, MarketoField]:
        kept = self._described.get(entity.name)
        if kept is None or kept[0] <= self._clock():
            kept = (self._clock() + KEEP_SECONDS, await self._marketo.describe(entity))
            self._described[entity.name] = kept
        return kept[1]


def filter_for(wanted: SyncFilter, columns: Collection[str], table: str) -> SyncFilter:
    """The filter of a table that has these columns.

    Without the native connector's column every row is synced. Without a column of a rule nobody can tell what may
    leave Dynamics: ConfigurationError, and the rows wait.
    """
    missing = sorted({column for condition in wanted.rule for column in condition} - set(columns))
    if missing:
        raise ConfigurationError(
            "FilterColumnMissing",
            f"the filter of {table} in sync.toml names {', '.join(missing)}, which cannot be read in Dynamics; "
            "mend the filter: until then nothing of this table is synced",
        )
    return wanted if wanted.flag in columns else replace(wanted, flag="")
