"""The engine: records in, one outcome per record out, for each of the five entities alike.

    coalesce ▸ read the current rows ▸ map ▸ are the parents in Marketo? ▸ upsert in chunks ▸ outcomes

It writes nothing but Marketo records; what becomes of the outcomes is shared/sync/settlement.py's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ..dataverse.client import MAX_IDS, DataverseClient, Row
from ..marketo.batching import MAX_RECORDS
from ..marketo.client import MarketoClient
from ..model.codes import Kind
from ..model.entities import COMPANY, CREATED_ON, ENTITIES, MODIFIED_ON, SALES_PERSON, TABLES, Entity, Table
from ..model.errors import DataverseError
from ..model.ids_and_times import moment
from ..model.left_out import NO_VALUE
from ..model.outcome import FILTERED, Deferred, Failed, Later, Outcome, Parent, Retry, Skipped, WillNotCome
from ..model.record import Record, coalesce, timestamp
from ..telemetry.redaction import described
from .arrivals import Arrivals
from .batch import Batch, Candidate
from .circuit_breaker import DATAVERSE, Circuits, Turn
from .company_fields import Companies
from .lease import Leases
from .links import ROLE_LENGTH, Rules, hidden_links, hides_mail
from .lookups import KEEP_SECONDS, References
from .marketo_cache import Known
from .missing_rows import look_for
from .parents import Causes, Parents, no_causes
from .recreated import marked
from .routing import chunked
from .scheduling import AT_ONCE, Windows
from .schema import Schema, TableSchema
from .storms import Storms
from .upserts import Upserts

log = logging.getLogger(__name__)

#: Rows are read by so many requests at a time.
READERS = 4
#: Records that are in memory with all their values at a time.
GROUP = 5 * MAX_RECORDS
#: From this tier on, what does not fill a call waits for the next cycle of a burst. Below, too many records would wait
#: for it: it waits only until the messages that became visible with it are through.
COLLECTED_TIER = 2
#: Refusals of a read of many rows of which one row, or the number, may be the reason.
_OF_ONE_ROW = frozenset({Kind.SPLIT, Kind.PERMANENT, Kind.GONE})
ROLE_HIDDEN = Retry(
    KEEP_SECONDS,
    "RoleHidden",
    "the row of the connection's role cannot be read, and its name is part of the key in Marketo; give the sync user's "
    "security role Read on connection roles (legacy roles: relationship roles), for the whole organisation",
    counted=True,
)
CIRCUIT_OPEN = Retry(0, "CircuitOpen", "the other system is away; see msisync status")


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
        circuits: Circuits,
        leases: Leases,
        tables: Sequence[str],
        clock: Callable[[], float],
        now: Callable[[], datetime],
        time_budget: float,
        parent_wait: float,
        arrivals: Arrivals | None = None,
        causes: Causes = no_causes,
    ) -> None:
        """`arrivals`: of the parents of a burst, where their functions run in other processes. `causes`: why parents
        will not come, see shared/sync/parents.py.
        """
        self._dataverse = dataverse
        self._schema = schema
        self._parents = Parents(dataverse, marketo, schema, known, tables=frozenset(tables), causes=causes)
        self._companies = Companies(marketo, clock=clock)
        self._upserts = Upserts(marketo, schema, known, circuits, clock=clock)
        self._circuits = circuits
        self._leases = leases
        self._arrivals = arrivals
        self._storms = Storms(clock=clock)
        self._references = references
        self._known = known
        self._tables = frozenset(tables)
        self._clock = clock
        self._now = now
        self._time_budget = time_budget
        self._parent_wait = timedelta(seconds=parent_wait)
        self._readers = asyncio.Semaphore(READERS)

    async def sync(
        self,
        entity: Entity,
        records: Iterable[Record],
        windows: Windows = AT_ONCE,
        received: datetime | None = None,
    ) -> list[tuple[Record, Outcome]]:
        """One outcome for each distinct record. Raises nothing that is about a record or a vendor.

        `received`: when the newest of their messages reached the broker, by its clock; None where nobody knows.
        """
        unique = coalesce(records)
        sending = self._leases.of(entity.name)
        deadline = self._clock() + self._time_budget
        batch = Batch(entity, deadline, {record.key: record for record in unique}, sending, windows)
        batch.decide([r for r in unique if r.operation == "delete"], Skipped("Deleted"))
        batch.decide(
            [r for r in unique if r.table not in self._tables or TABLES[r.table][0] is not entity],
            Failed("UnknownTable", "the table is not mapped for this entity in sync.toml"),
        )
        for record in list(batch.open.values()):
            if outcome := self._storms.decide(record):
                batch.decide([record], outcome)
        if batch.open:
            await self._schema.look(fresh=any(record.wants_fresh for record in unique))
            async with self._circuits.turn(entity.name) as turn:
                await batch.guard(list(batch.open.values()), self._alone(batch, turn))
            self._storms.note(batch.outcomes, received)
            if self._arrivals and windows.until:
                await self._arrivals.tell(entity, batch.outcomes)
        batch.decide(list(batch.open.values()), Retry(0, "OutOfTime", "the invocation's time was over"))
        return marked(entity, self._postponed(batch), batch.created, self._now())

    async def _alone(self, batch: Batch, turn: Turn) -> None:
        """Read and send as the only one: rows that were read before another had its turn may be older than its."""
        async with batch.sending.held():
            for record in list(batch.open.values()):
                if seconds := batch.sending.in_flight(record.id):
                    batch.decide([record], _in_flight(seconds))
            await self._work(batch, turn)

    async def _work(self, batch: Batch, turn: Turn) -> None:
        """Decide as much as time and the vendors' health allow."""
        ready: dict[str, Candidate] = {}
        waiting = list(batch.open.values())
        while waiting and self._clock() < batch.deadline:
            # In groups, so memory is bounded by a group, not by the batch.
            group, waiting = await self._circuits.admit(turn, waiting, GROUP)
            if not group:
                batch.decide(waiting, CIRCUIT_OPEN)
                break
            if batch.entity.name in turn.probes:
                await self._upserts.try_out(batch)
                await self._circuits.probed(turn, batch.entity.name)
            going = {} if turn.probes else ready
            candidates = await self._read(batch, group)
            await self._learn(batch, candidates)
            await self._parents.find(batch, candidates)
            await self._parents.unlink_filtered(batch, candidates)
            await self._parents.go_without(batch, candidates)
            await self._companies.spare(batch, candidates)
            await self._parents.only_there(batch, candidates)
            self._ready(batch, candidates, going)
            if turn.probes:
                await self._upserts.send(batch, going, 1, calls=1)
                await self._circuits.probed(turn)
                ready |= going
            else:
                await self._upserts.send(batch, going, MAX_RECORDS)
        if not self._collect(batch, list(ready.values())):
            await self._upserts.send(batch, ready, 1)

    async def _learn(self, batch: Batch, candidates: Iterable[Candidate]) -> None:
        """In a burst, the parents have most likely been stored a moment ago, perhaps by another process."""
        if self._arrivals and batch.windows.until:
            missing = {parent.entity for candidate in candidates for parent in candidate.missing(self._known)}
            await self._arrivals.learn(missing)

    def _postponed(self, batch: Batch) -> list[tuple[Record, Outcome]]:
        """The outcomes; while a circuit is open, nothing is tried again before it may close."""
        retries = sum(isinstance(outcome, Retry) for _, outcome in batch.outcomes)
        delays = iter(self._circuits.delays(retries, DATAVERSE, batch.entity.name))
        return [
            (record, replace(outcome, after=max(outcome.after, next(delays))))
            if isinstance(outcome, Retry)
            else (record, outcome)
            for record, outcome in batch.outcomes
        ]

    # -- reading and mapping ------------------------------------------------------------------------------------

    async def _read(self, batch: Batch, records: list[Record]) -> list[Candidate]:
        """Current rows, mapped, with their parents' identities. Rows that are gone or not to be synced are decided."""
        by_table: dict[str, list[Record]] = {}
        for record in records:
            by_table.setdefault(record.table, []).append(record)
        slices = [part for records in by_table.values() for part in chunked(records, MAX_IDS)]
        read = await asyncio.gather(*(batch.guard(part, self._read_slice(batch, part)) for part in slices))
        return [candidate for part in read for candidate in part or ()]

    async def _read_slice(self, batch: Batch, records: list[Record]) -> list[Candidate]:
        """At most 300 records of one table: one request, and more when it is refused for what one of them is."""
        try:
            return await self._read_rows(batch, records)
        except DataverseError as error:
            if len(records) == 1 or error.kind not in _OF_ONE_ROW:
                raise
            log.warning("read_halved table=%s records=%d %s", records[0].table, len(records), error)
        halves = chunked(records, (len(records) + 1) // 2)
        found = [await batch.guard(half, self._read_slice(batch, half)) for half in halves]
        return [candidate for part in found for candidate in part or ()]

    async def _read_rows(self, batch: Batch, records: list[Record]) -> list[Candidate]:
        """One request."""
        table = TABLES[records[0].table][1]
        async with self._readers:
            if self._clock() >= batch.deadline:
                return []
            schema, rows = await self._rows(table, [record.id for record in records], batch.deadline)
            schema = await self._schema.believed(table.name, rows.values())
            if schema.labels:
                schema = await self._schema.labelled(table.name, rows.values())
            rules = await self._references.rules_for(
                table.name, list(rows.values()), batch.deadline, fresh=any(record.wants_fresh for record in records)
            )
        absent = [record for record in records if record.id not in rows]
        for record, outcome in await look_for(self._dataverse, table, absent, deadline=batch.deadline):
            batch.decide([record], outcome)
        found = [(record, rows[record.id]) for record in records if record.id in rows]
        if not batch.windows.is_burst:
            made = [(record.key, moment(row.get(CREATED_ON))) for record, row in found]
            batch.created |= {key: at for key, at in made if at}
        candidates = []
        for record, row in found:
            candidate = _candidate(batch.entity, record, row, schema, rules)
            if isinstance(candidate, Skipped | Failed | Retry):
                batch.decide([record], candidate)
            else:
                candidates.append(candidate)
        return candidates

    async def _rows(self, table: Table, ids: list[str], deadline: float) -> tuple[TableSchema, dict[str, Row]]:
        schema = await self._schema.of(table.name)
        try:
            return schema, await self._dataverse.rows(
                table.entity_set, table.key, ids, schema.columns, deadline=deadline
            )
        except DataverseError as error:
            if not error.is_unknown_column:
                raise
        self._schema.forget()  # a column has disappeared since the schema was loaded
        schema = await self._schema.of(table.name)
        return schema, await self._dataverse.rows(table.entity_set, table.key, ids, schema.columns, deadline=deadline)

    def _ready(self, batch: Batch, candidates: list[Candidate], ready: dict[str, Candidate]) -> None:
        """Add what can be sent now: parents known, encoded, each key once, no call with it still at work."""
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
            elif seconds := batch.sending.in_flight(candidate.key):
                batch.decide(candidate.records, _in_flight(seconds))
            else:
                ready[candidate.key] = candidate

    def _defer(self, batch: Batch, candidate: Candidate, missing: list[Parent]) -> None:
        missing.sort(key=lambda parent: ENTITIES[parent.entity].tier)
        for record in candidate.records:
            since = record.parked_since
            if since and self._now() - since >= self._parent_wait:
                batch.decide([record], _too_late(since, missing, batch.causes))
            elif since is None and batch.windows.is_burst:
                batch.decide([replace(record, parked_since=self._now())], Later("MeetsItsParents"))
            else:
                batch.decide([record], Deferred(tuple(missing)))

    def _collect(self, batch: Batch, rest: list[Candidate]) -> bool:
        """In a burst, let what does not fill a call wait for more that is waiting already; else once, for the rest of
        this turn or for the next cycle.
        """
        records = [record for candidate in rest for record in candidate.records]
        windows = batch.windows
        if not windows.is_burst or (any(record.collected for record in records) and not windows.more):
            return False
        for record in records:
            waits = replace(record, collected=True)
            batch.decide([waits], Later("FillsACall", soon=windows.more or batch.entity.tier < COLLECTED_TIER))
        return True


def _in_flight(seconds: float) -> Retry:
    return Retry(seconds, "InFlight", "Marketo may still be at work on the last call with this record")


def _too_late(since: datetime, missing: list[Parent], causes: Mapping[Parent, WillNotCome]) -> Failed:
    """What becomes of a record that has waited too long: the parent to be looked after is one whose fault is known."""
    last = next((parent for parent in missing if parent in causes), missing[-1])
    cause = causes.get(last)
    why = f": {cause.code}, {cause.message}; mend that first" if cause else "; see why it does not sync"
    message = (
        f"waited since {timestamp(since)} for {last.entity} {last.id} (table {last.table}), which is not in "
        f"Marketo{why}, then replay this record"
    )
    return Failed("ParentMissing", message)


def _candidate(
    entity: Entity, record: Record, row: dict[str, Any], schema: TableSchema, rules: Rules
) -> Candidate | Skipped | Failed | Retry:
    try:
        if schema.filter.excludes(row):
            return FILTERED
        parents = rules.parents(record.table, row, schema.hidden)
        if isinstance(parents, Skipped):
            return parents
        fields, left_out = schema.fields.map(row, schema.labels)
        for link in hidden_links(record.table, row, schema.hidden):
            if not parents.get(link):
                parents.pop(link, None)  # nobody knows: the link that Marketo has stays
        if not entity.key:
            role = rules.role(record.table, row)
            if role is None:
                return ROLE_HIDDEN
            fields["role"] = schema.fields.text(role)[:ROLE_LENGTH] or rules.default_role
        fields.update(dict.fromkeys(schema.id_fields, record.id))
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ArithmeticError,
    ) as error:  # one odd row must not stop its neighbours
        log.error("cannot_map table=%s id=%s error=%s", record.table, record.id, described(error))
        message = f"the row's values do not fit the rules of sync.toml ({type(error).__name__}); see the log"
        return Failed("CannotMap", message)
    if schema.clears_refused:
        fields.update((each.field, None) for each in left_out if each.code in NO_VALUE)
    candidate = Candidate(
        [record], fields, parents, schema.id_fields, left_out=left_out, company_fields=schema.company_fields,
        clears_refused=schema.clears_refused, is_as_made=row.get(CREATED_ON, 0) == row.get(MODIFIED_ON),
        only_if_there=entity is SALES_PERSON and hides_mail(row, schema.hidden),
    )  # fmt: skip
    if parents.get(COMPANY.key):
        candidate.leave_to_company()
    return candidate
