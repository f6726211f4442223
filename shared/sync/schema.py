"""The compiled mapping of each table: sync.toml against Marketo's describe and Dataverse's metadata.

Loaded on first use. Dataverse's side is read again after five minutes. Marketo's costs a call, so it is kept for a day;
but while a mapped field is left out or refused it is looked at again, after a minute and each time twice as long. When
an operator has looked at both sides' schema, every process looks again at its next batch (sync/reference_state.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Protocol

from ..config.conditions import Row, SyncFilter
from ..config.sync_toml import SyncConfig
from ..dataverse.metadata import Metadata, hidden_in
from ..marketo.fields import MarketoField
from ..model.entities import COMPANY, CREATED_ON, MODIFIED_ON, TABLES, Entity
from ..model.errors import ConfigurationError, MsiSyncError
from .company_fields import fields_of_company
from .converters import Policy
from .mapping import FieldMap, Labels, compile_table, has_unknown_choice, label_columns
from .reference_state import Versions, always_the_same
from .table_schema import TableSchema, filter_for

log = logging.getLogger(__name__)

#: How long Dataverse's side is kept: nothing tells of a new column or of a renamed choice.
KEEP_SECONDS = 300.0
#: How long Marketo's side is kept when every mapped field is there.
DESCRIBE_SECONDS = 86_400.0
#: When it is looked at again while one is not: then after twice as long each time, up to the longest.
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 60.0, 3600.0
#: Labels are read again for a choice that has none, at most so often: a deleted option never gets one. And what an
#: operator has put right is looked at again at most so often.
RELABEL_SECONDS = 60.0


@dataclass(slots=True)
class _Described:
    """Marketo's side of an entity. `doubtful`: a mapped field was missing or refused, so it may have changed."""

    fields: dict[str, MarketoField]
    read_at: float
    look_after: float = FIRST_LOOK_SECONDS
    doubtful: bool = False

    def is_due(self, now: float) -> bool:
        """Whether it must be read again."""
        return now >= self.read_at + (self.look_after if self.doubtful else DESCRIBE_SECONDS)


@dataclass(slots=True)
class _Kept:
    """A compiled table, with Marketo's side that it was compiled from."""

    schema: TableSchema
    described: _Described
    read_at: float


class Describes(Protocol):
    """Who says which fields an object of Marketo has: its client, or who has asked it within a day."""

    async def describe(self, entity: Entity) -> dict[str, MarketoField]:
        """The fields of an object by name."""


