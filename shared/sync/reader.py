"""The current rows of a batch's records, mapped: candidates for Marketo, or what becomes of records without a row.

A row may be not there yet, not there any more, or hidden from the sync user. A query leaves all three out without a
word (dataverse.md 5.3). A request for the one row tells them apart: 403 where a security role hides it, 404 where there
is none. A row may come, or go, after its notification: a step that is registered as synchronous posts within the
transaction, which is committed seconds later, or rolled back. What becomes of the records of rows that are gone is
decided in shared/sync/deletes.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace

from ..dataverse.change_tracking import version_of
from ..dataverse.client import FORBIDDEN, MAX_ASKED, MAX_IDS, NOT_FOUND, DataverseClient, Row
from ..model.codes import Kind
from ..model.entities import (
    COMPANY,
    CREATED_ON,
    MODIFIED_ON,
    OPPORTUNITY,
    PERSON,
    SALES_PERSON,
    TABLES,
    Entity,
    Table,
    stands_for_roles,
)
from ..model.errors import DataverseError, MsiSyncError
from ..model.ids_and_times import moment
from ..model.outcome import FILTERED, Failed, Later, Outcome, Parent, Retry, Skipped, of_error
from ..model.record import Record
from ..telemetry.redaction import described
from .batch import Batch, Candidate
from .links import (
    Rules,
    hidden_links,
    hides_mail,
    is_qualified,
    opportunities_of,
    origin_of,
    primary_contact,
    winner_of,
)
from .lookups import KEEP_SECONDS, References
from .roles import name_of, read_contacts
from .routing import chunked
from .schema import Schema
from .synced_versions import GONE
from .table_schema import TableSchema

log = logging.getLogger(__name__)

#: Rows are read by so many requests at a time.
READERS = 4
#: Refusals of a read of many rows of which one row, or the number, may be the reason.
_OF_ONE_ROW = frozenset({Kind.SPLIT, Kind.PERMANENT, Kind.GONE})
#: Seconds until a row that is not there is looked for again, look by look; then it is gone.
LOOKS = (5.0, 60.0)
#: An opportunity without a primary contact has no role of its own.
NO_CONTACT = Skipped("NoContact")
#: The role that a row gives is sent, or has been, by another message.
COMPARED_ONLY = Skipped("ComparedOnly")
ROLE_HIDDEN = Retry(
    KEEP_SECONDS,
    "RoleHidden",
    "the row of the connection's role cannot be read, and its name is part of the key in Marketo; give the sync user's "
    "security role Read on connection roles (legacy roles: relationship roles), for the whole organisation",
    counted=True,
)


@dataclass
class Reader:
    """Reads the rows of one process. `contact_role`: of an opportunity's primary contact; empty: it has none."""

    dataverse: DataverseClient
    schema: Schema
    references: References
    _: KW_ONLY
    contact_role: str = ""
    clock: Callable[[], float]
    _readers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(READERS), init=False)

    async def read(self, batch: Batch, records: list[Record]) -> list[Candidate]:
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
        if stands_for_roles(table.name, batch.entity):
            return await self._read_contacts(batch, records)
        async with self._readers:
            if self.clock() >= batch.deadline:
                return []
            schema, rows = await self._rows(table, [record.id for record in records], batch.deadline)
            schema, rules = await self.prepared(
                table.name, list(rows.values()), batch.deadline, fresh=any(record.wants_fresh for record in records)
            )
        await self._missed(batch, table, [record for record in records if record.id not in rows])
        there = [record for record in records if record.id in rows]
        for record in [record for record in there if _may_go_yet(record)]:
            batch.decide(*_looked_for_again(record, "RowStillThere"))
        found = [(record, rows[record.id]) for record in there if not _may_go_yet(record)]
        if not batch.entity.key:
            batch.opportunities |= {record.key: opportunities_of(record.table, row) for record, row in found}
            batch.decide([record for record, _ in found if record.compared_only], COMPARED_ONLY)
            found = [(record, row) for record, row in found if not record.compared_only]
        whole = [(record.key, version_of(row)) for record, row in found if not record.fields]  # a part is not all of it
        batch.versions |= {key: version for key, version in whole if version}
        if not batch.windows.is_burst:
            made = [(record.key, moment(row.get(CREATED_ON))) for record, row in found]
            batch.created |= {key: at for key, at in made if at}
        candidates = []
        for record, row in found:
            candidate = candidate_of(batch.entity, record, row, schema, rules)
            if isinstance(candidate, Skipped | Failed | Retry):
                batch.decide([record], candidate)
            else:
                candidates.append(candidate)
        return candidates

    async def prepared(
        self, table: str, rows: Sequence[Row], deadline: float, *, fresh: bool = False
    ) -> tuple[TableSchema, Rules]:
        """What maps these rows of a table, which have just been read, and what their links depend on."""
        schema = await self.schema.believed(table, rows)
        if schema.labels:
            schema = await self.schema.labelled(table, rows)
        return schema, await self.references.rules_for(table, rows, deadline, fresh=fresh)

    async def _read_contacts(self, batch: Batch, records: list[Record]) -> list[Candidate]:
        """The roles of the primary contacts of opportunities: one request."""
        async with self._readers:
            if self.clock() >= batch.deadline:
                return []
            rows = await read_contacts(self.dataverse, [record.id for record in records], batch.deadline)
        await self._missed(batch, OPPORTUNITY.tables[0], [record for record in records if record.id not in rows])
        batch.opportunities |= {record.key: [record.id] for record in records if record.id in rows}
        contacts = {id_: primary_contact(row) for id_, row in rows.items()} if self.contact_role else {}
        batch.decide([record for record in records if record.id in rows and not contacts.get(record.id)], NO_CONTACT)
        return [
            contact_role(record, contact, self.contact_role)
            for record in records
            if (contact := contacts.get(record.id))
        ]

    async def _rows(self, table: Table, ids: list[str], deadline: float) -> tuple[TableSchema, dict[str, Row]]:
        schema = await self.schema.of(table.name)
        try:
            return schema, await self.dataverse.rows(table, ids, schema.columns, deadline=deadline)
        except DataverseError as error:
            if not error.is_unknown_column:
                raise
        self.schema.forget()  # a column has disappeared since the schema was loaded
        schema = await self.schema.of(table.name)
        return schema, await self.dataverse.rows(table, ids, schema.columns, deadline=deadline)

    async def _missed(self, batch: Batch, table: Table, records: Sequence[Record]) -> None:
        """Decide records of one table whose rows a query did not give, but for those whose rows are gone."""
        looks = (self._look_for(table, part, batch.deadline) for part in chunked(records, MAX_ASKED))
        for found in await asyncio.gather(*looks):
            for record, outcome in found:
                if outcome is None:
                    batch.gone.append(record)
                    batch.versions[record.key] = GONE
                else:
                    batch.decide([record], outcome)

    async def _look_for(
        self, table: Table, records: Sequence[Record], deadline: float
    ) -> list[tuple[Record, Outcome | None]]:
        """What becomes of records of one table whose rows a query did not give; None: the row is gone. One request."""
        ids = [record.id for record in records]
        try:
            async with self._readers:
                statuses = await self.dataverse.statuses(table, ids, deadline=deadline)
        except MsiSyncError as error:
            return [(record, of_error(error)) for record in records]
        return [_decided(table, record, status) for record, status in zip(records, statuses, strict=True)]


