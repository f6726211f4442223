"""What is around the app in a simulated run: a table of storage, Dataverse and Marketo with numbered rows.

There may be a million: a row is made from its number whenever it is read, and Marketo keeps a byte of each. So what
memory a run takes is the app's own.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from azure.data.tables import TableEntity

from emulators.marketo.errors import CallError
from emulators.marketo.limits import Limits as Subscription
from local.bench.small_world import Dataverse, Marketo
from local.virtual import MemoryTable
from local.world.model import Row, lookup
from shared.azure.table import PAGE, Step
from shared.azure.table import Row as Stored
from shared.marketo.client import NOBODY, USAGE
from shared.model.entities import ENTITIES, TABLES, Table

#: From this number on, rows are in Marketo before the run, which does not list them: those of live changes.
LIVE = 10**9
#: A request of Dataverse for ids, and for a page of them.
PAGE_SECONDS = 0.3
_MADE = datetime(2025, 1, 1, tzinfo=UTC)
#: Rows are without an owner: sales persons are no part of this.
_NOBODYS = lookup("ownerid", None, None) | lookup("owninguser", None, None)
_BY_SET = {table.entity_set: name for name, (_, table) in TABLES.items()}
_BY_PATH = {f"/rest/v1/{entity.path}.json": entity for entity in ENTITIES.values()}


def id_of(number: int) -> str:
    """The id of a row: spread over the order of ids, as they are in life."""
    return f"{number * 2654435761 % 2**32:08x}-0000-4000-a000-{number:012x}"


def number_of(id_: str) -> int:
    """The number in an id."""
    return int(id_[-12:], 16)


class KilledError(BaseException):
    """The process is gone: whatever it asks for does not happen."""


def nothing() -> None:
    """Nobody kills the process."""


class RunTable(MemoryTable):
    """A table in memory with all columns, as shared/sync/runs/store.py needs it. `step` is called before each request.

    `others`: the same table as another process sees it.
    """

    def __init__(self, others: "RunTable | None" = None, step: Callable[[], None] = nothing) -> None:
        super().__init__()
        self._step, self._others = step, others
        self._columns: dict[tuple[str, str], Stored] = others._columns if others else {}
        self._busy: set[tuple[str, str]] = others._busy if others else set()
        if others:
            self.rows, self.written = others.rows, others.written

    async def get(
        self, partition: str, key: str, *, answered: Callable[[datetime], None] | None = None
    ) -> TableEntity | None:
        """Return a row."""
        await super().get(partition, key, answered=answered)
        return self._entity((partition, key)) if (partition, key) in self.rows else None

    async def pages(
        self, query: str, parameters: Mapping[str, Any], *, select: Sequence[str] | None = None
    ) -> AsyncIterator[list[Any]]:
        """Yield the rows of a kind whose names are within these two, those that are busy where that is asked for."""
        del select
        keys = self._busy if "Busy" in query else self.rows
        first, last = (parameters["kind"], parameters["first"]), (parameters["kind"], parameters["last"])
        found = sorted(key for key in keys if first <= key < last)
        for start in range(0, len(found), PAGE) or [0]:
            await self._request()
            yield [self._entity(key) for key in found[start : start + PAGE] if key in self.rows]

    async def transact(self, steps: Sequence[Step]) -> list[str] | None:
        """Do all of it or nothing."""
        await self._request()
        if not all(self._can(*step) for step in steps):
            return None
        etags = []
        for operation, row in steps:
            key = row["PartitionKey"], row["RowKey"]
            etags.append("" if operation == "delete" else self._store(row, self._version(row) + 1))
            if operation == "delete":
                del self.rows[key], self._columns[key]
        return etags

    def _can(self, operation: str, row: Stored) -> bool:
        version = self._version(row)
        if operation == "create":
            return not version
        return operation == "upsert" or (version > 0 and row.get("etag") in (None, "", str(version)))

    async def _request(self) -> None:
        self._step()
        if self._others:
            self._others.requests += 1
        await super()._request()

    def _store(self, row: Stored, version: int) -> str:
        key = row["PartitionKey"], row["RowKey"]
        self._columns[key] = {name: value for name, value in row.items() if name != "etag"}
        (self._busy.add if row.get("Busy") else self._busy.discard)(key)
        return super()._store({"Value": "", **row}, version)

    def _entity(self, key: tuple[str, str]) -> TableEntity:
        found = TableEntity(self._columns[key])
        found._metadata = {"etag": str(self.rows[key][1]), "timestamp": self.written[key]}
        return found


@dataclass
class Rows(Dataverse):
    """As many rows as `sizes` says, by table. A contact is of an account, an opportunity of one and a contact.

    Those of one account were made one after another.
    """

    sizes: Mapping[str, int]
    step: Callable[[], None] = nothing
    reads: int = 0

    async def rows(self, table: Table, ids: Sequence[str], *_: Any, **__: Any) -> dict[str, Row]:
        """The rows of these ids."""
        if table.name not in self.sizes:
            return await super().rows(table, ids)
        await asyncio.sleep(0.1)
        self.reads += 1
        return {id_: self._row(table.name, table.key, id_) for id_ in ids}

    async def page(self, url: str, size: int) -> tuple[list[Row], str]:
        """The next ids of a table, and the link to those after them."""
        self.step()
        await asyncio.sleep(PAGE_SECONDS)
        self.reads += 1
        parts = urlsplit(url)
        table = _BY_SET[parts.path.rpartition("/")[2]]
        start = int(parse_qs(parts.query).get("after", ["0"])[0])
        end = min(start + size, self.sizes[table])
        key = TABLES[table][1].key
        rows = [
            {key: id_of(n), "createdon": f"{_MADE + timedelta(seconds=n):%Y-%m-%dT%H:%M:%SZ}"}
            for n in range(start, end)
        ]
        return rows, f"{url.partition('&after')[0]}&after={end}" if end < self.sizes[table] else ""

    def _row(self, table: str, key: str, id_: str) -> Row:
        number = number_of(id_) % LIVE
        mail = {"emailaddress1": f"p{id_}@customer.example"} if table == "contact" else {}
        return {**self._like(table), key: id_, **mail, **_NOBODYS, **self._links(table, number)}

    def _links(self, table: str, number: int) -> Row:
        share = number % self.sizes[table] / self.sizes[table]
        account = id_of(int(share * self.sizes["account"]))
        if table == "contact":
            return lookup("parentcustomerid", "account", account)
        if table == "opportunity":
            contact = id_of(int(share * self.sizes["contact"]))
            return lookup("customerid", "account", account) | lookup("parentcontactid", "contact", contact)
        return {}

    def _like(self, table: str) -> Row:
        """A row of the demo's organisation."""
        return next(iter(self.world.rows[table].values()))


