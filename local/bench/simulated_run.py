"""An initial sync of a large organisation, in virtual time: its calls, its hours, its memory, and what others notice.

The app's own carrier, pipelines, budgets and clients run against local/bench/many_rows.py: each function with caches
and a budget of its own, as on Flex Consumption. Each simulation has a process of its own, so that its memory is.
"""

import asyncio
import gc
import json
import logging
import random
import resource
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from multiprocessing import get_context
from typing import Any
from uuid import uuid4

from pydantic import SecretStr

from emulators.marketo.limits import Limits as Subscription
from local.bench.day import ORGANIZATION, START, WRITTEN
from local.bench.many_rows import LIVE, Instance, KilledError, Rows, RunTable, id_of, nothing
from local.bench.small_world import Nobody, Queues
from local.stack import ROOT
from local.virtual import MemoryState, Time
from local.wiring import QUEUES, engine_between, pipeline_around
from local.world.build import build
from shared.config import sync_toml
from shared.config.settings import MarketoSettings, SyncSettings
from shared.config.sync_toml import SyncConfig
from shared.marketo.auth import MarketoAuth
from shared.marketo.client import MarketoClient
from shared.marketo.limiter import Pacer
from shared.marketo.quota import Budget, limits_of
from shared.model.entities import ENTITIES, TABLES, Entity
from shared.model.outcome import Outcome, Synced
from shared.model.record import MAX_RECORDS, Record, encode
from shared.sync.arrivals import Arrivals
from shared.sync.circuit_breaker import Circuits
from shared.sync.handlers import Pipeline
from shared.sync.marketo_cache import Known
from shared.sync.routing import chunked
from shared.sync.runs.carrier import Carrier
from shared.sync.runs.events import Event
from shared.sync.runs.model import Run, RunKind, RunState, Scope, new_run
from shared.sync.runs.page import IN_MARKETO
from shared.sync.runs.reporting import Reporter
from shared.sync.runs.store import RUNS, Runs
from shared.sync.runs.synced_fields import SyncedFields
from shared.sync.scheduling import Bursts, Trickle, Windows
from shared.sync.settlement import Settler
from shared.sync.sole_run import SoleRun
from shared.sync.storms import MAX_ROWS

#: Of a million persons: accounts and opportunities.
PARTS = {"contact": 1.0, "account": 0.1, "opportunity": 0.2}
#: A process that is to be killed dies at one of so many of its requests: ticks have more.
STEPS_BEFORE_DEATH = 60
#: Between a live change that has arrived and the next one; none waits to save calls.
PAUSE_SECONDS = (3.0, 6.0)
IDLE_CHANGES = 200
SMALL_PART = 10
#: Records of an entity that a function remembers, in place of 100,000: soon full, and enough for the accounts of
#: 100,000 persons, as 100,000 are for those of a million.
REMEMBERED = 10_000
#: The roles of the last opportunities, which follow them, are not of the run.
AFTERWARDS_SECONDS = 300.0
LONGEST_DAYS = 14
#: The timer that looks at parked records.
RELEASE_SECONDS = 60.0
SETTINGS = {"MARKETO_URL": "https://marketo", "MARKETO_CLIENT_ID": "id", "MARKETO_CLIENT_SECRET": "secret"}
_CHANGES = "changes"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """One simulation. Times in seconds; `memory`: the process' peak in KB after a tenth of the records, and in the end.

    `calls` by entity and what they did. `lost`: records that are not in Marketo, or that the run says are not.
    `doubled`: records that Marketo has created twice. `sent_twice`: those that were written more than once.
    """

    persons: int
    rows: int
    calls: dict[str, int]
    all_calls: int
    by_day: dict[str, int]
    refused: int
    seconds: float
    waited: float
    memory: tuple[int, int]
    latencies: dict[str, list[float]]
    killed: int
    lost: int
    doubled: int
    sent_twice: int
    requests: int