def contact_role(record: Record, contact: str, role: str) -> Candidate:
    """The role of an opportunity's primary contact."""
    return Candidate(
        [record],
        {"role": role, "isPrimary": True},
        {
            "externalOpportunityId": Parent(OPPORTUNITY.name, record.table, record.id),
            "leadId": Parent(PERSON.name, "contact", contact),
        },
    )


def candidate_of(
    entity: Entity, record: Record, row: Row, schema: TableSchema, rules: Rules
) -> Candidate | Skipped | Failed | Retry:
    """What the sync makes of a row, or what becomes of its record without a call."""
    try:
        if schema.filter.excludes(row):
            return FILTERED
        parents = rules.parents(record.table, row, schema.hidden)
        if isinstance(parents, Skipped):
            return parents
        fields, left_out = schema.record(record.id, row)
        for link in hidden_links(record.table, row, schema.hidden):
            if not parents.get(link):
                parents.pop(link, None)  # nobody knows: the link that Marketo has stays
        if not entity.key:
            role = name_of(schema.fields, rules, record.table, row)
            if role is None:
                return ROLE_HIDDEN
            fields["role"] = role
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
    candidate = Candidate(
        [record], fields, parents, schema.id_fields, left_out=left_out, company_fields=schema.company_fields,
        clears_refused=schema.clears_refused, is_as_made=row.get(CREATED_ON, 0) == row.get(MODIFIED_ON),
        only_if_there=entity is SALES_PERSON and hides_mail(row, schema.hidden), origin=origin_of(row),
        winner=winner_of(record.table, row), is_history=is_qualified(record.table, row),
    )  # fmt: skip
    if parents.get(COMPANY.key):
        candidate.leave_to_company()
    candidate.keep_only(record.fields)
    return candidate


def _decided(table: Table, record: Record, status: int) -> tuple[Record, Outcome | None]:
    """Only Dataverse's word that there is no such row counts; that of a notification saves the looks."""
    if status == FORBIDDEN:
        return record, hidden(table.name)
    if status == NOT_FOUND and (record.operation == "delete" or record.absent >= len(LOOKS)):
        return record, None
    if record.absent < len(LOOKS):
        (looked_for,), later = _looked_for_again(record, "RowNotThere")
        return looked_for, later
    return record, Later("RowNotThere", after=LOOKS[-1])  # it has come just now, or nobody could say


def _may_go_yet(record: Record) -> bool:
    """Whether a row that is there may be deleted in a moment: its transaction may not be committed yet."""
    return record.operation == "delete" and record.absent < len(LOOKS)


def _looked_for_again(record: Record, reason: str) -> tuple[list[Record], Later]:
    return [replace(record, absent=record.absent + 1)], Later(reason, after=LOOKS[record.absent])


def hidden(table: str) -> Failed:
    """What becomes of a row that the sync user may not read."""
    return Failed(
        "RowHidden",
        f"the row is there, but the sync user may not read it: give one of its security roles Read on the table "
        f"{table} for the whole organisation, then replay this record",
        "dataverse",
    )