@dataclass
class Instance(Marketo):
    """Marketo with its limits. It knows of each record of the run how often it was written, and that it is there.

    `has_all`: every record was there before. `writes`: by entity, a byte for each number. `last`: the entity of the
    last record of the run.
    """

    subscription: Subscription = field(kw_only=True)
    sizes: Mapping[str, int] = field(kw_only=True)
    has_all: bool = False
    writes: dict[str, bytearray] = field(default_factory=dict)
    by_kind: Counter[tuple[str, str]] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    stored: int = 0
    last: str = ""

    def __post_init__(self) -> None:
        """Nothing was written yet."""
        self.writes = {TABLES[table][0].name: bytearray(size) for table, size in self.sizes.items()}

    async def request(
        self, _method: str, path: str, *, data: Any = None, content: bytes | None = None, **_: Any
    ) -> httpx.Response:
        """One call."""
        try:
            slot = self.subscription.admit()
        except CallError as error:
            self.refusals[error.code] += 1
            refusal = {"success": False, "errors": [{"code": error.code, "message": str(error)}]}
            return httpx.Response(200, json=refusal)
        answer = await super().request(_method, path, data=data, content=content)
        self.subscription.release(slot, counted=True)
        if path == USAGE:
            total = self.subscription.used_today()
            return httpx.Response(200, json={"success": True, "result": [{"total": total}]})
        return answer

    def _answer(self, path: str, data: Mapping[str, str] | None, content: bytes | None) -> tuple[str, list[Any]]:
        entity = _BY_PATH.get(path.partition("?")[0])
        if entity is None or (content is None and data is None):
            return super()._answer(path, data, content)
        if content is None:
            assert data is not None  # noqa: S101
            of = data["filterType"]
            self.by_kind[entity.name, f"find by {of}"] += 1
            values = data["filterValues"].split(",")
            return "find", [{"id": 1, of: v} for v in values if of != "email" and self._has(entity.name, v)]
        sent = json.loads(content)
        self.by_kind[entity.name, "upsert"] += 1
        creates = sent["action"] == "createOrUpdate"
        key = entity.key or "externalOpportunityId"
        return "upsert", [self._write(entity.name, each[key], creates=creates) for each in sent["input"]]

    def _has(self, entity: str, id_: str) -> bool:
        written = self.writes.get(entity)
        if self.has_all or written is None or id_ == NOBODY:
            return id_ != NOBODY
        number = number_of(id_)
        return number >= LIVE or written[number] > 0

    def _write(self, entity: str, id_: str, *, creates: bool) -> Row:
        """What Marketo says of one record."""
        there = self._has(entity, id_)
        if not there and not creates:
            code = "1004" if entity == "person" else "1013"
            return {"status": "skipped", "reasons": [{"code": code, "message": "not found"}]}
        number = number_of(id_)
        if number < LIVE and not self.has_all and entity in self.writes:
            self.stored += not there
            self.last = entity
            self.writes[entity][number] = min(self.writes[entity][number] + 1, 255)
        return {"status": "updated" if there else "created", "id": number + 1}
