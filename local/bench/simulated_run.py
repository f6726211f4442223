"""An initial sync of a large organisation, in virtual time: its calls, its hours, its memory, and what others notice.

The app's own carrier, pipelines, budgets and clients (local/bench/simulated_app.py) run against
local/bench/many_rows.py. Each simulation has a process of its own, so that its memory is.
"""

import asyncio
import gc
import logging
import random
import resource
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing import get_context
from typing import Any

from emulators.marketo.limits import Limits as Subscription
from local.bench.day import START
from local.bench.live_changes import LiveChanges
from local.bench.many_rows import Instance, KilledError, RunTable
from local.bench.simulated_app import App
from local.bench.small_world import Queues
from local.stack import ROOT
from local.virtual import Time
from local.wiring import QUEUES
from local.world.build import build
from shared.config import sync_toml
from shared.config.settings import MarketoSettings
from shared.config.sync_toml import SyncConfig
from shared.model.entities import ENTITIES, TABLES
from shared.sync.marketo_cache import MAX_ENTRIES
from shared.sync.runs.model import RunKind, RunState, Scope, new_run
from shared.sync.runs.page import IN_MARKETO
from shared.sync.runs.store import Runs

#: Of a million persons: accounts and opportunities.
PARTS = {"contact": 1.0, "account": 0.1, "opportunity": 0.2}
#: A process that is to be killed dies at one of so many of its requests: ticks have more.
STEPS_BEFORE_DEATH = 60
IDLE_CHANGES = 200
SMALL_PART = 10
#: Records of an entity that a function remembers, with so many persons or fewer: soon full, and enough for their
#: accounts, as the 100,000 of the app are for those of a million.
REMEMBERED, FEW = 10_000, 100_000
#: The roles of the last opportunities, which follow them, are not of the run.
AFTERWARDS_SECONDS = 300.0
LONGEST_DAYS = 14
SETTINGS = {"MARKETO_URL": "https://marketo", "MARKETO_CLIENT_ID": "id", "MARKETO_CLIENT_SECRET": "secret"}


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
    persons: int, *, kills: int = 0, live: bool = False, idle: bool = False, remembered: int = 0, **given: str
) -> Loaded:
    """Load so many persons, and the accounts and opportunities that belong to them, with these settings.

    `kills`: how often the carrier's process dies. `live`: with live changes. `idle`: these alone, Marketo has all.
    `remembered`: records of an entity that a function remembers; 0: in proportion to the persons.
    """
    remembered = remembered or min(MAX_ENTRIES, REMEMBERED * max(1, persons // FEW))
    facts = {"persons": persons, "kills": kills, "live": live or idle, "idle": idle, "remembered": remembered}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_simulated, {**facts, "given": given}).result()


def _simulated(facts: Mapping[str, Any]) -> Loaded:
    logging.getLogger("shared").setLevel(logging.CRITICAL)
    time = Time(START)
    return time.run(_Simulation(time, **facts).run())


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

    def __post_init__(self) -> None:
        settings = MarketoSettings.model_validate({**SETTINGS, **self.given})
        rules = sync_toml.load(ROOT / "sync.toml")
        self.sizes = {table: int(self.persons * part) for table, part in PARTS.items()}
        self.table, queues = RunTable(), Queues(self.time)
        self.runs = Runs(self.table, now=self.time.now)
        subscription = Subscription(
            lambda: self.time.now().timestamp(),
            calls_per_window=100, concurrency=10, daily=settings.daily_calls,
        )  # fmt: skip
        self.marketo = Instance(
            self.time, _fields(rules), (-1.0, -1.0),
            subscription=subscription, sizes=self.sizes, has_all=self.idle,
        )  # fmt: skip
        self.changes = LiveChanges(
            self.time, queues,
            tables={TABLES[table][0].name: table for table in self.sizes},
            entity=lambda: None if self.idle else self.marketo.last,
        )  # fmt: skip
        self.app = App(
            time=self.time, settings=settings, rules=rules, world=build(1), sizes=self.sizes, table=self.table,
            queues=queues, marketo=self.marketo, remembered=self.remembered, arrived=self.changes.arrived,
        )  # fmt: skip

    async def run(self) -> Loaded:
        """Let all processes work until the run is over."""
        work = [asyncio.create_task(self.app.function(name)) for name in (QUEUES.changes, *ENTITIES)]
        work += [asyncio.create_task(self._look())]
        work += [asyncio.create_task(self.changes.happen())] if self.live else []
        ended = asyncio.create_task(self.changes.until(IDLE_CHANGES) if self.idle else self._carry())
        await asyncio.wait({ended, *work}, return_when=asyncio.FIRST_COMPLETED)
        seconds = self.time.passed
        self.memory.append(_peak())
        self.changes.is_over = True
        await asyncio.wait(work, timeout=AFTERWARDS_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in (ended, *work):
            if task.done():
                task.result()  # a function that ended has failed
            task.cancel()
        await asyncio.wait(work)
        return await self._found(seconds)

    async def _carry(self) -> None:
        """The timer, once a minute, until the run is over. At first, each process dies."""
        chance = random.Random(1)  # noqa: S311  (the same each time)
        run = new_run(RunKind.INITIAL_SYNC, Scope(tuple(self.sizes)), self.time.now(), unique="abcd")
        await self.runs.create(run)
        carrier, minute = self.app.carrier(), 0
        while self.time.passed < timedelta(days=LONGEST_DAYS).total_seconds():
            dies = self.killed < self.kills
            steps = chance.randrange(1, STEPS_BEFORE_DEATH) if dies else 0
            try:
                await (self.app.carrier(_death(steps)) if dies else carrier).tick()
            except KilledError:
                self.killed += 1
            found = await self.runs.read(run.id)
            if found and found.state is not RunState.RUNNING:
                return
            minute = int(self.time.passed // 60) + 1
            self.waited += 60.0 if found and found.waits_until else 0.0
            await asyncio.sleep(60.0 * minute - self.time.passed)

    async def _look(self) -> None:
        """Note the memory when a tenth is done."""
        tenth = sum(self.sizes.values()) // SMALL_PART
        while self.marketo.stored < tenth and not self.idle:  # noqa: ASYNC110  (time is virtual)
            await asyncio.sleep(1.0)
        gc.collect()
        self.memory.append(_peak())
        await asyncio.Event().wait()

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
            latencies=self.changes.latencies,
            killed=self.killed,
            lost=0 if self.idle else len(written) - min(there, told),
            doubled=max(0, self.marketo.stored - there) + max(0, told - len(written)),
            sent_twice=sum(count > 1 for count in written),
            requests=self.table.requests,
        )


def _death(steps: int) -> Callable[[], None]:
    """A function that lets so many steps happen, and none after them."""
    left = steps

    def step() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KilledError

    return step


def _fields(rules: SyncConfig) -> set[str]:
    keys = {name for entity in ENTITIES.values() for name in entity.dedupe_fields}
    return keys | {name for table in rules.tables for name in rules.fields_of(table)}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
