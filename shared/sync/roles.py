"""The roles of an opportunity in Marketo are those that it has in Dynamics: what is no more is deleted.

A role's key in Marketo is (opportunity, person, name). So a renamed role, a contact that takes another one's place, a
connection that is deactivated or deleted: each leaves the old key behind. Nobody remembers what was sent. Instead,
after the records of a batch were sent, the roles that Marketo has of the opportunities concerned are compared with what
Dynamics says of them now: its active connections, the rows of the legacy table, and its primary contact. The lease of
the entity is held meanwhile, so nobody else sends roles. A crash before the end has the messages come again.

What cannot be seen or resolved keeps what may be its role (`unclaimed`): unknown is not gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

from ..config.conditions import Row
from ..config.sync_toml import RolePolicy
from ..dataverse.client import DataverseClient
from ..marketo.client import MAX_FILTER_VALUES, MarketoClient
from ..model.entities import CONTACT_COLUMNS, OPPORTUNITY, OPPORTUNITY_COLUMNS, OPPORTUNITY_ROLE, PERSON, TABLES
from ..model.errors import MsiSyncError
from ..model.outcome import Later, Outcome, Retry, of_error
from ..model.record import Record
from .batch import Batch
from .links import ROLE_LENGTH, Rules, opportunities_of, primary_contact, role_ends
from .lookups import References
from .mapping import FieldMap
from .marketo_cache import Known
from .old_roles import OldRoles, Triple, triple_of
from .routing import chunked
from .schema import Schema
from .visibility import Visibility

log = logging.getLogger(__name__)

#: Seconds that a comparison has at least, also where the batch has used up its time: else it might never be done.
SECONDS = 30.0
_ROLE_TABLES = tuple(table.name for table in OPPORTUNITY_ROLE.tables)


@dataclass(frozen=True, slots=True)
class Claim:
    """Dynamics says that this person (id of the row) plays this role; None: its name cannot be seen.

    `is_lead`: the person may be in Marketo by the id of the contact that the lead was qualified to.
    """

    person: str
    role: str | None
    is_lead: bool = False


#: What Dynamics says, by opportunity; of one that is missing here nobody knows.
Claims = Mapping[str, Collection[Claim]]


# -- the decision: pure -------------------------------------------------------------------------------------------


def unaccounted(stored: Iterable[Triple], claims: Claims, lead_of: Callable[[str], int | None]) -> list[Triple]:
    """The triples that no claim explains, as far as is known which lead a person is; most often none."""
    return [
        triple
        for triple in stored
        if triple.opportunity in claims
        and not any(
            lead_of(claim.person) == triple.lead and claim.role in (None, triple.role)
            for claim in claims[triple.opportunity]
        )
    ]


def unclaimed(
    stored: Collection[Triple],
    claims: Claims,
    person_of: Mapping[int, str],
    lead_of: Callable[[str], int | None] = lambda _: None,
) -> list[Triple]:
    """The triples that nothing in Dynamics gives any more. `person_of`: the row that a lead stands for, if any.

    A triple stays where the opportunity could not be read, where its lead is nobody of Dynamics, where the person has a
    role there whose name cannot be seen, and where a lead plays the role of which nobody knows who it is in Marketo.
    """
    there = frozenset(stored)

    def is_claimed(triple: Triple) -> bool:
        person, of_opportunity = person_of.get(triple.lead), claims.get(triple.opportunity)
        if not person or of_opportunity is None:
            return True
        roles = {
            claim.role
            for claim in of_opportunity
            if claim.person == person or (claim.is_lead and lead_of(claim.person) is None)
        }
        if None in roles or triple.role in roles:
            return True
        # Marketo may have stored the name in another spelling; then it does not have the one that was sent beside it.
        similar = [role for role in roles if role is not None and _is_spelling(triple.role, role)]
        return bool(similar) and all(Triple(triple.opportunity, triple.lead, role) not in there for role in similar)

    return [triple for triple in stored if not is_claimed(triple)]


def _is_spelling(stored: str, sent: str) -> bool:
    """Whether Marketo may have made this of a name: another case, or cut at a character beyond the basic plane."""
    cut = next((place for place, letter in enumerate(sent) if letter > "\uffff"), len(sent))
    return stored.strip().casefold() in {sent.strip().casefold(), sent[:cut].strip().casefold()}


def name_of(fields: FieldMap, rules: Rules, table: str, row: Row) -> str | None:
    """The name of the role that a row gives, as it is sent; None: it cannot be seen."""
    role = rules.role(table, row)
    return None if role is None else fields.text(role)[:ROLE_LENGTH] or rules.default_role


def ends_part(triple: Triple, claims: Claims, person_of: Mapping[int, str]) -> bool:
    """Whether the person has no role in the opportunity any more. The brake counts that, and no change of a role."""
    person = person_of.get(triple.lead)
    return all(claim.person != person for claim in claims.get(triple.opportunity, ()))


def must_be_compared(record: Record, outcome: Outcome) -> bool:
    """Whether the opportunities of a record are compared: not if nothing can be left behind, or it comes again soon."""
    comes_again = isinstance(outcome, Later) or (isinstance(outcome, Retry) and not outcome.counted)
    return not record.additive and not comes_again


# -- the systems --------------------------------------------------------------------------------------------------


@dataclass
class Roles:
    """Compares the roles of opportunities in both systems, and deletes those that are in Marketo alone.

    `tables`: those that are mapped. `deletes`: whether [lifecycle] has roles deleted.
    """

    dataverse: DataverseClient
    marketo: MarketoClient
    schema: Schema
    _: KW_ONLY
    references: References
    known: Known
    old_roles: OldRoles
    tables: Collection[str]
    policy: RolePolicy
    deletes: bool
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        self._tables = [table for table in _ROLE_TABLES if table in self.tables]
        needed: dict[str, tuple[str, ...]] = {OPPORTUNITY.tables[0].name: CONTACT_COLUMNS}
        needed |= {table: TABLES[table][1].rule_columns for table in self._tables}
        self._visibility = Visibility(self.dataverse, self.schema, needed, clock=self.clock)

    async def compare(self, batch: Batch) -> None:
        """After the records of a batch were sent. Where it fails, the records concerned are tried again.

        Costs a call for 300 opportunities with up to 300 roles, and where some seem to be superfluous one that tells
        whose they are, and one that deletes up to 300.
        """
        waiting: dict[str, list[Record]] = {}
        for record, outcome in batch.outcomes if self.deletes else ():
            if must_be_compared(record, outcome):
                for opportunity in batch.opportunities.get(record.key, ()):
                    if not self.known.is_absent(OPPORTUNITY.name, opportunity):  # what is not there has no roles
                        waiting.setdefault(opportunity, []).append(record)
        deadline = max(batch.deadline, self.clock() + SECONDS)
        for part in chunked(sorted(waiting), MAX_FILTER_VALUES):
            of_part = {opportunity: waiting[opportunity] for opportunity in part}
            try:
                failed = await self._compared(batch, of_part, deadline)
            except MsiSyncError as error:
                for records in of_part.values():
                    batch.replace(records, of_error(error))
                continue
            for triple, outcome in failed.items():
                # One of them is enough to bring the opportunity again; and to be a dead letter.
                batch.replace(_chosen(of_part[triple.opportunity]), outcome)

    async def _compared(
        self, batch: Batch, waiting: Mapping[str, list[Record]], deadline: float
    ) -> dict[Triple, Outcome]:
        """Of at most 300 opportunities, with the records that have them compared; gives what was not deleted."""
        opportunities = list(waiting)
        fresh = any(record.wants_fresh for records in waiting.values() for record in records)
        stored = self.ours(await self._stored(opportunities, deadline))
        found = await self.superfluous(stored, deadline, fresh=fresh)
        confirmed = {o for o in opportunities if any(record.confirmed for record in waiting[o])}
        counted = [t for t, ends in found.items() if ends and t.opportunity not in confirmed]
        return await self.old_roles.delete(batch, frozenset(found), counted, deadline) if found else {}

    async def superfluous(
        self, stored: Collection[Triple], deadline: float, *, fresh: bool = False
    ) -> dict[Triple, bool]:
        """Those of these roles of Marketo that nothing in Dynamics gives, each with whether it ends the person's part.

        Some requests for up to 300 opportunities, and a call for 300 persons where a role seems to be superfluous. None
        where the sync user does not see everything that decides it.
        """
        if not stored:
            return {}
        claims = await self._claims(sorted({triple.opportunity for triple in stored}), deadline, fresh=fresh)
        doubtful = unaccounted(stored, claims, self._lead_of)
        if not doubtful or not await self._visibility.is_whole():
            return {}
        persons = await self._persons(sorted({triple.lead for triple in doubtful}), deadline)
        leads = await self._leads(claims, {triple.opportunity for triple in doubtful})
        gone = frozenset(doubtful).intersection(unclaimed(stored, claims, persons, leads.get))
        return {triple: ends_part(triple, claims, persons) for triple in gone}

    def _lead_of(self, person: str) -> int | None:
        return self.known.id_of(PERSON.name, person)

    async def _leads(self, claims: Claims, opportunities: Collection[str]) -> dict[str, int]:
        """Which of the leads (rows) that play a role are in Marketo by their own id; others may be contacts by now."""
        asked = {claim.person for o in opportunities for claim in claims.get(o, ()) if claim.is_lead}
        return await self.marketo.find(PERSON, sorted(asked))

    async def _stored(self, opportunities: list[str], deadline: float) -> Sequence[Row]:
        """The roles that Marketo has of these opportunities."""
        names = OPPORTUNITY_ROLE.dedupe_fields
        return await self.marketo.read(OPPORTUNITY_ROLE, OPPORTUNITY.key, opportunities, names, deadline=deadline)

    def ours(self, rows: Iterable[Row]) -> list[Triple]:
        """Those of Marketo's roles that are this app's business."""
        found = [triple for row in rows if (triple := triple_of(row))]
        if self._tables:
            return found
        own = self.policy.customer_contact.casefold()  # without a table of roles, the others are not ours
        return [triple for triple in found if own and triple.role.casefold() == own]

    async def _claims(self, opportunities: list[str], deadline: float, *, fresh: bool) -> dict[str, set[Claim]]:
        """What Dynamics says of those opportunities that can be read: some requests for up to 300."""
        rows = await read_contacts(self.dataverse, opportunities, deadline)
        claims: dict[str, set[Claim]] = {id_: set() for id_ in rows}
        for id_, row in rows.items():
            if self.policy.customer_contact and (contact := primary_contact(row)):
                claims[id_].add(Claim(contact, self.policy.customer_contact))
        for table in self._tables if claims else ():
            await self._add_claims(claims, table, deadline, fresh=fresh)
        return claims

    async def _add_claims(self, claims: dict[str, set[Claim]], table: str, deadline: float, *, fresh: bool) -> None:
        """Both rows of a connection are read, though each mirrors the other: it is gone when neither is there."""
        source = TABLES[table][1]
        schema = await self.schema.of(table)
        columns = schema.columns.intersection(source.rule_columns)
        found = await self.dataverse.referring(
            source, OPPORTUNITY_COLUMNS[table], sorted(claims), columns, deadline=deadline
        )
        rows = [row for row in found if isinstance(role_ends(table, row), dict)]
        rules = await self.references.rules_for(table, rows, deadline, fresh=fresh)
        for row in rows:
            ends = role_ends(table, row)
            person = ends.get("leadId") if isinstance(ends, dict) else None
            for opportunity in opportunities_of(table, row):
                if person and opportunity in claims:
                    role = name_of(schema.fields, rules, table, row)
                    claims[opportunity].add(Claim(person.id, role, is_lead=person.table == "lead"))

    async def _persons(self, leads: list[int], deadline: float) -> dict[int, str]:
        """The row that each of these leads stands for. What is remembered of them must not have a role deleted."""
        key = self.marketo.key_of(PERSON)
        found: dict[int, str] = {}
        for part in chunked([str(lead) for lead in leads], MAX_FILTER_VALUES):
            for row in await self.marketo.read(PERSON, "id", part, ("id", key), deadline=deadline):
                person = str(row.get(key) or "").lower()
                if type(row.get("id")) is int and person:
                    found[row["id"]] = person
                    self.known.add(PERSON.name, person, row["id"])
        return found


async def read_contacts(dataverse: DataverseClient, opportunities: list[str], deadline: float) -> Mapping[str, Row]:
    """The lookups of these opportunities that may name their primary contact. Raises as DataverseClient does."""
    source = OPPORTUNITY.tables[0]
    return await dataverse.rows(source, opportunities, CONTACT_COLUMNS, deadline=deadline)


def _chosen(records: list[Record]) -> list[Record]:
    """The record that stands for its opportunity, if there is one."""
    return sorted(records, key=lambda record: record.table != OPPORTUNITY.tables[0].name)[:1]
