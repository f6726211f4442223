"""Leads and contacts in Dataverse and persons in Marketo, both in memory, with an engine between them."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from local.wiring import engine_between
from shared.config.sync_toml import SyncConfig
from shared.dataverse.metadata import Column
from shared.marketo.answers import Result
from shared.marketo.client import Write
from shared.marketo.fields import MarketoField
from shared.model.codes import Kind
from shared.model.entities import PERSON, TABLES, Entity, Table
from shared.model.errors import MarketoError
from shared.model.outcome import Later, Outcome, Skipped, Synced
from shared.model.record import Record
from shared.sync.scheduling import Windows
from tests.support.clocks import Clock
from tests.support.values import NOON, guid, to
from tests.support.vendors import Vendors

Row = dict[str, Any]
KEY = "externalPersonId"
FLAG = "dynamicsDeleted"
CREATED, UPDATED, ADOPTED = Synced("created"), Synced("updated"), Synced("adopted")
QUALIFIED = Skipped("Qualified")
#: Persons that one answer of a query may have.
MOST = 1000


class Killed(BaseException):
    """The process has been killed."""


class Dataverse(Vendors):
    def __init__(self) -> None:
        self.rows_of: dict[str, dict[str, Row]] = {"lead": {}, "contact": {}}
        self.missing = 404  # what is said of a row that is not there

    async def rows(self, table: Table, ids: Sequence[str], columns: Iterable[str], **_: Any) -> Any:
        stored = self.rows_of[table.name]
        asked = set(columns)
        return {i: {k: v for k, v in stored[i].items() if k.partition("@")[0] in asked} for i in ids if i in stored}

    async def query(self, url: str, **_: Any) -> list[Row]:
        return [row for row in self.rows_of["contact"].values() if str(row.get("_originatingleadid_value")) in url]

    async def statuses(self, table: Table, ids: Sequence[str], **_: Any) -> list[int]:
        return [200 if id_ in self.rows_of[table.name] else self.missing for id_ in ids]

    async def readable_columns(self, table: str, /) -> Any:
        names = ["emailaddress1", "createdon", "modifiedon", "new_synctomkto", *TABLES[table][1].rule_columns]
        return {name: Column(name, "Boolean" if "sync" in name else "String", readable=True) for name in names}


class Marketo(Vendors):
    def __init__(self) -> None:
        self.persons: dict[int, Row] = {}
        self.calls: Counter[str] = Counter()
        #: After so many calls with records, one kills the process once it has stored them; negative: none.
        self.dies_after = -1

    def has(self, number: int, email: str, key: str | None = None, **more: Any) -> None:
        self.persons[number] = {"id": number, "email": email, KEY: key, **more}

    async def describe(self, _entity: Entity, /) -> dict[str, MarketoField]:
        """Return the fields of a person."""
        return {"email": MarketoField("email", 255), FLAG: MarketoField("boolean", None)}

    def keys(self) -> dict[int, str]:
        return {number: person[KEY] for number, person in self.persons.items()}

    async def merge(self, winner: int, losers: Sequence[int], **_: Any) -> None:
        """Merge persons: the winner has its own values, and those that it lacks."""
        self.calls["merge"] += 1
        assert 1 <= len(losers) <= 25, "1080"
        for loser in losers:
            gone = self.persons.pop(loser)
            self.persons[winner] = {**gone, **{k: v for k, v in self.persons[winner].items() if v is not None}}

    async def find(self, _entity: Entity, keys: Sequence[str], /) -> dict[str, int]:
        self.calls["find"] += 1
        return {person[KEY]: number for number, person in self.persons.items() if person[KEY] in keys}

    async def read(self, _entity: Entity, field: str, values: Sequence[str], *_: Any, **__: Any) -> list[Row]:
        self.calls[f"read {field}"] += 1
        assert len(values) <= 300
        found = [person for person in self.persons.values() if str(person[field]).lower() in values]
        if len(found) > MOST:
            raise MarketoError("1003", "Too many results match the filter", kind=Kind.CONFIGURATION)
        return found

    async def write(self, _entity: Entity, bodies: Sequence[bytes], write: Write, **_: Any) -> list[Result]:
        assert write is not Write.DELETE, "nothing is deleted here"
        self.calls[write.name] += 1
        sent = [json.loads(body) for body in bodies]
        assert 0 < len(sent) <= 300
        results = [self._store(row, write) for row in sent]
        self.dies_after -= 1
        if self.dies_after == -1:
            raise Killed
        return results

    def _store(self, row: Row, write: Write) -> Result:
        field = "id" if write is Write.BY_ID else KEY
        there = [person for person in self.persons.values() if person.get(field) == row[field]]
        assert len(there) <= 1, "1007"
        if there:
            there[0].update(row)
            return Result("updated", there[0]["id"])
        if write is not Write.UPSERT:
            return Result("skipped", 0, "1004", "Lead not found")
        number = 1000 + len(self.persons)
        self.has(number, **{"email": None, **{k: v for k, v in row.items() if k == "email"}}, key=row[KEY])
        return Result("created", number)


class World:
    def __init__(self, *, lifecycle: Mapping[str, Any] | None = None, **person: Any) -> None:
        self.dataverse, self.marketo, self.clock = Dataverse(), Marketo(), Clock(1000.0)
        table = {"fields": {"email": "emailaddress1"}}
        rules = {"lead": table, "contact": table, "person": person, "lifecycle": lifecycle or {}}
        self.config = SyncConfig.model_validate(rules)
        self.restart()

    def restart(self) -> None:
        """Go on in another process, which remembers nothing."""
        self.engine = engine_between(self.dataverse, self.marketo, self.config, clock=self.clock, now=lambda: NOON)

    def row(self, table: str, number: int, email: str | None = "ann@x.com", **columns: Any) -> Record:
        self.dataverse.rows_of[table][guid(number)] = {
            TABLES[table][1].key: guid(number), "emailaddress1": email, "createdon": "a", "modifiedon": "b", **columns
        }  # fmt: skip
        return Record(table, guid(number), NOON)

    def contact(self, number: int, email: str | None = "ann@x.com", *, lead: int = 0, **columns: Any) -> Record:
        if lead:
            columns |= to("_originatingleadid_value", "lead", guid(lead))
        return self.row("contact", number, email, **columns)

    def lead(self, number: int, email: str | None = "ann@x.com", *, state: int = 0, **columns: Any) -> Record:
        return self.row("lead", number, email, statecode=state, **columns)

    async def sync(self, *records: Record) -> list[Outcome]:
        outcomes = dict(await self.engine.sync(PERSON, records))
        return [outcomes[record] for record in records]

    async def sync_in_burst(self, *records: Record, more: bool = False) -> list[Record]:
        """Sync them while a burst lasts; gives those that come again. `more`: further messages are waiting."""
        windows = Windows(NOON + timedelta(seconds=40), now=lambda: NOON, more=more)
        outcomes = await self.engine.sync(PERSON, records, windows)
        return [record for record, outcome in outcomes if isinstance(outcome, Later)]
