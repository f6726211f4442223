"""What is around the carrier of runs, in memory: Dynamics' rows, the queues, and a sync that tells the pages."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from local.wiring import QUEUES
from shared.azure.service_bus import Outgoing
from shared.config.sync_toml import SyncConfig
from shared.model.codes import Kind
from shared.model.entities import TABLES
from shared.model.errors import DataverseError, MarketoError
from shared.model.outcome import Outcome, Synced
from shared.model.record import Record, coalesce, decode
from shared.sync.comparison import Compared, Difference
from shared.sync.comparison import Kind as Drift
from shared.sync.reconciliation import KEYS
from shared.sync.runs.carrier import Carrier
from shared.sync.runs.comparing import Comparing
from shared.sync.runs.events import Event
from shared.sync.runs.model import Run, RunKind, Scope, new_run
from shared.sync.runs.reporting import Reporter
from shared.sync.runs.store import Runs
from shared.sync.runs.synced_fields import SyncedFields
from shared.transport import call_count
from tests.support.clocks import WallClock
from tests.support.state import SharedState
from tests.support.tables import FullTable
from tests.support.values import guid


class KilledError(BaseException):
    """The host ends the process."""


class Work:
    """Compares rows in place of shared/sync/reconciliation.py: `World.drifted` says what it finds."""

    def __init__(self, world: "World") -> None:
        self.world = world

    async def columns(self, _: str, *, anew: bool = False) -> frozenset[str]:
        """Return the columns of sync.toml that are there."""
        self.world.looks += anew
        return self.world.columns - (self.world.no_columns if anew else set())

    async def compare(self, table: str, rows: Sequence[Mapping[str, Any]], columns: frozenset[str]) -> Compared:
        """Find what has drifted."""
        world, key = self.world, TABLES[table][1].key
        world._step("compare")
        assert columns <= world.columns
        ids = [str(row[key]).lower() for row in rows]
        for _ in range(0, len(ids), KEYS):
            call_count.count("marketo")
        if world.marketo_is_away:
            raise MarketoError("HTTP 503", "busy", kind=Kind.TRANSIENT)
        world.compared.update(ids)
        found = Compared(ids, {id_: "Filtered" for id_ in ids if id_ in world.filtered})
        for id_ in ids:
            if (kind := world.drifted.get(id_)) and not world.marketo[id_]:
                found.add([Difference(TABLES[table][0].name, table, id_, kind, ("city",))])
        if world.persons:
            found.persons = world.persons
        return found


class World:
    """`rows` of Dynamics by table, each (createdon, id); `marketo`: how often each record was stored.

    `rules`: sync.toml. `drifted`: rows that a comparison finds different until they are synced; `compared`: how often
    each row was. `gone`: persons of Marketo without a row, `persons`: the ids of those that have one. `outcome`: what
    becomes of a record. `steps` counts what the carrier asks of its neighbours; at the step `kill_at`, its process
    dies, before that is done, or, of a message, after.
    """

    def __init__(self) -> None:
        self.wall = WallClock()
        self.table = FullTable(self._step)
        self.runs = Runs(self.table, now=self.wall)
        self.rows: dict[str, list[tuple[str, str]]] = {}
        self.queue: list[Record] = []
        self.sent: Counter[str] = Counter()
        self.most_open = 0
        self.marketo: Counter[str] = Counter()
        self.outcome: Callable[[Record], Outcome] = lambda _: Synced("created")
        self.events: list[tuple[Event, str]] = []
        self.queue_paused = False
        self.links_refused = False
        self.refuses: DataverseError | None = None
        self.queries: list[str] = []
        self.before_sync: Callable[[], None] = lambda: None
        self.used_by_runs = 0.0
        self.calls_per_second = 1e6
        self.closed: Any = None
        self.steps = 0
        self.kill_at: int | None = None
        self.carrying = False
        self.tables = frozenset(TABLES)
        self.state = SharedState()
        self.rules = SyncConfig()
        self.drifted: dict[str, Drift] = {}
        self.filtered: set[str] = set()
        self.compared: Counter[str] = Counter()
        self.columns, self.no_columns, self.looks = frozenset({"createdon", "city"}), set[str](), 0
        self.marketo_is_away = False
        self.persons: tuple[int, int] | None = None
        self.gone: dict[int, str] = {}
        self.charged = 0.0

    def fill(self, table: str, number: int, *, same_second: bool = False) -> list[str]:
        """Put rows into Dynamics, one a second; gives their ids."""
        start = sum(len(rows) for rows in self.rows.values())
        made = datetime(2026, 1, 1, tzinfo=UTC)
        new = [
            (f"{made + timedelta(seconds=0 if same_second else n):%Y-%m-%dT%H:%M:%SZ}", guid(start + n + 1))
            for n in range(number)
        ]
        self.rows[table] = sorted([*self.rows.get(table, []), *new])
        return [id_ for _, id_ in new]

    async def start(self, *tables: str, **scope: Any) -> Run:
        """Start a run of these tables."""
        return await self.begin(RunKind.INITIAL_SYNC, Scope(tables, **scope))

    async def begin(self, kind: RunKind, scope: Scope) -> Run:
        """Start a run."""
        run = new_run(kind, scope, self.wall.now, unique="abcd")
        await self.runs.create(run)
        return run

    async def run(self, of: Run) -> Run:
        """The run as it is stored."""
        found = await self.runs.read(of.id)
        assert found
        return found

    def carrier(self) -> Carrier:
        """Return the carrier of a new process."""
        itself: Any = self
        state: Any = self.state
        return Carrier(
            runs=self.runs,
            dataverse=itself,
            send=self.send,
            queues=QUEUES,
            usage=self.usage,
            calls=1000.0,
            calls_per_second=self.calls_per_second,
            tables=self.tables,
            compare=Comparing(itself, cast(Any, Work(self)), itself, self.charge).step,
            synced_fields=SyncedFields(state, self.rules),
            parent_wait=timedelta(days=1),
            sole=itself,
            tell=self.tell,
            now=self.wall,
            clock=self.seconds,
            sleep=self.sleep,
        )

    async def ticks(self, most: int = 60) -> None:
        """Let the timer tick once a minute, until nothing is going on, or so often; a killed process begins anew."""
        for _ in range(most):
            began = self.wall.now
            self.carrying = True
            try:
                await self.carrier().tick()
            except KilledError:
                self.kill_at = None
            self.carrying = False
            self.wall.now = max(self.wall.now, began + timedelta(minutes=1))
            await self.sync()
            runs = await self.runs.all()
            if all(run.is_over and run.told is run.state for run in runs):
                return

    async def sync(self) -> None:
        """Sync what is in the queue, as one batch, and tell the pages."""
        self.before_sync()
        if self.queue_paused:
            return
        records, self.queue = coalesce(self.queue), []
        outcomes = [(record, self.outcome(record)) for record in records]
        for record, outcome in outcomes:
            self.marketo[record.id] += isinstance(outcome, Synced)
        await Reporter(self.runs).tell(outcomes, 1)

    # -- the carrier's neighbours -------------------------------------------------------------------------------

    @asynccontextmanager
    async def held(self) -> AsyncIterator[bool]:
        """Nobody else runs."""
        yield True

    async def sleep(self, seconds: float) -> None:
        """Let time pass, in which the queue is worked off."""
        self.wall.tick(seconds)
        self.carrying = False  # others work
        await self.sync()
        self.carrying = True

    def charge(self, calls: float) -> None:
        """Take note of Marketo's calls for runs."""
        self.charged += calls

    async def between(self, first: int, last: int) -> AsyncIterator[Difference]:
        """Yield the persons of Marketo with these ids whose row is gone."""
        self._step("ids")
        for number in range(first, last + 1):
            if number in self.gone:
                yield Difference("person", "", self.gone[number], Drift.EXTRA, marketo_ids=(number,))

    async def usage(self) -> Any:
        """Return what is used of the day."""
        return SimpleNamespace(used_by_runs=self.used_by_runs, closed=self.closed)

    def seconds(self) -> float:
        """Return the time as seconds."""
        return self.wall.now.timestamp()

    async def tell(self, event: Event, _: Run, totals: Mapping[str, Counter[str]]) -> None:
        """Remember an event."""
        self.events.append((event, ",".join(totals) if event is Event.TABLE_COMPLETE else ""))

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Take messages into the queue."""
        self._step("send")
        for message in messages:
            records = decode(message.body, message.queue)
            self.queue += records
            self.sent.update(record.id for record in records)
        self.most_open = max(self.most_open, len(self.queue))
        self._after()

    async def page(self, url: str, size: int) -> tuple[list[dict[str, Any]], str]:
        """Return a page of rows, as Dataverse does: `url` is a query, or a link with the last row of a page."""
        self._step("page")
        self.queries.append(unquote(url))
        if self.refuses:
            raise self.refuses
        parts = parse_qs(urlsplit(url).query)
        if self.no_columns & set(parts["$select"][0].split(",")):
            raise DataverseError("0x80060888", "no such column", kind=Kind.CONFIGURATION)
        table = next(name for name, (_, t) in TABLES.items() if t.entity_set == urlsplit(url).path.rpartition("/")[2])
        after = ("", "")
        if cookie := parts.get("cookie"):
            if self.links_refused:
                raise DataverseError("0x80040203", "the paging cookie is too old", kind=Kind.PERMANENT)
            after = tuple(json.loads(cookie[0]))
        since = parts.get("$filter", [""])[0].rpartition("createdon ge ")[2]
        found = [row for row in self.rows.get(table, []) if row > after and row[0] >= since]
        rows = [{"createdon": at, TABLES[table][1].key: id_.upper()} for at, id_ in found[:size]]
        link = f"{url.partition('&cookie')[0]}&cookie={json.dumps(found[size - 1])}" if len(found) > size else ""
        return rows, link

    def _step(self, _: str) -> None:
        if self.kill_at is None or not self.carrying:
            return
        self.steps += 1
        if self.steps == self.kill_at:
            raise KilledError

    def _after(self) -> None:
        """What was asked for is done, but the process never hears of it."""
        self._step("after")
