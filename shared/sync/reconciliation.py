"""Compares rows of a table of Dynamics with their records in Marketo. Reads only.

    rows ▸ what the sync would send of them ▸ Marketo's records, by key ▸ what differs ▸ looked at again

The rows are mapped by the sync's own reader (shared/sync/reader.py), and what counts as equal is decided in
shared/sync/comparison.py. Only what differs costs more: its rows are read once more, because a row may have been
changed and synced meanwhile, and the parents that it should be linked to are looked for.

Marketo cannot list its records. Roles that nothing in Dynamics gives are found by their opportunities, and persons
whose row is gone by shared/sync/extra_persons.py. Whole tables are compared by a run (shared/sync/runs/comparing.py).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..dataverse.client import MAX_IDS, Row
from ..marketo import answers
from ..marketo.client import MAX_FILTER_VALUES
from ..model.entities import (
    ENTITIES,
    MODIFIED_ON,
    OPPORTUNITY,
    OPPORTUNITY_ROLE,
    PERSON,
    TABLES,
    Entity,
)
from ..model.errors import MarketoError, MsiSyncError
from ..model.outcome import Failed, Parent, Retry, Skipped
from ..model.record import Record
from .batch import Candidate
from .comparison import CHANGING, Compared, Difference, Doubt, Kind, differences_of, differing, doubt_of
from .equality import same
from .links import QUALIFIED_STATE, lookup, primary_contact
from .newcomers import QUALIFIED, TOO_MANY, stood_for
from .parents import MAIL_HIDDEN
from .reader import candidate_of, contact_role
from .routing import chunked
from .table_schema import TableSchema

if TYPE_CHECKING:
    from .engine import Engine

#: Keys of one call. Two fewer than a page of Marketo holds: a duplicate or two cost no second page.
KEYS = MAX_FILTER_VALUES - 2
_OPPORTUNITY_LINK, _PERSON_LINK = (link.field for link in OPPORTUNITY_ROLE.links)


class Reconciliation:
    """Compares rows. Raises as the two clients do."""

    def __init__(self, engine: Engine) -> None:
        """`engine`: whose parts read and map; what it remembers of Marketo's records grows with what is compared."""
        self._engine = engine
        self._dataverse = engine.dataverse
        self._marketo = engine.marketo
        self._schema = engine.schema
        self._known = engine.known
        #: None where sync.toml keeps superfluous roles.
        self._roles = engine.role_comparison if engine.lifecycle.role == "delete" else None
        #: Of primary contacts; empty: none.
        self._contact_role = engine.roles.customer_contact

    async def columns(self, table: str, *, anew: bool = False) -> frozenset[str]:
        """The columns that rows must have to be compared. `anew`: one of those that were known is not there."""
        if anew:
            self._schema.forget()
        await self._schema.look()
        return (await self._schema.of(table)).columns

    async def compare(self, table: str, rows: Iterable[Row], columns: Collection[str]) -> Compared:
        """Compare rows that have just been read, with these columns; of opportunities, their roles too.

        Costs a call for KEYS rows, and for 300 that differ one for each entity of their parents that is not known.
        """
        entity, result = TABLES[table][0], Compared()
        rows = [row for row in rows if _is_first_of_two(table, row)]
        schema, rules = await self._engine.reader.prepared(table, rows, math.inf)
        if not schema.columns <= {*columns}:  # what was not read would count as empty
            raise MsiSyncError("SchemaChanged", f"the columns of {table} have changed in this moment")
        sent = [read for row in rows if (read := self._sent(table, row, schema, rules, result))]
        doubts: list[Doubt] = []
        of_roles: list[Doubt] = []
        for part in chunked(sent, KEYS):
            doubts += await self._doubts(table, part, result)
            if entity is OPPORTUNITY:
                superfluous, of_part = await self._of_opportunities(part)
                of_roles += of_part
                result.add(superfluous)
        for of_entity, those in ((entity, doubts), (OPPORTUNITY_ROLE, of_roles)):
            for some in chunked(those, MAX_IDS):
                await self._judge(of_entity, some, result, alone=of_entity is entity)
        return result

    # -- Dynamics' side ---------------------------------------------------------------------------------------------

    def _sent(self, table: str, row: Row, schema: TableSchema, rules: Any, result: Compared) -> Doubt | None:
        """What the sync would send of a row; None, and noted: nothing."""
        entity, source = TABLES[table]
        record = Record(table, str(row[source.key]).lower(), self._engine.now())
        result.ids.append(record.id)
        candidate = candidate_of(entity, record, row, schema, rules)
        if not isinstance(candidate, Candidate) or (candidate.winner and not candidate.is_history):
            result.left_alone[record.id] = "Merged" if isinstance(candidate, Candidate) else _why(candidate)
            return None
        contact = primary_contact(row) if entity is OPPORTUNITY and self._contact_role else None
        return Doubt(candidate, str(row.get(MODIFIED_ON) or ""), contact or "")

    # -- Marketo's side ---------------------------------------------------------------------------------------------

    async def _doubts(self, table: str, part: Sequence[Doubt], result: Compared) -> list[Doubt]:
        """Those of these rows that seem to differ: one call."""
        entity = TABLES[table][0]
        fields = {name for read in part for name in read.candidate.fields}
        if not entity.key:
            wanted = sorted({_opportunity(read) for read in part})
            return await self._of_roles(part, await self._stored_roles(wanted, fields))
        key = self._marketo.key_of(entity)
        names = {key, *fields, *(link.field for link in entity.links)}
        stored = await self._stored(entity, key, part, sorted(names | ({"id"} if entity.is_lead else set())))
        self._learn(entity, stored, result)
        return [doubt for read in part if (doubt := doubt_of(entity, read, stored.get(read.id, [])))]

    async def _stored(
        self, entity: Entity, key: str, part: Sequence[Doubt], names: Sequence[str]
    ) -> dict[str, list[Row]]:
        """Marketo's records by key. Where duplicates make more than 1,000 of them, fewer are asked for at a time."""
        try:
            rows = await self._marketo.read(
                entity, key, [read.id for read in part], names, refusals=frozenset({TOO_MANY})
            )
        except MarketoError as error:
            if error.code != TOO_MANY:
                raise
            if len(part) == 1:
                return {part[0].id: [{}, {}]}
            halves = chunked(part, (len(part) + 1) // 2)
            found = [await self._stored(entity, key, half, names) for half in halves]
            return {id_: rows for half in found for id_, rows in half.items()}
        by_key: dict[str, list[Row]] = {}
        for row in rows:
            by_key.setdefault(str(row.get(key) or "").lower(), []).append(row)
        return by_key

    def _learn(self, entity: Entity, stored: Mapping[str, Sequence[Row]], result: Compared) -> None:
        """Marketo has these records, and what they are linked to: that need not be asked for."""
        for key, rows in stored.items():
            for row in rows:
                number = answers.number(row)
                if entity.is_lead and number:
                    result.has_person(number)
                if len(rows) == 1:
                    self._known.add(entity.name, key, number)
                for link in entity.links:  # Marketo deletes nothing that others are linked to
                    if parent := row.get(link.field):
                        self._known.add(link.parent, str(parent).lower(), 0)

    async def _stored_roles(self, opportunities: list[str], names: Iterable[str]) -> list[Row]:
        asked = sorted({*OPPORTUNITY_ROLE.dedupe_fields, *names})
        found: list[Row] = []
        for some in chunked(opportunities, MAX_FILTER_VALUES):
            found += await self._marketo.read(OPPORTUNITY_ROLE, OPPORTUNITY.key, some, asked)
        return found

    async def _of_opportunities(self, part: Sequence[Doubt]) -> tuple[list[Difference], list[Doubt]]:
        """The superfluous roles of these opportunities, and the roles of primary contacts that seem to differ."""
        if not (self._roles or self._contact_role):
            return [], []
        stored = await self._stored_roles([read.id for read in part], ["isPrimary"])
        gone = await self._roles.superfluous(self._roles.ours(stored), math.inf) if self._roles else {}
        table = OPPORTUNITY.tables[0].name
        extra = [
            Difference(OPPORTUNITY_ROLE.name, table, triple.opportunity, Kind.EXTRA, marketo_ids=(triple.lead,))
            for triple in sorted(gone)
        ]
        contacts = [
            Doubt(contact_role(read.candidate.records[0], read.contact, self._contact_role), read.version)
            for read in part
            if read.contact
        ]
        return extra, await self._of_roles(contacts, stored)

    async def _of_roles(self, part: Sequence[Doubt], stored: Sequence[Row]) -> list[Doubt]:
        """Those of these roles that are not among those stored: a call for 300 persons not known yet.

        Fields are compared of the roles of primary contacts only: several connections, and the two rows of each, may
        give one role, whose fields are those of the one that was sent last.
        """
        await self._there({parent for read in part if (parent := read.candidate.parents[_PERSON_LINK])})
        roles: dict[tuple[str, Any], list[Row]] = {}
        for row in stored:
            roles.setdefault((str(row.get(_OPPORTUNITY_LINK)).lower(), row.get(_PERSON_LINK)), []).append(row)
        found = []
        for read in part:
            person = read.candidate.parents[_PERSON_LINK]
            lead = self._known.id_of(PERSON.name, person.id) if person else None
            fields = read.candidate.fields
            of_person = roles.get((_opportunity(read), lead), ())
            role = next((row for row in of_person if same(fields["role"], row.get("role"))), None)
            if role is None:
                found.append(replace(read, links=(_OPPORTUNITY_LINK, _PERSON_LINK), is_absent=True))
            elif read.candidate.records[0].table == OPPORTUNITY.tables[0].name and (wrong := differing(fields, role)):
                found.append(replace(read, fields=wrong))
        return found

    # -- what differs -----------------------------------------------------------------------------------------------

    async def _judge(self, entity: Entity, doubts: Sequence[Doubt], result: Compared, *, alone: bool) -> None:
        """The differences of these rows of one entity (at most 300): what explains itself is none.

        `alone`: nothing else is said of these rows, so a record that nobody sends is left alone.
        """
        doubts = await self._unchanged(doubts, result)
        wanted = {parent for doubt in doubts for name in doubt.links if (parent := doubt.candidate.parents[name])}
        there = await self._there(wanted)
        never = await self._never(wanted - there)
        replaced = await self._replaced(entity, doubts)
        for doubt in doubts:
            id_ = doubt.id
            differences = list(differences_of(entity, doubt, there, never)) if id_ not in replaced else []
            if alone and doubt.is_absent and not differences:
                result.left_alone[id_] = replaced.get(id_, "ParentNotSynced")
            result.add(differences)

    async def _unchanged(self, doubts: Sequence[Doubt], result: Compared) -> list[Doubt]:
        """Those whose rows are still as they were read: the others were changed, or synced, meanwhile."""
        kept: list[Doubt] = []
        for name in sorted({doubt.candidate.records[0].table for doubt in doubts}):
            source = TABLES[name][1]
            of_table = [doubt for doubt in doubts if doubt.candidate.records[0].table == name]
            ids = sorted({doubt.id for doubt in of_table})
            rows = await self._dataverse.rows(source, ids, [MODIFIED_ON])
            now = {id_: str(row.get(MODIFIED_ON) or "") for id_, row in rows.items()}
            kept += [doubt for doubt in of_table if now.get(doubt.id) == doubt.version]
        kept_ids = {doubt.id for doubt in kept}
        result.left_alone |= {doubt.id: CHANGING for doubt in doubts if doubt.id not in kept_ids}
        return kept

    async def _there(self, parents: Collection[Parent]) -> set[Parent]:
        """Those of these that Marketo has; costs a call for 300 of an entity that are not known."""
        unknown = [parent for parent in parents if self._known.id_of(parent.entity, parent.id) is None]
        for name in sorted({parent.entity for parent in unknown}):
            keys = sorted({parent.id for parent in unknown if parent.entity == name})
            for part in chunked(keys, MAX_FILTER_VALUES):
                for key, id_ in (await self._marketo.find(ENTITIES[name], part)).items():
                    self._known.add(name, key, id_)
        return {parent for parent in parents if self._known.id_of(parent.entity, parent.id) is not None}

    async def _never(self, absent: Collection[Parent]) -> set[Parent]:
        """Those of these that are not in Marketo and will not be: filtered, or leads that were qualified."""
        never: set[Parent] = set()
        for table in sorted({parent.table for parent in absent}):
            of_table = sorted((parent for parent in absent if parent.table == table), key=lambda parent: parent.id)
            never.update(await self._engine.parents.kept_out(table, of_table, math.inf))
            if table == "lead":
                never.update(await self._qualified(of_table))
        return never

    async def _qualified(self, leads: Sequence[Parent]) -> list[Parent]:
        source = TABLES["lead"][1]
        found: list[Parent] = []
        for part in chunked(leads, MAX_IDS):
            rows = await self._dataverse.rows(source, [lead.id for lead in part], ["statecode"])
            found += [lead for lead in part if rows.get(lead.id, {}).get("statecode") == QUALIFIED_STATE]
        return found

    async def _replaced(self, entity: Entity, doubts: Sequence[Doubt]) -> dict[str, str]:
        """Why the sync creates nothing for a row: a contact stands for the lead, the user's address is hidden."""
        absent = {doubt.id: doubt.candidate for doubt in doubts if doubt.is_absent}
        if entity is not PERSON:
            return {id_: MAIL_HIDDEN.reason for id_, candidate in absent.items() if candidate.only_if_there}
        leads = {id_: candidate for id_, candidate in absent.items() if candidate.records[0].table == "lead"}
        found = await stood_for(self._dataverse, self._schema, leads, self._engine.tables) if leads else set[str]()
        return dict.fromkeys(found, QUALIFIED.reason)


def _why(outcome: Skipped | Failed | Retry) -> str:
    return outcome.reason if isinstance(outcome, Skipped) else outcome.code


def _opportunity(read: Doubt) -> str:
    parent = read.candidate.parents[_OPPORTUNITY_LINK]
    return parent.id if parent else ""


def _is_first_of_two(table: str, row: Mapping[str, Any]) -> bool:
    """A connection is two mirrored rows, which give the same role (dataverse.md 7.6): one of them is enough."""
    side = lookup(row, "_record1id_value") if table == "connection" else None
    return side is None or side[0] == OPPORTUNITY.tables[0].name
