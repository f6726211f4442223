"""Rows that are there or not in Dynamics, and the records that Marketo has of them, with an engine between them."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from local.wiring import engine_between
from shared.config.sync_toml import SyncConfig
from shared.marketo.answers import Result
from shared.marketo.client import Write
from shared.marketo.fields import MarketoField
from shared.model.codes import Kind
from shared.model.entities import ENTITIES, TABLES, Entity, Table
from shared.model.errors import DataverseError, MarketoError
from shared.model.outcome import Outcome
from shared.model.record import Record
from shared.sync.delete_brake import DeleteBrake
from shared.sync.engine import Engine
from shared.sync.marketo_cache import Known
from tests.support.state import SharedState
from tests.support.values import NOON, guid
from tests.support.vendors import Vendors

FLAG = "newDeleted"
DAY = timedelta(days=1)
Row = dict[str, Any]


def rules(**lifecycle: Any) -> SyncConfig:
    tables: dict[str, Any] = {
        table: {"fields": {}} for table in ("systemuser", "account", "lead", "contact", "opportunity")
    }
    return SyncConfig.model_validate({**tables, "filter_column": "", "lifecycle": lifecycle})


class Dataverse(Vendors):
    """Rows by table. `hidden` may not be read, and `unsure` are answered by something else than Dataverse.

    `asked`: so many rows at a time were asked for one by one. Who asks for the one that is `away` gets no answer.
    """

    columns = ("internalemailaddress", "createdon")

    def __init__(self) -> None:
        self.rows_of: dict[str, set[str]] = {table: set() for table in TABLES}
        self.hidden: set[str] = set()
        self.unsure: set[str] = set()
        self.total = 1_000
        self.asked: list[int] = []
        self.away = ""

    async def rows(self, table: Table, ids: Sequence[str], *_: Any, **__: Any) -> dict[str, Row]:
        there = self.rows_of[table.name]
        return {id_: {table.key: id_, "internalemailaddress": "a@b.c"} for id_ in ids if id_ in there}

    async def statuses(self, table: Table, ids: Sequence[str], **_: Any) -> list[int]:
        self.asked.append(len(ids))
        if self.away in ids:
            raise DataverseError("HTTP 503", "away", kind=Kind.TRANSIENT)
        there = self.rows_of[table.name]
        return [403 if id_ in self.hidden else 0 if id_ in self.unsure else 200 if id_ in there else 404 for id_ in ids]

    async def count_rows(self, _: Entity) -> int:
        return self.total


class Marketo(Vendors):
    """Records by entity, each with an id. `before` and `after` a write may raise; `skips` are codes by key."""

    def __init__(self) -> None:
        self.records: dict[str, list[Row]] = {name: [] for name in ENTITIES}
        self.calls: list[tuple[str, str, int]] = []
        self.skips: dict[str, str] = {}
        self.before: list[Exception | None] = []
        self.after: list[Exception | None] = []
        self.flag_field: MarketoField | None = MarketoField("boolean")

    def has(self, entity: str, **fields: Any) -> int:
        id_ = 100 + sum(map(len, self.records.values()))
        self.records[entity].append({"id": id_, "marketoGUID": f"guid-{id_}", **fields})
        return id_

    def keys(self, entity: str) -> list[Any]:
        return [row.get(ENTITIES[entity].key) for row in self.records[entity]]

    async def describe(self, entity: Entity) -> dict[str, MarketoField]:
        fields = {"externalCompanyId": MarketoField("string", 50, searchable=entity.name == "opportunity")}
        return fields | ({FLAG: self.flag_field} if entity.is_lead and self.flag_field else {})

    async def find(self, entity: Entity, keys: Sequence[str]) -> dict[str, int]:
        rows = await self.read(entity, entity.key, keys, ())
        return {row[entity.key]: row["id"] for row in rows}

    async def read(self, entity: Entity, by: str, values: Sequence[str], *_: Any, **__: Any) -> list[Row]:
        return [dict(row) for row in self.records[entity.name] if row.get(by) in values]

    async def write(
        self, entity: Entity, bodies: Sequence[bytes], write: Write, *, begin: Any, **_: Any
    ) -> list[Result]:
        action = {Write.UPSERT: "upsert", Write.DELETE: "delete"}.get(write, "update")
        is_by_id = write is Write.BY_ID or (write is Write.DELETE and entity.is_lead)
        by = "id" if is_by_id else entity.key
        assert 1 <= len(bodies) <= 300
        await begin()
        self.calls.append((action, entity.name, len(bodies)))
        if self.before and (error := self.before.pop(0)):
            raise error
        results = [self._one(action, entity, json.loads(body), by) for body in bodies]
        if self.after and (error := self.after.pop(0)):
            raise error
        return results

    def _one(self, action: str, entity: Entity, body: Row, by: str) -> Result:
        names = [by] if by else entity.dedupe_fields
        found = [row for row in self.records[entity.name] if all(row.get(name) == body[name] for name in names)]
        if code := self.skips.get(str(body[names[0]])):
            return Result("skipped", code=code, message="refused")
        if not found and action != "upsert":
            return Result("skipped", code="1004" if entity.is_lead else "1013", message="not found")
        if not found:
            return Result("created", self.has(entity.name, **body))
        if action == "delete":
            self.records[entity.name].remove(found[0])
            return Result("deleted", found[0]["id"])
        found[0].update(body)
        return Result("updated", found[0]["id"])


class World:
    """One instance of the app between the two systems."""

    def __init__(self) -> None:
        self.dataverse = Dataverse()
        self.marketo = Marketo()
        self.state: Any = SharedState()
        self.now = NOON
        self.ticks = 1_000.0
        self.known = Known(clock=lambda: self.ticks)
        self.engine = self.with_rules()

    def with_rules(self, **lifecycle: Any) -> Engine:
        config = rules(**lifecycle)
        brake = DeleteBrake(
            self.state, limit=config.lifecycle.delete_brake, count_rows=self.dataverse.count_rows, now=lambda: self.now
        )
        self.engine = engine_between(
            self.dataverse, self.marketo, config, clock=lambda: self.ticks, now=lambda: self.now, known=self.known,
            brake=brake,
        )  # fmt: skip
        return self.engine

    async def sync(self, entity: str, *records: Record) -> list[Outcome]:
        return [outcome for _, outcome in await self.engine.sync(ENTITIES[entity], records)]

    async def one(self, entity: str, record: Record) -> tuple[Record, Outcome]:
        ((record, outcome),) = await self.engine.sync(ENTITIES[entity], [record])
        return record, outcome

    def person(self, number: int = 10, **fields: Any) -> int:
        return self.marketo.has("person", externalPersonId=guid(number), **fields)


def deleted(table: str = "contact", number: int = 10) -> Record:
    return Record(table, guid(number), NOON, "delete")


def lost() -> MarketoError:
    return MarketoError("HTTP 504", "Marketo's gateway refused the call", kind=Kind.TRANSIENT, at_work=True)
