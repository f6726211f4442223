"""Marketo, Dataverse and the state as the write-back sees them, in memory."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from local.virtual import MemoryState, MemoryTable
from shared.azure.service_bus import Outgoing
from shared.config.conditions import SyncFilter
from shared.dataverse.batch import Answer, Part
from shared.dataverse.client import error_of
from shared.model.codes import Kind
from shared.model.errors import DataverseError, MarketoError
from shared.transport import call_count
from shared.write_back.plan import Plan
from shared.write_back.results import Run
from shared.write_back.run import PAGE, WriteBack
from shared.write_back.values import Target
from tests.support.history import Kept
from tests.support.queues import QUEUES
from tests.support.values import guid

NOON = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
TARGETS = (Target("priority", "msi_priority", "Integer"), Target("msiType", "msi_type", "String", 10))
PLAN = Plan("rules", NOON, {"contact": TARGETS, "lead": TARGETS}, {}, (46, 22), ("priority",))
SETS = {"contacts": "contact", "leads": "lead"}
LOCKED = ("0x80040265", "a plug-in says no")


class KilledError(BaseException):
    """The host ends the process."""


class World:
    """Marketo, Dataverse and the state at once. Persons have Marketo's id and, in the other's table, the same GUID."""

    def __init__(self) -> None:
        self.now, self.seconds = NOON, 0.0
        self.people: dict[int, dict[str, Any]] = {}
        self.rows_of: dict[str, dict[str, dict[str, Any]]] = {"contact": {}, "lead": {}}
        self.log: list[int | dict[str, Any]] = []  # Marketo's ids, or whole activities
        self.deletions: list[int] = []
        self.bad_tokens: set[str] = set()
        self.fields = {"id", "externalPersonId", "priority", "msiType"}
        self.paths: list[str] = []
        self.reads: list[int] = []
        self.bulk: list[int] = []
        self.patches = 0
        self.refused: dict[str, tuple[str, str]] = {}
        self.has_bulk = True
        self.page_size = 300
        self.stale_links: DataverseError | None = None
        self.pages = 0
        self.stale_pages: set[int] = set()
        self.new_leads = 0
        self.seconds_of_a_page = 0.0
        self.excluded: SyncFilter = SyncFilter()
        self.sent: list[Outgoing] = []
        self.stop_after_writes = 0
        self.forgotten = 0
        self.before_read: Callable[[], None] = lambda: None
        self.table = MemoryTable(seconds=0)
        self.tables = ["contact", "lead"]
        self.kept = Kept()
        self.plan = PLAN
        self.config = SimpleNamespace(lifecycle=SimpleNamespace(deleted_in_marketo="leave"))
        self.work = self.write_back()

    def write_back(self, **more: Any) -> WriteBack:
        """Another process's, on the same state."""
        itself: Any = self
        self.config.lifecycle.deleted_in_marketo = "create" if more.pop("creates", False) else "leave"
        sync = SimpleNamespace(max_attempts=3, sweep_hour=3, sweep_share=1.0)
        limits = SimpleNamespace(allowed=more.pop("share", 10_000))
        settings: Any = SimpleNamespace(queues=QUEUES, sync=sync, marketo=limits)
        return WriteBack(
            settings=settings,
            state=MemoryState(self.table),
            plans=itself,
            dataverse=itself,
            marketo=itself,
            send=self.send,
            turn=nullcontext,
            clock=self.clock,
            now=self.time,
            time_budget=180.0,
            history=self.kept.history,
            **{"instance_id": "a", **more},
        )

    def time(self) -> datetime:
        return self.now

    def clock(self) -> float:
        return self.seconds

    async def send(self, messages: Sequence[Outgoing]) -> None:
        self.sent += messages

    # the plan
    async def current(self) -> Plan:
        return self.plan

    async def forget(self) -> None:
        self.forgotten += 1

    async def without_changes(self, plan: Plan) -> Plan:
        self.plan = Plan(plan.rules, plan.made, plan.tables, plan.flags, plan.activities, ())
        return self.plan

    def filter_of(self, _plan: Plan, _table: str) -> SyncFilter:
        return self.excluded

    # Marketo
    def key_of(self, _entity: object) -> str:
        return "externalPersonId"

    async def get(self, path: str, **_: Any) -> dict[str, Any]:
        call_count.count("marketo")
        self.paths.append(path)
        url = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path.endswith("pagingtoken.json"):
            return {"nextPageToken": "0"}
        token = query["nextPageToken"]
        if token in self.bad_tokens:
            self.bad_tokens.discard(token)
            raise MarketoError("1003", "Invalid nextPageToken", kind=Kind.CONFIGURATION)
        self.seconds += self.seconds_of_a_page
        if url.path.endswith("leadchanges.json"):
            page = min(int(token) + 1, self.new_leads)
            result = [{"leadId": 9_000_000 + page, "fields": []}] if page else []
            return {"nextPageToken": str(page), "moreResult": page < self.new_leads, "result": result}
        deleted = [{"leadId": id_, "activityTypeId": 37} for id_ in self.deletions]
        log = deleted if url.path.endswith("deletedleads.json") else self.log
        start = int(token)
        found = log[start : start + 300]
        end = start + len(found)
        return {
            "result": [entry if isinstance(entry, dict) else {"leadId": entry} for entry in found if entry],
            "nextPageToken": str(end),
            "moreResult": end < len(log),
        }

    async def read(
        self, _entity: object, filter_type: str, values: Sequence[str], fields: Sequence[str], **_: Any
    ) -> list[dict[str, Any]]:
        self.before_read()
        assert len(values) <= 300
        call_count.count("marketo")
        self.reads.append(len(values))
        assert set(fields) == self.fields
        wanted = set(values)
        return [person for person in self.people.values() if str(person[filter_type]) in wanted]

    # Dataverse
    async def batch(self, parts: Sequence[Part], **_: Any) -> list[Answer]:
        call_count.count("dataverse")
        return [self._answer(part) for part in parts]

    def _answer(self, part: Part) -> Answer:
        table = self.rows_of[SETS[part.url.split("/")[4].partition("?")[0].partition("(")[0]]]
        if part.method == "GET":
            ids = json.loads(unquote(part.url.rpartition("&@p2=")[2]))
            return Answer(200, {}, json.dumps({"value": [table[id_] for id_ in ids if id_ in table]}).encode())
        assert part.url.endswith("?tag=msisync")
        self.patches += 1
        id_ = part.url.partition("(")[2].partition(")")[0]
        if id_ not in table:
            return refusal(404, "0x80040217", "does not exist")
        if id_ in self.refused:
            return refusal(400, *self.refused[id_])
        table[id_].update(part.body or {})
        return Answer(204)

    async def update_many(
        self, table: str, _set: str, targets: Sequence[Mapping[str, Any]], *, tag: str, **_: Any
    ) -> None:
        call_count.count("dataverse")
        assert tag == "msisync"
        if not self.has_bulk:
            raise error_of(404, {}, b"")
        if self.stop_after_writes and len(self.bulk) >= self.stop_after_writes:
            raise KilledError
        self.bulk.append(len(targets))
        ids = [str(target[f"{table}id"]) for target in targets]
        for id_ in ids:
            if id_ not in self.rows_of[table]:
                raise error_of(404, {}, refusal(404, "0x80040217", "does not exist").content)
            if id_ in self.refused:
                raise error_of(400, {}, refusal(400, *self.refused[id_]).content)
        for row, target in zip(ids, targets, strict=True):
            self.rows_of[table][row].update(target)

    async def page(self, url: str, size: int, **_more: Any) -> tuple[list[dict[str, Any]], str]:
        call_count.count("dataverse")
        assert size == PAGE
        self.pages += 1
        if self.pages in self.stale_pages:
            raise DataverseError("HTTP 503", "away", kind=Kind.TRANSIENT)
        if "#" in url and self.stale_links:
            raise self.stale_links
        path, _, start = url.partition("#")
        rows = list(self.rows_of[SETS[path.split("/")[4].partition("?")[0]]].values())
        end = int(start or 0) + self.page_size
        return rows[int(start or 0) : end], f"{path}#{end}" if end < len(rows) else ""

    # what a test does
    def add(self, number: int, table: str = "contact", **values: Any) -> None:
        """A person that both systems know; only Marketo has the values."""
        self.people[number] = {"id": number, "externalPersonId": guid(number), "priority": None, "msiType": None}
        self.people[number] |= values
        self.rows_of[table][guid(number)] = {f"{table}id": guid(number), "msi_priority": None, "msi_type": None}

    def add_many(self, count: int, *, logged: bool = False) -> None:
        """Contacts 1, 2, … with the priority 1; `logged`: Marketo says that they have changed."""
        for number in range(1, count + 1):
            self.add(number, priority=1)
            self.log += [number] * logged

    def priorities(self, table: str = "contact") -> list[Any]:
        return [row["msi_priority"] for row in self.rows_of[table].values()]

    async def changes(self, work: WriteBack | None = None) -> Run:
        work = work or self.work
        async with work.alone():
            return await work.changes()

    async def sweep(self) -> Run:
        """All rows at once."""
        async with self.work.alone():
            run = await self.work.sweep(whole=True)
        assert run
        return run

    async def state(self, name: str) -> dict[str, Any]:
        return await MemoryState(self.table).read("write_back", name)


def refusal(status: int, code: str, message: str) -> Answer:
    return Answer(status, {}, json.dumps({"error": {"code": code, "message": message}}).encode())