@dataclass
class Schema:
    """Compiled tables by name, loaded once for all that wait for them.

    `watch`: sees the labels of a table's choices whenever they have been read.
    """

    config: SyncConfig
    metadata: Metadata
    marketo: Describes
    _: KW_ONLY
    clock: Callable[[], float]
    versions: Callable[[], Awaitable[Versions | None]] = always_the_same
    watch: Callable[[str, Labels], Awaitable[None]] | None = None
    _version: int | None = field(default=None, init=False)
    _tables: dict[str, _Kept] = field(default_factory=dict, init=False)
    _described: dict[str, _Described] = field(default_factory=dict, init=False)
    _relabelled: dict[str, float] = field(default_factory=dict, init=False)
    _warned: set[tuple[str, str]] = field(default_factory=set, init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def look(self, *, fresh: bool = False) -> None:
        """Before a batch: see whether an operator has put the schema right, and forget what was kept before that.

        `fresh`: the batch has records for which one has: what is not quite new does not count. One request to storage.
        """
        shared = await self.versions()
        if shared is not None:
            if self._version not in (None, shared.schema):
                self.forget()
            self._version = shared.schema
        if fresh:
            newest = self.clock() - RELABEL_SECONDS
            self._tables = {name: kept for name, kept in self._tables.items() if kept.read_at > newest}
            sides = self._described.items()
            self._described = {name: side for name, side in sides if side.read_at > newest or not side.doubtful}

    async def of(self, table: str) -> TableSchema:
        """The schema of a mapped table. Raises as the two clients do, and ConfigurationError (`filter_for`)."""
        if kept := self._kept(table):
            return kept
        async with self._lock:
            return self._kept(table) or await self._load(table)

    def _kept(self, table: str) -> TableSchema | None:
        kept = self._tables.get(table)
        now = self.clock()
        if kept is None or now >= kept.read_at + KEEP_SECONDS:
            return None
        described = self._described.get(TABLES[table][0].name)
        return kept.schema if described is kept.described and not described.is_due(now) else None

    async def labelled(self, table: str, rows: Iterable[Row]) -> TableSchema:
        """The schema, with labels that are read again when these rows have choices without one. Raises as `of`."""
        schema = await self.of(table)
        if not any(has_unknown_choice(row, schema.labels) for row in rows):
            return schema
        async with self._lock:
            kept = self._tables.get(table)
            schema = kept.schema if kept else schema
            if self.clock() >= self._relabelled.get(table, 0):
                self._relabelled[table] = self.clock() + RELABEL_SECONDS
                schema = replace(schema, labels=await self._labels(table, schema.fields))
                if kept:
                    kept.schema = schema
        return schema

    async def believed(self, table: str, rows: Iterable[Row]) -> TableSchema:
        """The schema by which the nulls of these rows, which have just been read, may be believed. Raises as `of`.

        A column may have been secured since the schema was loaded, and then its null is none. So Dataverse is asked
        after the read, once for each; what it hides meanwhile has the table loaded anew.
        """
        schema = await self.of(table)
        if not any(row.get(column) is None for row in rows for column in schema.columns):
            return schema
        hidden = await self.metadata.hidden_columns(table)
        if hidden & schema.columns == schema.hidden & schema.columns:
            return schema
        self._tables.pop(table, None)
        return await self.of(table)

    async def filter_of(self, table: str) -> SyncFilter:
        """Which rows of a mapped table are synced; costs nothing where all are. Raises as `of`."""
        wanted = self.config.filter_of(table)
        return (await self.of(table)).filter if wanted.columns else wanted

    def doubt(self, entity: str) -> None:
        """Marketo has refused a field of this entity: it may not be what it was when it was described."""
        if entity in self._described:
            self._described[entity].doubtful = True

    def forget(self) -> None:
        """Load everything anew at its next use."""
        self._tables.clear()
        self._described.clear()

    async def _load(self, table: str) -> TableSchema:
        entity, source = TABLES[table]
        described = await self._describe(entity)
        there = await self.metadata.readable_columns(table)
        config = self.config
        policy = Policy(config.language, config.text.beyond_bmp, config.time_zone)
        mapped = config.fields_of(table)
        fields = compile_table(mapped, described.fields, columns=there, clears=config.empty == "clear", policy=policy)
        id_fields = self._id_fields(table, described.fields)
        described.doubtful |= bool(fields.dropped) or len(id_fields) < len(config.key_fields(entity.name))
        self._warn(table, "not writable in Marketo", fields.dropped)
        self._warn(table, "not readable in Dynamics", fields.dropped_columns)
        hidden = hidden_in(there)
        needed = {*fields.columns, *source.rule_columns}
        self._warn(table, "hidden from the sync user: the fields keep their value", sorted(needed & hidden))
        chosen = filter_for(config.filter_of(table), there, table)
        labels = await self._labels(table, fields)
        others = frozenset(there).intersection((*source.rule_columns, CREATED_ON, MODIFIED_ON))
        columns = fields.columns | chosen.columns | others
        of_company = await fields_of_company(fields.names, self._names_of_company) if entity.is_lead else frozenset()
        clears = config.refused == "clear"
        flag = self._deleted_flag(table, described) if entity.is_lead else ""
        schema = TableSchema(columns, fields, labels, id_fields, chosen, of_company, hidden, clears, flag)
        self._tables[table] = _Kept(schema, described, self.clock())
        return schema

    def _deleted_flag(self, table: str, described: _Described) -> str:
        """The field of sync.toml that tells of deleted rows, if Marketo has it as one that is true or false."""
        wanted = self.config.lifecycle.deleted_flag
        fits = (n for n, f in described.fields.items() if f.writable and f.data_type == "boolean")
        found = next((name for name in fits if name.lower() == wanted.lower()), "")
        if wanted and not found:
            described.doubtful = True
            self._warn(table, "not a boolean field of Marketo that can be written", [wanted])
        return found

    async def _labels(self, table: str, fields: FieldMap) -> Labels:
        wanted = label_columns(self.config.fields_of(table)) & fields.columns
        if not wanted:
            return {}
        labels = await self.metadata.labels(table, wanted, self.config.language)
        if self.watch:
            await self.watch(table, labels)
        return labels

    async def _names_of_company(self) -> Collection[str]:
        return (await self._describe(COMPANY)).fields

    def _id_fields(self, table: str, described: Collection[str]) -> tuple[str, ...]:
        """Without the first nothing can be synced; one beside it may be missing. Raises ConfigurationError."""
        spelled = {name.lower(): name for name in described}
        names = self.config.key_fields(TABLES[table][0].name)
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

    async def _describe(self, entity: Entity) -> _Described:
        kept = self._described.get(entity.name)
        now = self.clock()
        if kept and not kept.is_due(now):
            return kept
        try:
            found = _Described(await self.marketo.describe(entity), now)
        except MsiSyncError:
            if kept is None or now >= kept.read_at + DESCRIBE_SECONDS:
                raise
            found = replace(kept, read_at=now)  # it was only a look
        if kept and kept.doubtful:
            found.look_after = min(kept.look_after * 2, LONGEST_LOOK_SECONDS)
        self._described[entity.name] = found
        return found
