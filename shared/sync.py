"""The engine: records in, one outcome per record out, for each of the five entities alike.

    coalesce ▸ read the current rows ▸ map ▸ are the parents in Marketo? ▸ upsert in chunks ▸ outcomes

It writes nothing but Marketo records; what becomes of the outcomes is shared/settle.py's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from shared.batch import Batch, Candidate
from shared.codes import Kind, marketo_record
from shared.dataverse.client import MAX_IDS, DataverseClient
from shared.entities import ENTITIES, TABLES, Entity
from shared.errors import MsiSyncError, VendorError
from shared.known import Known
from shared.marketo.chunks import MAX_RECORDS, chunks
from shared.marketo.client import MAX_FILTER_VALUES, MarketoClient, Result
from shared.outcomes import Deferred, Failed, Later, Outcome, Parent, Retry, Skipped, Synced, of_error, of_skip
from shared.records import Record, coalesce, timestamp
from shared.references import References
from shared.relations import Rules
from shared.routing import chunked
from shared.schema import Schema, TableSchema
from shared.windows import Windows

log = logging.getLogger(__name__)

#: Rows are read by so many requests at a time.
READERS = 4
#: Records that are in memory with all their values at a time.
GROUP = 5 * MAX_RECORDS
#: From this tier on, what does not fill a call waits for the next cycle of a burst. Below, too many records would wait
#: for it: it waits only until the messages that became visible with it are through.
COLLECTED_TIER = 2


class Engine:
    """Syncs batches of records of one entity."""

    def __init__(
        self,
        *,
        dataverse: DataverseClient,
        marketo: MarketoClient,
        schema: Schema,
        references: References,
        known: Known,
        windows: Windows,
        tables: Sequence[str],
        clock: Callable[[], float],
        now: Callable[[], datetime],
        time_budget: float,
        parent_wait: float,
    ) -> None:
        self._dataverse = dataverse
        self._marketo = marketo
        self._schema = schema
        self._references = references
        self._known = known
        self._windows = windows
        self._tables = frozenset(tables)
        self._clock = clock
        self._now = now
        self._time_budget = time_budget
        self._parent_wait = timedelta(seconds=parent_wait)
        self._readers = asyncio.Semaphore(READERS)

    async def sync(self, entity: Entity, records: Iterable[Record]) -> list[tuple[Record, Outcome]]:
        """One outcome for each distinct record. Raises nothing that is about a record or a vendor."""
        unique = coalesce(records)
        batch = Batch(entity, self._clock() + self._time_budget, {record.key: record for record in unique})
        batch.decide([r for r in unique if r.operation == "delete"], Skipped("Deleted"))
        batch.decide(
            [r for r in unique if r.table not in self._tables or TABLES[r.table][0] is not entity],
            Failed("UnknownTable", "the table is not mapped for this entity in sync.toml"),
        )
        ready: dict[str, Candidate] = {}
        for group in chunked(list(batch.open.values()), GROUP):  # so memory is bounded by a group, not by the batch
            candidates = await self._read(batch, group)
            await self._find_parents(batch, candidates)
            self._ready(batch, candidates, ready)
            await self._upsert(batch, ready, MAX_RECORDS)
        if not self._collect(batch, list(ready.values())):
            await self._upsert(batch, ready, 1)
        batch.decide(list(batch.open.values()), Retry(0, "OutOfTime", "the invocation's time was over"))
        return batch.outcomes

    # -- reading and mapping ------------------------------------------------------------------------------------

    async def _read(self, batch: Batch, records: list[Record]) -> list[Candidate]:
        """Current rows, mapped, with their parents' identities. Rows that are gone or not to be synced are decided."""
        by_table: dict[str, list[Record]] = {}
        for record in records:
            by_table.setdefault(record.table, []).append(record)
        slices = [part for records in by_table.values() for part in chunked(records, MAX_IDS)]
        read = await asyncio.gather(*(self._guarded(batch, part, self._read_slice(batch, part)) for part in slices))
        return [candidate for part in read for candidate in part or ()]

    async def _read_slice(self, batch: Batch, records: list[Record]) -> list[Candidate]:
        """One request: at most 300 records of one table."""
        table = TABLES[records[0].table][1]
        async with self._readers:
            if self._clock() >= batch.deadline:
                return []
            schema = await self._schema.of(table.name)
            ids = [record.id for record in records]
            rows = await self._dataverse.rows(table.entity_set, table.key, ids, schema.columns, deadline=batch.deadline)
            rules = await self._references.rules_for(table.name, list(rows.values()), batch.deadline)
        batch.decide([r for r in records if r.id not in rows], Skipped("RowGone"))
        found = [(record, rows[record.id]) for record in records if record.id in rows]
        candidates = []
        for record, row in found:
            candidate = _candidate(batch.entity, record, row, schema, rules)
            if isinstance(candidate, Skipped | Failed):
                batch.decide([record], candidate)
            else:
                candidates.append(candidate)
        return candidates

    # -- parents ------------------------------------------------------------------------------------------------

    async def _find_parents(self, batch: Batch, candidates: list[Candidate]) -> None:
        """Ask Marketo for the parents that nobody knows of: one call per 300 of an entity, none on a warm cache.

        In a burst the parent is most likely part of it: then Marketo is asked only for records that have waited a
        cycle. That a parent was absent a moment ago does not count for a record that has just been released, because
        another instance may have synced the parent.
        """
        unknown: dict[str, set[str]] = {}
        for candidate in candidates:
            record = candidate.records[0]
            if self._windows.is_burst and record.parked_since is None:
                continue
            for parent in candidate.missing(self._known):
                if record.released or not self._known.is_absent(parent.entity, parent.id):
                    unknown.setdefault(parent.entity, set()).add(parent.id)
        for name, keys in unknown.items():
            asked = sorted(keys)
            for start in range(0, len(asked), MAX_FILTER_VALUES):
                part = asked[start : start + MAX_FILTER_VALUES]
                try:
                    await self._find(ENTITIES[name], part)
                except MsiSyncError as error:
                    lost = set(part)
                    batch.decide((r for c in candidates if _needs(c, name, lost) for r in c.records), of_error(error))

    async def _find(self, entity: Entity, keys: list[str]) -> None:
        found = await self._marketo.find(entity, keys)
        for key in keys:
            if key in found:
                self._known.add(entity.name, key, found[key])
            else:
                self._known.add_absent(entity.name, key)

    def _ready(self, batch: Batch, candidates: list[Candidate], ready: dict[str, Candidate]) -> None:
        """Add what can be sent now: parents known, encoded, each key once, not just sent with this content."""
        for candidate in candidates:
            if candidate.records[0].key not in batch.open:
                continue
            missing = candidate.missing(self._known)
            if missing:
                self._defer(batch, candidate, missing)
                continue
            candidate.encode(batch.entity, self._known)
            twin = ready.get(candidate.key)
            if twin:
                twin.records.extend(candidate.records)
            elif self._known.was_sent(batch.entity.name, candidate.key, candidate.digest):
                batch.decide(candidate.records, Synced("unchanged"))
            else:
                ready[candidate.key] = candidate

    def _defer(self, batch: Batch, candidate: Candidate, missing: list[Parent]) -> None:
        missing.sort(key=lambda parent: ENTITIES[parent.entity].tier)
        for record in candidate.records:
            since = record.parked_since
            if since and self._now() - since >= self._parent_wait:
                last = missing[-1]
                message = (
                    f"waited since {timestamp(since)} for {last.entity} {last.id} (table {last.table}), which is not "
                    "in Marketo; see why it does not sync, then replay this record"
                )
                batch.decide([record], Failed("ParentMissing", message))
            elif since is None and self._windows.is_burst:
                batch.decide([replace(record, parked_since=self._now())], Later("MeetsItsParents"))
            else:
                batch.decide([record], Deferred(tuple(missing)))

    # -- upserting ----------------------------------------------------------------------------------------------

    def _collect(self, batch: Batch, rest: list[Candidate]) -> bool:
        """In a burst, let what does not fill a call wait once: for the rest of this turn, or for the next cycle."""
        records = [record for candidate in rest for record in candidate.records]
        if not self._windows.is_burst or any(record.collected for record in records):
            return False
        for record in records:
            waits = replace(record, collected=True)
            batch.decide([waits], Later("FillsACall", soon=batch.entity.tier < COLLECTED_TIER))
        return True

    async def _upsert(self, batch: Batch, ready: dict[str, Candidate], at_least: int) -> None:
        """Send what fills calls of `at_least` records, the oldest first, and take it out of `ready`.

        Chunks run concurrently: they hold different records, and the pacer bounds how many calls there are.
        """
        count = len(ready) if at_least == 1 else len(ready) - len(ready) % at_least
        going = sorted(ready.values(), key=lambda candidate: candidate.since)[:count]
        for candidate in going:
            del ready[candidate.key]
        await asyncio.gather(*(self._upsert_chunk(batch, chunk) for chunk in chunks(going)))

    async def _upsert_chunk(self, batch: Batch, chunk: list[Candidate]) -> None:
        """One call; in halves when Marketo refuses the whole for what may be the fault of one record."""
        if self._clock() >= batch.deadline:
            return
        try:
            results = await self._marketo.upsert(batch.entity, [c.body for c in chunk], deadline=batch.deadline)
        except MsiSyncError as error:
            await self._refused(batch, chunk, error)
            return
        for candidate, result in zip(chunk, results, strict=True):
            batch.decide(candidate.records, self._outcome(batch.entity, candidate, result))

    async def _refused(self, batch: Batch, chunk: list[Candidate], error: MsiSyncError) -> None:
        kind = error.kind if isinstance(error, VendorError) else Kind.CONFIGURATION
        if kind is Kind.CONFIGURATION:
            self._schema.forget()  # a field may have disappeared: describe again before the next try
        first_try = all(record.attempt == 0 for candidate in chunk for record in candidate.records)
        if kind is Kind.MISSING_PARENT and first_try:
            self._forget_parents(chunk)  # the next try looks them up again
        elif kind in (Kind.SPLIT, Kind.MISSING_PARENT) and len(chunk) > 1:
            middle = len(chunk) // 2
            await self._upsert_chunk(batch, chunk[:middle])
            await self._upsert_chunk(batch, chunk[middle:])
            return
        batch.decide([r for c in chunk for r in c.records], of_error(error))

    def _outcome(self, entity: Entity, candidate: Candidate, result: Result) -> Outcome:
        """What Marketo's result for one record means, and what it teaches."""
        kind = marketo_record(result.code) if result.code else Kind.OK
        if kind is Kind.OK:
            self._known.add(entity.name, candidate.key, result.id, candidate.digest)
            return Synced(result.status)
        if kind is Kind.MISSING_PARENT:
            self._forget_parents([candidate])
        if kind is Kind.CONFIGURATION:
            self._schema.forget()  # a field may have disappeared: describe again before the next try
        return of_skip(result.code, result.message)

    def _forget_parents(self, candidates: list[Candidate]) -> None:
        for candidate in candidates:
            for parent in candidate.parents.values():
                if parent:
                    self._known.forget(parent.entity, parent.id)

    async def _guarded(self, batch: Batch, records: list[Record], work: Awaitable[Any]) -> Any:
        """Do `work`; when a vendor refuses it, that decides these records and nothing else."""
        try:
            return await work
        except MsiSyncError as error:
            batch.decide(records, of_error(error))
            return None


def _candidate(
    entity: Entity, record: Record, row: dict[str, Any], schema: TableSchema, rules: Rules
) -> Candidate | Skipped | Failed:
    try:
        parents = rules.parents(record.table, row)
        if isinstance(parents, Skipped):
            return parents
        fields = schema.fields.map(row, schema.labels)
        if not entity.key:
            fields["role"] = rules.role(record.table, row)
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ArithmeticError,
    ) as error:  # one odd row must not stop its neighbours
        log.exception("cannot_map table=%s id=%s", record.table, record.id)
        message = f"the row's values do not fit the rules of sync.toml ({type(error).__name__}); see the log"
        return Failed("CannotMap", message)
    return Candidate([record], fields, parents)


def _needs(candidate: Candidate, entity: str, keys: set[str]) -> bool:
    return any(p and p.entity == entity and p.id in keys for p in candidate.parents.values())