def simulate(
    persons: int, *, kills: int = 0, live: bool = False, idle: bool = False, remembered: int = REMEMBERED, **given: str
) -> Loaded:
    """Load so many persons, and the accounts and opportunities that belong to them, with these settings.

    `kills`: how often the carrier's process dies. `live`: with live changes. `idle`: these alone, Marketo has all.
    `remembered`: records of an entity that a function remembers.
    """
    facts = {"persons": persons, "kills": kills, "live": live or idle, "idle": idle, "remembered": remembered}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_simulated, {**facts, "given": given}).result()


def _simulated(facts: Mapping[str, Any]) -> Loaded:
    logging.getLogger("shared").setLevel(logging.CRITICAL)
    time = Time(START)
    return time.run(_Simulation(time, **facts).run())


@dataclass
class _Parking(Nobody):
    """What waits for its parents is released by the next timer."""

    time: Time
    queues: Queues
    parked: int = 0

    async def park(self, entity: Entity, deferred: Sequence[tuple[Record, object]], _windows: Windows) -> None:
        """Send the records again in a minute."""
        self.parked += len(deferred)
        for part in chunked([replace(record, released=True) for record, _ in deferred], MAX_RECORDS):
            self.queues.put(entity.name, encode(entity.name, part), RELEASE_SECONDS)


