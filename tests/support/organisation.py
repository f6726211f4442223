"""Rows of all tables in Dataverse and records of all entities in Marketo, in memory, with an engine between them."""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from local.wiring import engine_between
from shared.config.sync_toml import SyncConfig
from shared.dataverse.metadata import Column
from shared.marketo.answers import Result
from shared.marketo.fields import MarketoField
from shared.model.entities import ENTITIES, TABLES, Entity, Table
from shared.model.outcome import Outcome, Parent, WillNotCome
from shared.model.record import Record
from shared.sync.engine import Engine
from shared.sync.links import LOOKUP_TABLE
from shared.sync.marketo_cache import Known
from tests.support.values import NOON, guid
from tests.support.vendors import Vendors

PERSON = ENTITIES["person"]
CONFIG = SyncConfig.model_validate(
    {
        "systemuser": {"fields": {"email": "internalemailaddress"}},
        "account": {"fields": {"company": "name"}},
        "lead": {"fields": {"firstName": "firstname"}},
        "contact": {"fields": {"firstName": "firstname"}},
        "opportunity": {"fields": {"name": "name"}},
        "connection": {"fields": {}},
    }
)
Row = dict[str, Any]


def to(column: str, table: str, id_: str) -> Row:
    """A lookup column as the Web API writes it."""
    return {column: id_.upper(), column + LOOKUP_TABLE: table}


def owned_by(user: str) -> Row:
    return to("_ownerid_value", "systemuser", user)


class Dataverse:
    """Rows by table and id; every request is counted and may be refused."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Row]] = {"connectionrole": {guid(900): {"name": "Decision Maker"}}}
        self.requests: list[tuple[str, int]] = []
        self.error: Exception | None = None
        self.hidden: set[str] = set()
        self.secured: set[str] = set()

    def put(self, table: str, id_: str, **columns: Any) -> str:
        self.tables.setdefault(table, {})[id_] = columns
        return id_

    async def rows(self, source: Table, ids: Sequence[str], columns: Iterable[str], **_: Any) -> dict[str, Row]:
        assert len(ids) <= 300
        table = source.name
        self.requests.append((table, len(ids)))
        if self.error:
            raise self.error
        asked = {*columns, *(column + LOOKUP_TABLE for column in columns)}
        stored = self.tables.get(table, {})
        return {id_: {k: v for k, v in stored[id_].items() if k in asked} for id_ in ids if id_ in stored}

    async def statuses(self, table: Table, ids: Sequence[str], **_: Any) -> list[int]:
        """Of requests for single rows: those that queries do not give are hidden or not there."""
        assert len(ids) <= 100
        there = self.tables.get(table.name, {})
        return [403 if id_ in self.hidden else 200 if id_ in there else 404 for id_ in ids]

    async def hidden_columns(self, _table: str) -> frozenset[str]:
        return frozenset(self.secured)

    async def readable_columns(self, table: str) -> dict[str, Column]:
        names = ["name", "firstname", "internalemailaddress", "createdon", *TABLES[table][1].rule_columns]
        return {name: Column(name, "String", readable=True, hidden=name in self.secured) for name in names}


class Marketo(Vendors):
    """Records by entity and key, with the ids that Marketo gives out."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, Row]] = {name: {} for name in ENTITIES}
        self.finds: list[tuple[str, int]] = []
        self.upserts: list[list[Row]] = []
        self.ids = 100

    async def describe(self, entity: Entity) -> dict[str, MarketoField]:
        names = ("company",) if entity.name == "company" else ("email", "company", "firstName", "name")
        return dict.fromkeys(names, MarketoField("string", 255))

    def has(self, entity: str, key: str) -> int:
        self.ids += 1
        self.stored[entity][key] = {"id": self.ids}
        return self.ids

    async def read(self, *_: Any, **__: Any) -> list[Row]:
        return []  # nobody is linked to a company

    async def find(self, entity: Entity, keys: Sequence[str]) -> dict[str, int]:
        assert len(set(keys)) == len(keys) <= 300
        self.finds.append((entity.name, len(keys)))
        return {key: self.stored[entity.name][key]["id"] for key in keys if key in self.stored[entity.name]}

    async def write(self, entity: Entity, bodies: Sequence[bytes], *_: Any, **__: Any) -> list[Result]:
        sent = [json.loads(body) for body in bodies]
        keys = ["|".join(str(row[name]) for name in entity.dedupe_fields) for row in sent]
        assert len(set(keys)) == len(keys) <= 300, "Marketo refuses a key twice in one call (1036)"
        self.upserts.append(sent)
        return [self._store(entity, key, row) for key, row in zip(keys, sent, strict=True)]

    def _store(self, entity: Entity, key: str, row: Row) -> Result:
        status = "updated" if key in self.stored[entity.name] else "created"
        id_ = self.stored[entity.name].get(key, {}).get("id") or self.has(entity.name, key)
        self.stored[entity.name][key] = row | {"id": id_}
        return Result(status, id_)


class World:
    """One instance of the app between the two systems."""

    def __init__(self) -> None:
        self.dataverse: Any = Dataverse()
        self.marketo: Any = Marketo()
        self.now = 1_000.0
        self.user = self.dataverse.put("systemuser", guid(1), internalemailaddress="sam@x.com")
        self.account = self.dataverse.put("account", guid(2), name="Contoso", **owned_by(self.user))
        self.known = Known(clock=lambda: self.now)
        self.causes: dict[Parent, WillNotCome] = {}
        self.rules = CONFIG
        self.engine = self.restarted(self.known)

    def restarted(self, known: Known | None = None) -> Engine:
        def clock() -> float:
            return self.now

        return engine_between(
            self.dataverse,
            self.marketo,
            self.rules,
            clock=clock,
            now=lambda: NOON,
            known=known or Known(clock=clock),
            causes=self.causes_of,
        )

    def person(self, number: int, table: str = "contact") -> Record:
        """A contact or lead that the user owns and that belongs to the account."""
        column = "_parentcustomerid_value" if table == "contact" else "_parentaccountid_value"
        row = owned_by(self.user) | to(column, "account", self.account)
        self.dataverse.put(table, guid(number), firstname=f"Ann {number}", **row)
        return Record(table, guid(number), NOON)

    async def causes_of(self, parents: Collection[Parent]) -> dict[Parent, WillNotCome]:
        return {parent: self.causes[parent] for parent in parents if parent in self.causes}

    def parents(self) -> None:
        self.marketo.has("sales_person", self.user)
        self.marketo.has("company", self.account)

    def connection(self, number: int, person: str, opportunity: str, *, role: str | None = None) -> list[Record]:
        """The two mirrored rows of one stakeholder."""
        ends = [("contact", person), ("opportunity", opportunity)]
        for offset, (first, second) in enumerate([ends, ends[::-1]]):
            row = to("_record1id_value", *first) | to("_record2id_value", *second) | {"statecode": 0}
            if role:
                row |= to(f"_record{offset + 1}roleid_value", "connectionrole", role)
            self.dataverse.put("connection", guid(number + offset), **row)
        return [Record("connection", guid(number + offset), NOON) for offset in (0, 1)]

    async def sync(self, entity: str, *records: Record) -> list[Outcome]:
        return [outcome for _, outcome in await self.engine.sync(ENTITIES[entity], records)]
