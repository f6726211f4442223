"""The compiled mapping of each table: sync.toml against Marketo's describe and Dataverse's choice labels.

Loaded on first use and kept for a day: one Marketo call per object and, where labels are mapped, a few to Dataverse.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from shared.config import SyncConfig
from shared.dataverse.client import DataverseClient
from shared.entities import TABLES, Entity
from shared.fields import FieldMap, Labels, MarketoField, compile_table, label_columns
from shared.marketo.client import MarketoClient

log = logging.getLogger(__name__)

KEEP_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class TableSchema:
    """How the rows of one table are read and mapped."""

    columns: frozenset[str]
    fields: FieldMap
    labels: Labels


class Schema:
    """Compiled tables by name, loaded once for all that wait for them."""

    def __init__(
        self, config: SyncConfig, dataverse: DataverseClient, marketo: MarketoClient, *, clock: Callable[[], float]
    ) -> None:
        self._config = config
        self._dataverse = dataverse
        self._marketo = marketo
        self._clock = clock
        self._tables: dict[str, tuple[float, TableSchema]] = {}
        self._described: dict[str, tuple[float, dict[str, MarketoField]]] = {}
        self._lock = asyncio.Lock()

    async def of(self, table: str) -> TableSchema:
        """The schema of a mapped table. Raises as the two clients do."""
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

    def forget(self) -> None:
        """Load everything anew at its next use."""
        self._tables.clear()
        self._described.clear()

    async def _load(self, table: str) -> TableSchema:
        entity, source = TABLES[table]
        config = self._config.tables[table]
        fields = compile_table(config, await self._describe(entity))
        if fields.dropped:
            log.warning("fields_not_in_marketo table=%s fields=%s", table, ",".join(fields.dropped))
        wanted = label_columns(config)
        labels = await self._dataverse.labels(table, wanted, self._config.language) if wanted else {}
        return TableSchema(frozenset({*fields.columns, *source.rule_columns}), fields, labels)

    async def _describe(self, entity: Entity) -> dict[str, MarketoField]:
        kept = self._described.get(entity.name)
        if kept is None or kept[0] <= self._clock():
            kept = (self._clock() + KEEP_SECONDS, await self._marketo.describe(entity))
            self._described[entity.name] = kept
        return kept[1]