@dataclass
class _Simulation:
    time: Time
    persons: int
    kills: int
    live: bool
    idle: bool
    remembered: int
    given: Mapping[str, str]
    killed: int = 0
    waited: float = 0.0
    memory: list[int] = field(default_factory=list)
    pending: dict[str, tuple[str, float]] = field(default_factory=dict)
    latencies: dict[str, list[float]] = field(default_factory=dict)

    async def run(self) -> Loaded:
        self.settings = MarketoSettings.model_validate({**SETTINGS, **self.given})
        self.rules, self.world = sync_toml.load(ROOT / "sync.toml"), build(1)
        self.sizes = {table: int(self.persons * part) for table, part in PARTS.items()}
        self.table, self.queues = RunTable(), Queues(self.time)
        self.runs = Runs(self.table, now=self.time.now)
        limits = limits_of(self.settings)
        subscription = Subscription(
            lambda: self.time.now().timestamp(), calls_per_window=100, concurrency=10, daily=limits.daily
        )
        self.marketo = Instance(
            self.time, _fields(self.rules), (-1.0, -1.0),
            subscription=subscription, sizes=self.sizes, has_all=self.idle,
        )  # fmt: skip
        work = [asyncio.create_task(self._function(name)) for name in (_CHANGES, *ENTITIES)]
        work += [asyncio.create_task(self._look()), *([asyncio.create_task(self._change())] if self.live else [])]
        ended = asyncio.create_task(self._until_idle_is_measured() if self.idle else self._carry())
        await asyncio.wait({ended, *work}, return_when=asyncio.FIRST_COMPLETED)
        seconds = self.time.passed
        self.memory.append(_peak())
        self.live = False
        await asyncio.wait(work, timeout=AFTERWARDS_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in (ended, *work):
            if task.done():
                task.result()  # a function that ended has failed
            task.cancel()
        await asyncio.wait(work)
        return await self._found(seconds)

    async def _found(self, seconds: float) -> Loaded:
        written = [count for counts in self.marketo.writes.values() for count in counts]
        there = sum(count > 0 for count in written)
        told = 0
        for run in await self.runs.all():
            totals = await self.runs.totals(run.id)
            told += sum(counts[state] for counts in totals.values() for state in IN_MARKETO)
        subscription = self.marketo.subscription
        return Loaded(
            persons=self.persons,
            rows=len(written),
            calls={" ".join(of): number for of, number in sorted(self.marketo.by_kind.items())},
            all_calls=self.marketo.calls.total(),
            by_day={day.isoformat(): calls for day, calls in subscription.used_by_day().items()},
            refused=self.marketo.refusals.total(),
            seconds=seconds,
            waited=self.waited,
            memory=(self.memory[0], self.memory[-1]),
            latencies=self.latencies,
            killed=self.killed,
            lost=0 if self.idle else len(written) - min(there, told),
            doubled=max(0, self.marketo.stored - there) + max(0, told - len(written)),
            sent_twice=sum(count > 1 for count in written),
            requests=self.table.requests,
        )

    # -- the app ------------------------------------------------------------------------------------------------

    def _marketo(self) -> tuple[MarketoClient, Budget, Circuits]:
        """The client of a process."""
        now, clock, sleep = self.time.now, self.time.clock, asyncio.sleep
        http: Any = self.marketo
        instance = uuid4().hex[:12]
        budget = Budget(MemoryState(self.table), limits_of(self.settings), instance_id=instance, now=now)
        circuits = Circuits(None, seconds=60.0, now=now)
        auth = MarketoAuth(http, "id", SecretStr("secret"), clock=clock, sleep=sleep)
        given = self.settings
        pacer = Pacer(given.calls_per_20_seconds, given.concurrency, clock=clock, sleep=sleep, budget=budget)
        client = MarketoClient(http, auth, pacer, clock=clock, sleep=sleep, guard=circuits, budget=budget)
        return client, budget, circuits

    def _pipeline(self) -> Pipeline:
        """The handlers of a process, as shared/app/composition.py puts them together."""
        now, clock = self.time.now, self.time.clock
        given, sync = self.settings, SyncSettings.model_validate({})
        nobody: Any = _Parking(self.time, self.queues)
        bus: Any = self.queues
        marketo, budget, circuits = self._marketo()
        trickle = Trickle(
            budget.refresh,
            daily_calls=given.daily_calls, share=given.trickle_share, longest=given.trickle_window, now=now,
        )  # fmt: skip
        known = Known(clock=clock, max_entries=self.remembered)
        arrivals = Arrivals(MemoryState(self.table), known, now=now)
        reporter = Reporter(self.runs, budget.charge_run)

        async def tell(outcomes: Iterable[tuple[Record, Outcome]], calls: int) -> None:
            outcomes = list(outcomes)
            self._arrived(outcomes)
            await reporter.tell(outcomes, calls)

        return pipeline_around(
            nobody,
            bursts=Bursts(burst_batch=sync.burst_batch, seconds=sync.burst_window, now=now, trickle=trickle),
            circuits=circuits,
            bus=bus,
            engine=engine_between(
                self._rows(), marketo, self.rules, clock=clock, now=now,
                known=known, circuits=circuits, arrivals=arrivals, sent_rows=min(MAX_ROWS, self.remembered),
                time_budget=sync.time_budget, parent_wait=sync.parent_wait,
            ),
            settler=Settler(bus, nobody, QUEUES, now=now, max_attempts=sync.max_attempts),
            marketo=marketo,
            known=known,
            tables={table: self.rules.filter_columns(table) for table in self.rules.tables},
            organization_id=_organization,
            is_echo=_is_echo,
            now=now,
            tell_runs=tell,
        )  # fmt: skip

    def _rows(self, step: Any = nothing) -> Any:
        return Rows(self.world, self.time, self.sizes, step)

    async def _function(self, queue: str) -> None:
        """The trigger of a queue, in a process of its own."""
        pipeline = self._pipeline()
        while True:
            messages = await self.queues.take(queue)
            await (pipeline.route(messages) if queue == _CHANGES else pipeline.sync(queue, messages))

    # -- the run ------------------------------------------------------------------------------------------------

    async def _carry(self) -> None:
        """The timer, once a minute, until the run is over. At first, each process dies."""
        chance = random.Random(1)  # noqa: S311  (the same each time)
        run = new_run(RunKind.INITIAL_SYNC, Scope(tuple(self.sizes)), self.time.now(), unique="abcd")
        await self.runs.create(run)
        carrier, minute = self._carrier(nothing), 0
        while self.time.passed < timedelta(days=LONGEST_DAYS).total_seconds():
            dies = self.killed < self.kills
            steps = chance.randrange(1, STEPS_BEFORE_DEATH) if dies else 0
            try:
                await (self._carrier(_death(steps)) if dies else carrier).tick()
            except KilledError:
                self.killed += 1
            found = await self.runs.read(run.id)
            if found and found.state is not RunState.RUNNING:
                return
            minute = int(self.time.passed // 60) + 1
            self.waited += 60.0 if found and found.waits_until else 0.0
            await asyncio.sleep(60.0 * minute - self.time.passed)

    def _carrier(self, step: Any) -> Carrier:
        """The carrier of a new process."""
        table = RunTable(self.table, step)
        given, clock = self.settings, self.time.clock
        _, budget, _ = self._marketo()

        async def send(messages: Any) -> None:
            step()
            await self.queues.send(messages)

        return Carrier(
            runs=Runs(table, now=self.time.now),
            dataverse=self._rows(step),
            send=send,
            queues=QUEUES,
            usage=budget.refresh,
            calls=given.daily_calls * min(given.run_share, given.daily_share),
            calls_per_second=given.calls_per_20_seconds / 20,
            tables=frozenset(self.rules.tables),
            synced_fields=SyncedFields(MemoryState(table), self.rules),
            parent_wait=timedelta(days=1),
            sole=SoleRun(
                MemoryState(table),
                instance_id=uuid4().hex,
                clock=clock,
                kind=RUNS,
            ),
            tell=_nobody_hears,
            now=self.time.now,
            clock=clock,
        )

    async def _look(self) -> None:
        """Note the memory when a tenth is done."""
        tenth = sum(self.sizes.values()) // SMALL_PART
        while self.marketo.stored < tenth and not self.idle:  # noqa: ASYNC110  (time is virtual)
            await asyncio.sleep(1.0)
        gc.collect()
        self.memory.append(_peak())
        await asyncio.Event().wait()

    # -- live changes -------------------------------------------------------------------------------------------

    async def _change(self) -> None:
        """One after another, of the entity whose rows the run has come to: the next one after some time."""
        chance, number = random.Random(2), LIVE  # noqa: S311  (the same each time)
        tables = {TABLES[table][0].name: table for table in self.sizes}
        while True:
            await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
            if not self.live:
                continue
            name = chance.choice(list(tables)) if self.idle else self.marketo.last
            if name not in tables:
                continue
            number += 1
            self.pending[id_of(number)] = name, self.time.passed
            self.queues.put(_CHANGES, _notification(tables[name], id_of(number)))
            while self.pending:  # noqa: ASYNC110  (time is virtual)
                await asyncio.sleep(0.01)

    def _arrived(self, outcomes: Iterable[tuple[Record, Outcome]]) -> None:
        for record, outcome in outcomes:
            if record.id in self.pending and isinstance(outcome, Synced) and record.table in self.sizes:
                name, at = self.pending.pop(record.id)
                self.latencies.setdefault(name, []).append(self.time.passed - at)

    async def _until_idle_is_measured(self) -> None:
        while sum(map(len, self.latencies.values())) < IDLE_CHANGES:  # noqa: ASYNC110  (time is virtual)
            await asyncio.sleep(1.0)


def _death(steps: int) -> Any:
    """A function that lets so many steps happen, and none after them."""
    left = steps

    def step() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KilledError

    return step


async def _nobody_hears(_event: Event, _run: Run, _totals: Mapping[str, Counter[str]]) -> None:
    """Events are not measured."""


async def _organization() -> str:
    return ORGANIZATION


async def _is_echo(_: object) -> bool:
    return False


def _fields(rules: SyncConfig) -> set[str]:
    keys = {name for entity in ENTITIES.values() for name in entity.dedupe_fields}
    return keys | {name for table in rules.tables for name in rules.fields_of(table)}


def _notification(table: str, id_: str) -> bytes:
    written = [{"key": WRITTEN[table], "value": None}]
    target = {"key": "Target", "value": {"Attributes": written, "Id": id_, "LogicalName": table}}
    about = {"PrimaryEntityName": table, "PrimaryEntityId": id_, "OrganizationId": ORGANIZATION, "CorrelationId": id_}
    return json.dumps({"MessageName": "Update", **about, "InputParameters": [target]}).encode()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
