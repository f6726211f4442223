"""Opportunities, persons and what ties them in Dynamics, the roles that Marketo has, and an engine that may crash."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from local.wiring import engine_between
from shared.config.sync_toml import SyncConfig
from shared.dataverse.metadata import Column
from shared.marketo.answers import Result
from shared.marketo.client import Write
from shared.model.codes import Kind
from shared.model.entities import OPPORTUNITY_ROLE, TABLES, Entity, Table
from shared.model.errors import DataverseError, MarketoError
from shared.model.outcome import Later, Outcome, Retry
from shared.model.record import Record
from shared.sync.marketo_cache import Known
from shared.sync.routing import Routed
from tests.support.values import NOON, guid, to
from tests.support.vendors import Vendors

DEAL, OTHER = guid(1), guid(2)
ANN, BOB = guid(11), guid(12)
PERSONS = {1: ANN, 2: BOB}


# -- histories ----------------------------------------------------------------------------------------------------

CONFIG = SyncConfig.model_validate(
    {"opportunity": {"fields": {}}, "connection": {"fields": {}}, "customeropportunityrole": {"fields": {}}}
)
ROLES = {guid(900): "Buyer", guid(901): "Champion"}
PEOPLE = [guid(number) for number in range(11, 14)]
DEALS = [DEAL, OTHER]


class Crash(BaseException):
    """The process is gone."""


@dataclass
class Tie:
    """What a connection or a legacy role says."""

    table: str
    deal: str
    person: str
    role: str
    active: bool = True


class World(Vendors):
    """Both systems in memory, and the messages that tell the app what happened, each until it is settled.

    `narrow`, `secured`: Dynamics hides rows, or a column. `away`: it does not answer. `refuses`: Marketo takes no role.
    """

    def __init__(self) -> None:
        self.ties: dict[str, Tie] = {}
        self.contacts = dict.fromkeys(DEALS, "")
        self.tables_of: dict[str, str] = {}
        self.leads = {person: 100 + number for number, person in enumerate(PEOPLE)}
        self.stored: set[tuple[str, int, str]] = set()
        self.names = dict(ROLES)
        self.messages: list[Record] = []
        self.later: list[Record] = []
        self.made = 0
        self.dies_after = -1
        self.deleted = 0
        self.calls: list[str] = []
        self.narrow = self.secured = self.away = self.refuses = False
        self.now = 0.0

    # -- Dynamics -----------------------------------------------------------------------------------------------------

    def tell(self, table: str, id_: str, **facts: Any) -> None:
        self.messages.append(Record(table, id_, NOON, **facts))

    def connect(self, tie: Tie) -> str:
        self.made += 1
        id_ = guid(1000 + 2 * self.made)
        self.ties[id_] = tie
        self._tell_both(id_, additive=True)
        return id_

    def _tell_both(self, id_: str, **facts: Any) -> None:
        self.tell(self.ties[id_].table, id_, **facts)
        if self.ties[id_].table == "connection":
            self.tell("connection", mirror(id_), **facts)

    def change(self, id_: str, **facts: Any) -> None:
        before = self.ties[id_]
        self.ties[id_] = replace(before, **facts)
        self._tell_both(id_)
        if before.deal != self.ties[id_].deal:
            self.tell("opportunity", before.deal)

    def disconnect(self, id_: str) -> None:
        self._tell_both(id_, operation="delete")
        self.tell("opportunity", self.ties.pop(id_).deal)

    def rename(self, role: str, name: str) -> None:
        self.names[role] = name
        for id_, tie in self.ties.items():
            if tie.role == role:
                self._tell_both(id_)

    def primary(self, deal: str, contact: str) -> None:
        self.contacts[deal] = contact
        self.tell("opportunity", deal)

    def wanted(self) -> set[tuple[str, int, str]]:
        """What Marketo must have in the end."""
        ties = {(tie.deal, self.leads[tie.person], self.names[tie.role]) for tie in self.ties.values() if tie.active}
        return ties | {(deal, self.leads[who], "Primary Contact") for deal, who in self.contacts.items() if who}

    async def rows(self, table: Table, ids: Sequence[str], *_: Any, **__: Any) -> dict[str, Any]:
        if table.name in ("connectionrole", "relationshiprole"):
            return {id_: {"name": self.names[id_]} for id_ in ids if id_ in self.names}
        if table.name == "opportunity":
            return {id_: self._deal(id_) for id_ in ids if id_ in self.contacts}
        found = dict(self._rows(table.name))
        return {id_: found[id_] for id_ in ids if id_ in found}

    async def referring(
        self, table: Table, lookups: Sequence[str], ids: Sequence[str], *_: Any, **__: Any
    ) -> list[dict[str, Any]]:
        if self.away:
            raise DataverseError("HTTP 503", "away", kind=Kind.TRANSIENT)
        rows = self._rows(table.name)
        return [{table.key: id_, **row} for id_, row in rows if any(row[f"_{name}_value"] in ids for name in lookups)]

    def _deal(self, id_: str) -> dict[str, Any]:
        contact = self.contacts[id_]
        return to("_customerid_value", "contact", contact) if contact else {"_customerid_value": None}

    def _rows(self, table: str) -> list[tuple[str, dict[str, Any]]]:
        found = []
        for id_, tie in self.ties.items():
            if tie.table != table:
                continue
            state = {"statecode": int(not tie.active)}
            if table == "connection":
                for row_id, one, two in ((id_, 1, 2), (mirror(id_), 2, 1)):
                    ends = to(f"_record{one}id_value", "opportunity", tie.deal)
                    ends |= to(f"_record{two}id_value", self.tables_of.get(tie.person, "contact"), tie.person)
                    found.append((row_id, ends | to(f"_record{two}roleid_value", "connectionrole", tie.role) | state))
            else:
                ends = to("_opportunityid_value", "opportunity", tie.deal) | to(
                    "_customerid_value", "contact", tie.person
                )
                found.append((id_, ends | to("_opportunityroleid_value", "relationshiprole", tie.role) | state))
        return found

    async def statuses(self, _table: Table, ids: Sequence[str], **_: Any) -> list[int]:
        return [404 for _ in ids]

    async def hidden_columns(self, table: str, /) -> frozenset[str]:
        return frozenset(["_record2id_value"] if self.secured and table == "connection" else ())

    async def readable_columns(self, table: str, /) -> dict[str, Column]:
        return {name: Column(name, "String", readable=True) for name in TABLES[table][1].rule_columns}

    async def user_id(self) -> str:
        return guid(99)

    async def get(self, _url: str, **_: Any) -> dict[str, Any]:
        depth = "Local" if self.narrow else "Global"
        return {"RolePrivileges": [{"PrivilegeName": "prvReadConnection", "Depth": depth}]}

    # -- Marketo ------------------------------------------------------------------------------------------------------

    def _called(self, what: str) -> None:
        self.calls.append(what)
        self.dies_after -= 1
        if self.dies_after == -1:
            raise Crash

    async def find(self, entity: Entity, keys: Sequence[str], /) -> dict[str, int]:
        self._called("find")
        return {key: self.leads.get(key, 0) for key in keys if key in self.leads or entity.name == "opportunity"}

    async def read(self, entity: Entity, filter_type: str, values: Sequence[str], *_: Any, **__: Any) -> list[Any]:
        self._called(f"read {entity.name}")
        if entity is OPPORTUNITY_ROLE:
            assert filter_type == "externalOpportunityId"
            names = OPPORTUNITY_ROLE.dedupe_fields
            return [dict(zip(names, triple, strict=True)) for triple in self.stored if triple[0] in values]
        persons = {str(lead): person for person, lead in self.leads.items()}
        return [{"id": int(lead), "externalPersonId": persons[lead]} for lead in values if lead in persons]

    async def write(self, entity: Entity, bodies: Sequence[bytes], write: Write, **_: Any) -> list[Result]:
        if write is Write.DELETE:
            return self._delete(bodies)
        self._called("upsert")
        if self.refuses:
            raise MarketoError("608", "temporarily unavailable", kind=Kind.TRANSIENT)
        sent = [json.loads(body) for body in bodies]
        triples = [(row["externalOpportunityId"], row["leadId"], row["role"]) for row in sent]
        assert entity is OPPORTUNITY_ROLE
        assert len(set(triples)) == len(triples)
        known = set(self.stored)
        self.stored.update(triples)
        self._called("stored")
        return [Result("updated" if triple in known else "created") for triple in triples]

    def _delete(self, bodies: Sequence[bytes]) -> list[Result]:
        assert len(bodies) <= 300
        self._called("delete")
        results = []
        for body in bodies:
            row = json.loads(body)
            triple = (row["externalOpportunityId"], row["leadId"], row["role"])
            results.append(Result("deleted") if triple in self.stored else Result("skipped", code="1013"))
            self.deleted += triple in self.stored
            self.stored.discard(triple)
        self._called("deleted")
        return results

    # -- the app ------------------------------------------------------------------------------------------------------

    def engine(self, **parts: Any) -> Any:
        """A process that remembers nothing."""

        def clock() -> float:
            return self.now

        known = Known(clock=clock)
        return engine_between(self, self, CONFIG, clock=clock, now=lambda: NOON, known=known, **parts)

    def put_off(self) -> None:
        """Have what is waiting compared later, as while changes are collected."""
        routed = Routed()
        routed.add_roles(self.messages)
        self.later += routed.put_off_comparisons().records.get(OPPORTUNITY_ROLE.name, [])
        self.messages = routed.records.get(OPPORTUNITY_ROLE.name, [])

    def ten_minutes_are_full(self) -> None:
        """The time for which changes are collected is over: what `put_off` has put off is waiting again."""
        self.messages, self.later = [*self.messages, *self.later], []

    async def work(self, *, crash_after: int = -1, engine: Any = None, **parts: Any) -> list[Outcome]:
        """Sync what is waiting; what a crash does not settle, and what is to be tried again, waits on."""
        self.dies_after = crash_after
        try:
            decided = await (engine or self.engine(**parts)).sync(OPPORTUNITY_ROLE, self.messages)
        except Crash:
            return []
        finally:
            self.dies_after = -1
            self.now += 60.0
        self.messages = [record for record, outcome in decided if isinstance(outcome, Retry | Later)]
        return [outcome for _, outcome in decided]


def mirror(id_: str) -> str:
    return guid(int(id_.replace("-", ""), 16) + 1)
