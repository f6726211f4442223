"""Persons that Marketo does not have by their key: one human is one person there (lifecycle.md 1 and 2).

    a lead that became a contact  ▸ nothing is created: the contact goes on as its person
    a contact from such a lead    ▸ the lead's person, which gets the contact's id
    one person with its address   ▸ that person is adopted, unless it has another Dynamics id: of a row that is there
    several                       ▸ [person] ambiguous in sync.toml
    none                          ▸ a new person

Nobody else writes Dynamics' ids to Marketo's persons between the look and the write: the lease of the entity is held.
A crash in between leaves either no id, and all of this happens again, or the id, by which the person is found then.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace

from ..config.conditions import SyncFilter
from ..config.sync_toml import PersonPolicy
from ..dataverse.client import API, NOT_FOUND, DataverseClient
from ..marketo.client import MAX_FILTER_VALUES, MarketoClient, Write
from ..model.entities import PERSON_TABLES, Entity
from ..model.errors import MarketoError
from ..model.ids_and_times import is_guid
from ..model.outcome import QUALIFIED as OF_QUALIFIED_LEAD
from ..model.outcome import SAME_ADDRESS, Failed, Parent, Skipped
from ..model.record import Record
from .batch import Batch, Candidate
from .links import ORIGIN, origin_of
from .marketo_cache import Known
from .matches import choose, match_of, normal, too_many
from .routing import chunked
from .schema import Schema

log = logging.getLogger(__name__)

#: A lead that a contact stands for: whatever is changed in it, nothing is created for it.
QUALIFIED = Skipped("Qualified")
#: Marketo's code for a filter that more than 1,000 persons match (marketo.md 1).
TOO_MANY = "1003"
#: Answers for so many persons show whether most of what comes is new to Marketo.
SAMPLE = 30


@dataclass
class Newcomers:
    """Decides how persons are written. What it remembers, whether most are new, only saves calls."""

    dataverse: DataverseClient
    marketo: MarketoClient
    schema: Schema
    known: Known
    _: KW_ONLY
    policy: PersonPolicy
    tables: Collection[str]
    _mostly_new: bool = field(default=False, init=False)

    def first_write(self, entity: Entity, candidate: Candidate) -> Write | None:
        """How a record is sent first; None: it is most likely new, so it is looked for before anything is sent."""
        if not entity.is_lead:
            return Write.UPSERT
        if candidate.origin or candidate.is_history or self.known.id_of(entity.name, candidate.key) is not None:
            return Write.UPDATE
        return None if candidate.is_as_made or self._mostly_new else Write.UPDATE

    def learn(self, absent: int, count: int) -> None:
        """So many of so many persons of a call were not in Marketo."""
        if count >= SAMPLE:
            self._mostly_new = absent * 2 >= count

    async def place(self, batch: Batch, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Say of each how it is written now; decides those that are not. Costs one call per 300 for each question."""
        ordered = sorted(candidates, key=lambda c: (c.since, c.key))
        await self._ask(batch, [c for c in ordered if c.records[0].table == "lead"], self._qualified)
        await self._ask(batch, [c for c in ordered if c.origin], self._continue)
        if self.policy.match_email:
            await self._look_for(batch, ordered)
        for candidate in ordered:
            if candidate.write is None and _is_open(batch, candidate):
                self._choose(batch, candidate)
        return [candidate for candidate in ordered if _is_open(batch, candidate)]

    async def _ask(
        self, batch: Batch, candidates: list[Candidate], ask: Callable[[Batch, list[Candidate]], Awaitable[None]]
    ) -> None:
        """Ask about those that are not decided, 300 at a time; a refusal decides those that were asked about."""
        for part in chunked([c for c in candidates if _is_unasked(batch, c)], MAX_FILTER_VALUES):
            await batch.guard(_records(part), ask(batch, part))

    async def _qualified(self, batch: Batch, candidates: list[Candidate]) -> None:
        """Leads that a contact comes from, by Qualify or by somebody's own process: the contact stands for them."""
        leads = {c.key: c for c in candidates}
        stands_for = await stood_for(self.dataverse, self.schema, leads, self.tables, deadline=batch.deadline)
        for key in stands_for & leads.keys():
            candidate = leads[key]
            if candidate.is_absent:
                batch.decide(candidate.records, QUALIFIED)
            else:
                candidate.write, candidate.is_history = Write.UPDATE, True

    async def _continue(self, batch: Batch, candidates: list[Candidate]) -> None:
        """Contacts go on as the persons of the leads that they come from."""
        persons = await self.marketo.find(batch.entity, sorted({candidate.origin for candidate in candidates}))
        for candidate in candidates:
            person = persons.get(candidate.origin, 0)
            if person and person not in batch.taken:
                self.known.forget(batch.entity.name, candidate.origin)
                lead = Parent(batch.entity.name, "lead", candidate.origin)
                self._adopt(batch, candidate, person, OF_QUALIFIED_LEAD, lead)

    async def _look_for(self, batch: Batch, candidates: list[Candidate]) -> None:
        """Find who has their e-mail addresses: each is asked for once, 300 at a time, whoever shares it."""
        wanted: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            if _is_unasked(batch, candidate):
                wanted.setdefault(normal(json.loads(candidate.body).get("email")), []).append(candidate)
        for candidate in wanted.pop("", []):
            candidate.matches = []
        for addresses in chunked(list(wanted), MAX_FILTER_VALUES):
            part = {address: wanted[address] for address in addresses}
            await batch.guard(_records(c for same in part.values() for c in same), self._look(batch, part))

    async def _look(self, batch: Batch, wanted: dict[str, list[Candidate]]) -> None:
        key = self.marketo.key_of(batch.entity)
        table = next(iter(wanted.values()))[0].records[0].table
        flag = (await self.schema.of(table)).deleted_flag
        fields = ("id", "email", key, "createdAt", "updatedAt", *filter(None, [flag]))
        try:
            rows = await self.marketo.read(
                batch.entity, "email", sorted(wanted), fields,
                refusals=frozenset({TOO_MANY}), deadline=batch.deadline,
            )  # fmt: skip
        except MarketoError as error:
            if error.code != TOO_MANY:
                raise
            await self._look_apart(batch, wanted)
            return
        matches = [(normal(row.get("email")), found) for row in rows if (found := match_of(row, key, flag))]
        gone = await self._gone({found.key for _, found in matches if found.flagged}, batch.deadline)
        for candidate in (c for same in wanted.values() for c in same):
            candidate.matches = []
        for address, found in matches:
            for candidate in wanted.get(address, ()):
                candidate.matches = [*(candidate.matches or ()), replace(found, is_left=found.key in gone)]

    async def _gone(self, keys: Collection[str], deadline: float) -> set[str]:
        """Those of these ids that no row has. Only of persons that are marked as deleted: the ids of others may be
        another system's. Costs a request for 100 of them and each table.
        """
        gone = {key for key in keys if is_guid(key)}
        for table in PERSON_TABLES.values():
            if not (asked := sorted(gone)):
                break
            found = await self.dataverse.statuses(table, asked, deadline=deadline)
            gone = {key for key, status in zip(asked, found, strict=True) if status == NOT_FOUND}
        return gone

    async def _look_apart(self, batch: Batch, wanted: dict[str, list[Candidate]]) -> None:
        """More than 1,000 persons have these addresses: ask for fewer at a time."""
        addresses = list(wanted)
        if len(addresses) == 1:
            for candidate in wanted[addresses[0]]:
                failed = too_many("more than 1,000 persons in Marketo have the row's e-mail address", _row(candidate))
                batch.decide(candidate.records, failed)
            return
        for half in chunked(addresses, (len(addresses) + 1) // 2):
            await self._look(batch, {address: wanted[address] for address in half})

    def _choose(self, batch: Batch, candidate: Candidate) -> None:
        """How it is written, as far as that is known: by its key first, where it may be there by it."""
        matches, ambiguous = candidate.matches or [], self.policy.ambiguous
        chosen = choose(matches, candidate.key, batch.taken, ambiguous=ambiguous, row=_row(candidate))
        if chosen is None:
            candidate.write = Write.UPSERT
        elif not candidate.is_absent:
            candidate.write = Write.UPDATE
        elif isinstance(chosen, Failed):
            batch.decide(candidate.records, chosen)
        else:
            before = None
            if chosen.key:
                self.known.forget(batch.entity.name, chosen.key)
                log.info("left_behind id=%s marketo_id=%d: its row is deleted", chosen.key, chosen.id)
                before = Parent(batch.entity.name, candidate.records[0].table, chosen.key)
            self._adopt(batch, candidate, chosen.id, SAME_ADDRESS, before)

    @staticmethod
    def _adopt(batch: Batch, candidate: Candidate, person: int, found_by: str, before: Parent | None) -> None:
        """Go on as this person, which was that of the row `before`, if it was anybody's."""
        batch.taken.add(person)
        candidate.write, candidate.marketo_id = Write.BY_ID, person
        candidate.found_by, candidate.continues = found_by, before
        record = candidate.records[0]
        log.info("adopts table=%s id=%s marketo_id=%d why=%s", record.table, record.id, person, found_by)


async def stood_for(
    dataverse: DataverseClient,
    schema: Schema,
    leads: Mapping[str, Candidate],
    tables: Collection[str],
    *,
    deadline: float | None = None,
) -> set[str]:
    """Those of these leads, by id (at most 300), that a contact stands for: nothing is created for them."""
    named = {key for key, candidate in leads.items() if candidate.winner}
    unnamed = {key: candidate.is_history for key, candidate in leads.items() if key not in named}
    if not unnamed or "contact" not in tables:
        return named
    chosen = await schema.filter_of("contact")
    return named | (await contacts_of(dataverse, chosen, unnamed, deadline=deadline)).keys()


async def contacts_of(
    dataverse: DataverseClient, chosen: SyncFilter, leads: Mapping[str, bool], *, deadline: float | None = None
) -> dict[str, str]:
    """The contacts that stand for these leads, by lead; at most 300 leads, each with whether it was qualified.

    For a lead that is still open, only a contact that is synced does, by the filter that is `chosen` for contacts.
    """
    columns = ",".join(sorted({"contactid", ORIGIN, *chosen.columns}))
    either = " or ".join(f"{ORIGIN} eq {lead}" for lead in sorted(leads))
    found = await dataverse.query(f"{API}/contacts?$select={columns}&$filter={either}", deadline=deadline)
    return {
        lead: str(row.get("contactid")).lower()
        for row in found
        if leads.get(lead := origin_of(row)) or not chosen.excludes(row)
    }


def _is_open(batch: Batch, candidate: Candidate) -> bool:
    return any(record.key in batch.open for record in candidate.records)


def _is_unasked(batch: Batch, candidate: Candidate) -> bool:
    """Whether it is still to be found out who it is in Marketo."""
    return candidate.write is None and candidate.matches is None and _is_open(batch, candidate)


def _records(candidates: Iterable[Candidate]) -> list[Record]:
    return [record for candidate in candidates for record in candidate.records]


def _row(candidate: Candidate) -> str:
    return f"{candidate.records[0].table} {candidate.records[0].id}"
