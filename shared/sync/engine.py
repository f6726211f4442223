"""The engine: records in, one outcome per record out, for each of the five entities alike.

    coalesce ▸ read the current rows ▸ map ▸ are the parents in Marketo? ▸ upsert in chunks ▸ old roles ▸ outcomes

Records whose rows are gone are dealt with as sync.toml says (shared/sync/deletes.py). It writes nothing but Marketo
records; what becomes of the outcomes is shared/sync/settlement.py's business.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ..config.sync_toml import LifecyclePolicy, PersonPolicy, RolePolicy
from ..dataverse.client import DataverseClient
from ..marketo.batching import MAX_PER_CALL
from ..marketo.client import MarketoClient, Write
from ..model.entities import COMPANY, ENTITIES, SALES_PERSON, TABLES, Entity, stands_for_roles
from ..model.outcome import Deferred, Failed, Later, Outcome, Parent, Retry, Synced, WillNotCome
from ..model.record import Record, coalesce, timestamp
from .batch import Batch, Candidate
from .circuit_breaker import DATAVERSE, Circuits, Turn
from .company_fields import Companies
from .delete_brake import DeleteBrake
from .deletes import Deletes
from .history_log import History, nothing_kept
from .lease import Leases
from .lookups import References
from .marketo_cache import Known
from .merges import Merges, named
from .newcomers import Newcomers
from .old_roles import OldRoles
from .parents import Causes, Parents, no_causes
from .reader import Reader
from .recreated import marked
from .roles import Roles
from .scheduling import AT_ONCE, Windows
from .schema import Schema
from .storms import MAX_ROWS, Storms
from .synced_versions import OF_A_BURST, OF_A_RUN, Key, SyncedVersions
from .upserts import Upserts

log = logging.getLogger(__name__)

#: Records that are in memory with all their values at a time.
GROUP = 5 * MAX_PER_CALL
#: From this tier on, what does not fill a call waits for the next cycle of a burst. Below, too many records would wait
#: for it: it waits only until the messages that became visible with it are through.
COLLECTED_TIER = 2
#: Entities with few records beside their children: in a run a process reads all that was stored of them.
FEW = frozenset({SALES_PERSON.name, COMPANY.name})
CIRCUIT_OPEN = Retry(0, "CircuitOpen", "the other system is away; see msisync status")


@dataclass(kw_only=True)
class Engine:
    """Syncs batches of records of one entity.

    `lifecycle`, `brake`: what becomes of the records of rows that are gone, and when that stops; None: never.
    `causes`: why parents will not come, see shared/sync/parents.py. `roles`: the policy of sync.toml for opportunity
    roles. `synced_versions`: keeps what was read, for the search for missed changes, and the stored parents of a burst,
    for functions in other processes; None: nobody wants it. `history`: keeps which roles were deleted; the rest follows
    from the outcomes.
    `sent_rows`: how many rows of an entity it remembers to have sent. `time_budget`, `parent_wait`: in seconds.
    """

    dataverse: DataverseClient
    marketo: MarketoClient
    schema: Schema
    references: References
    known: Known
    circuits: Circuits
    leases: Leases
    tables: Sequence[str]
    clock: Callable[[], float]
    now: Callable[[], datetime]
    time_budget: float
    parent_wait: float
    persons: PersonPolicy
    lifecycle: LifecyclePolicy = field(default_factory=LifecyclePolicy)
    brake: DeleteBrake | None = None
    causes: Causes = no_causes
    roles: RolePolicy = field(default_factory=RolePolicy)
    synced_versions: SyncedVersions | None = None
    history: History = field(default_factory=nothing_kept)
    sent_rows: int = MAX_ROWS

    def __post_init__(self) -> None:
        marketo, schema, known, clock = self.marketo, self.schema, self.known, self.clock
        tables = frozenset(self.tables)
        contact_role = self.roles.customer_contact
        self.reader = Reader(self.dataverse, schema, self.references, contact_role=contact_role, clock=clock)
        self.parents = Parents(self.dataverse, marketo, schema, known, tables=tables, causes=self.causes)
        self._companies = Companies(marketo, clock=clock)
        self._newcomers = Newcomers(self.dataverse, marketo, schema, known, policy=self.persons, tables=tables)
        self._upserts = Upserts(marketo, schema, known, self.circuits, clock=clock, newcomers=self._newcomers)
        old_roles = OldRoles(marketo, schema, known, self.circuits, clock=clock, brake=self.brake, history=self.history)
        self._deletes = Deletes(
            marketo, schema, known, self.circuits, policy=self.lifecycle, brake=self.brake, old_roles=old_roles,
            wait=self.parent_wait, clock=clock, now=self.now,
        )  # fmt: skip
        self._merges = Merges(self.dataverse, marketo, schema, known, self._deletes, self.lifecycle)
        self.role_comparison = Roles(
            self.dataverse, marketo, schema, references=self.references, known=known, old_roles=old_roles,
            tables=tables, policy=self.roles, deletes=self.lifecycle.role == "delete", clock=clock,
        )  # fmt: skip
        self._storms = {name: Storms(clock=clock, max_rows=self.sent_rows) for name in ENTITIES}

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
        sending = self.leases.of(entity.name)
        deadline = self.clock() + self.time_budget
        batch = Batch(entity, deadline, {record.key: record for record in unique}, sending, windows)
        batch.decide(
            [r for r in unique if not self._is_mapped(r.table, entity)],
            Failed("UnknownTable", "the table is not mapped for this entity in sync.toml"),
        )
        storms = self._storms[entity.name]
        for record in list(batch.open.values()):
            if outcome := storms.decide(record):
                batch.decide([record], outcome)
        if batch.open:
            await self.schema.look(fresh=any(record.wants_fresh for record in unique))
            async with self.circuits.turn(entity.name) as turn:
                await batch.guard(list(batch.open.values()), self._alone(batch, turn))
            storms.note(batch.outcomes, received)
            if self.synced_versions:
                stored = self._stored(batch) if entity.name in _told_of(batch, unique) else {}
                await self.synced_versions.note(entity.name, batch.versions, batch.opportunities, stored)
        batch.decide(list(batch.open.values()), Retry(0, "OutOfTime", "the invocation's time was over"))
        return marked(entity, named(self._postponed(batch), batch.merged), batch.created, self.now())

    def _is_mapped(self, table: str, entity: Entity) -> bool:
        """Whether rows of the table are synced as this entity; an opportunity's roles need no fields of its own."""
        return stands_for_roles(table, entity) or (table in self.tables and TABLES[table][0] is entity)

    async def _alone(self, batch: Batch, turn: Turn) -> None:
        """Read and send as the only one: rows that were read before another had its turn may be older than its."""
        async with batch.sending.held():
            for record in list(batch.open.values()):
                if seconds := batch.sending.in_flight(record.id):
                    batch.decide([record], _in_flight(seconds))
            await self._work(batch, turn)
            if batch.opportunities:
                await self.role_comparison.compare(batch)

    async def _work(self, batch: Batch, turn: Turn) -> None:
        """Decide as much as time and the vendors' health allow."""
        ready: dict[str, Candidate] = {}
        waiting = list(batch.open.values())
        while waiting and self.clock() < batch.deadline:
            # In groups, so memory is bounded by a group, not by the batch.
            group, waiting = await self.circuits.admit(turn, waiting, GROUP)
            if not group:
                batch.decide(waiting, CIRCUIT_OPEN)
                break
            if batch.entity.name in turn.probes:
                if error := await self._upserts.elsewhere(batch):  # asks without any record
                    raise error
                await self.circuits.probed(turn, batch.entity.name)
            going = {} if turn.probes else ready
            candidates = await self.reader.read(batch, group)
            await self._deletes.send(batch)
            candidates = await self._merges.take(batch, candidates)
            await self._learn(batch, candidates)
            await self.parents.find(batch, candidates)
            await self.parents.unlink_filtered(batch, candidates)
            await self.parents.go_without(batch, candidates)
            await self._companies.spare(batch, candidates)
            await self.parents.only_there(batch, candidates)
            self._ready(batch, candidates, going)
            if turn.probes:
                await self._upserts.send(batch, going, 1, calls=1)
                await self.circuits.probed(turn)
                ready |= going
            else:
                await self._upserts.send(batch, going, MAX_PER_CALL)
        self._collect(batch, ready)
        await self._upserts.send(batch, ready, 1)

    async def _learn(self, batch: Batch, candidates: Iterable[Candidate]) -> None:
        """In a burst or a run, the parents have most likely been stored a while ago, perhaps by another process."""
        candidates = list(candidates)
        told = _told_of(batch, (record for candidate in candidates for record in candidate.records))
        if self.synced_versions and told:
            missing = {parent.entity for candidate in candidates for parent in candidate.missing(self.known)}
            since = OF_A_BURST if batch.windows.until else OF_A_RUN
            await self.synced_versions.learn(self.known, missing & told, since)

    def _stored(self, batch: Batch) -> dict[Key, int]:
        """Marketo's ids of what this batch has stored; not of roles, for which nobody waits: their rows have none."""
        stored = [record for record, outcome in batch.outcomes if isinstance(outcome, Synced)]
        ids = {record.key: self.known.id_of(batch.entity.name, record.id) for record in stored}
        return {key: id_ for key, id_ in ids.items() if id_ is not None}

    def _postponed(self, batch: Batch) -> list[tuple[Record, Outcome]]:
        """The outcomes; while a circuit is open, nothing is tried again before it may close."""
        retries = sum(isinstance(outcome, Retry) for _, outcome in batch.outcomes)
        delays = iter(self.circuits.delays(retries, DATAVERSE, batch.entity.name))
        return [
            (record, replace(outcome, after=max(outcome.after, next(delays))))
            if isinstance(outcome, Retry)
            else (record, outcome)
            for record, outcome in batch.outcomes
        ]

    def _ready(self, batch: Batch, candidates: list[Candidate], ready: dict[str, Candidate]) -> None:
        """Add what can be sent now: parents known, encoded, each key once, no call with it still at work."""
        for candidate in candidates:
            if candidate.records[0].key not in batch.open:
                continue
            missing = candidate.missing(self.known)
            if missing:
                self._defer(batch, candidate, missing)
                continue
            candidate.encode(batch.entity, self.known)
            new = self._newcomers.first_write
            candidate.write = Write.UPDATE if candidate.is_part else new(batch.entity, candidate)
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
            if since and self.now() - since >= timedelta(seconds=self.parent_wait):
                batch.decide([record], _too_late(since, missing, batch.causes))
            elif since is None and batch.windows.is_burst:
                batch.decide([replace(record, parked_since=self.now())], Later("MeetsItsParents"))
            else:
                batch.decide([record], Deferred(tuple(missing)))

    def _collect(self, batch: Batch, ready: dict[str, Candidate]) -> None:
        """In a burst, let what does not fill a call wait for more that is waiting already; else once, for the rest of
        this turn or for the next cycle. What calls have been made for is sent: they would be made again.
        """
        waiting = [candidate for candidate in ready.values() if not candidate.was_looked_for]
        records = [record for candidate in waiting for record in candidate.records]
        windows = batch.windows
        if not windows.is_burst or (any(record.collected for record in records) and not windows.more):
            return
        for record in records:
            waits = replace(record, collected=True)
            batch.decide([waits], Later("FillsACall", soon=windows.more or batch.entity.tier < COLLECTED_TIER))
        for candidate in waiting:
            del ready[candidate.key]


def _told_of(batch: Batch, records: Iterable[Record]) -> frozenset[str]:
    """Entities of which processes tell each other what they have stored: all in a burst, in a run those with few."""
    if batch.windows.until:
        return frozenset(ENTITIES)
    return FEW if any(record.run for record in records) else frozenset()


def _in_flight(seconds: float) -> Retry:
    return Retry(seconds, "InFlight", "Marketo may still be at work on the last call with this record")


def _too_late(since: datetime, missing: list[Parent], causes: Mapping[Parent, WillNotCome]) -> Failed:
    """What becomes of a record that has waited too long: the parent to be looked after is one whose fault is known."""
    last = next((parent for parent in missing if parent in causes), missing[-1])
    cause = causes.get(last)
    why = f": {cause.code}, {cause.message}; fix that first" if cause else "; see why it does not sync"
    message = (
        f"waited since {timestamp(since)} for {last.entity} {last.id} (table {last.table}), which is not in "
        f"Marketo{why}, then replay this record"
    )
    return Failed("ParentMissing", message)
