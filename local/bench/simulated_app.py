"""The app of a simulated run: each function, and the carrier, in a process of its own, as on Flex Consumption.

Processes share the queues, the table of the state and Marketo's limits, and nothing else: each has its own caches.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

from pydantic import SecretStr

from local.bench.day import ORGANIZATION
from local.bench.many_rows import Instance, Rows, RunTable, nothing
from local.bench.small_world import Nobody, Queues
from local.virtual import MemoryState, Time
from local.wiring import QUEUES, engine_between, pipeline_around
from local.world.model import World
from shared.config.settings import MarketoSettings, SyncSettings
from shared.config.sync_toml import SyncConfig
from shared.marketo.auth import MarketoAuth
from shared.marketo.client import MarketoClient
from shared.marketo.limiter import Pacer
from shared.marketo.quota import Budget
from shared.model.entities import Entity
from shared.model.outcome import Outcome
from shared.model.record import MAX_RECORDS, Record, encode
from shared.sync.circuit_breaker import Circuits
from shared.sync.handlers import Pipeline
from shared.sync.marketo_cache import Known
from shared.sync.routing import chunked
from shared.sync.runs.carrier import Carrier
from shared.sync.runs.events import Event
from shared.sync.runs.model import Run
from shared.sync.runs.page import Page
from shared.sync.runs.reporting import Reporter
from shared.sync.runs.store import RUNS, Runs
from shared.sync.runs.synced_fields import SyncedFields
from shared.sync.scheduling import Bursts, Trickle, Windows
from shared.sync.settlement import Settler
from shared.sync.sole_run import SoleRun
from shared.sync.storms import MAX_ROWS
from shared.sync.synced_versions import SyncedVersions

#: The timer that looks at parked records.
RELEASE_SECONDS = 60.0


@dataclass(kw_only=True)
class App:
    """What its processes have in common. `arrived` hears of what has become of records.

    `sizes`: rows by table. `remembered`: records of an entity that a function remembers.
    """

    time: Time
    settings: MarketoSettings
    rules: SyncConfig
    world: World
    sizes: Mapping[str, int]
    table: RunTable
    queues: Queues
    marketo: Instance
    remembered: int
    arrived: Callable[[Iterable[tuple[Record, Outcome]]], None]

    async def function(self, queue: str) -> None:
        """Be the trigger of a queue, in a process of its own."""
        pipeline = self._pipeline()
        while True:
            messages = await self.queues.take(queue)
            await (pipeline.route(messages) if queue == QUEUES.changes else pipeline.sync(queue, messages))

    def carrier(self, step: Callable[[], None] = nothing) -> Carrier:
        """The carrier of a new process; `step` is called before each of its requests."""
        table = RunTable(self.table, step)
        given, clock = self.settings, self.time.clock
        _, budget, _ = self._client()

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
            compare=_nobody_compares,
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

    def _client(self) -> tuple[MarketoClient, Budget, Circuits]:
        """Marketo's client of a process."""
        now, clock, sleep = self.time.now, self.time.clock, asyncio.sleep
        http: Any = self.marketo
        instance = uuid4().hex[:12]
        budget = Budget(MemoryState(self.table), self.settings, instance_id=instance, now=now)
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
        marketo, budget, circuits = self._client()
        trickle = Trickle(
            budget.refresh,
            daily_calls=given.daily_calls, share=given.trickle_share, longest=given.trickle_window, now=now,
        )  # fmt: skip
        known = Known(clock=clock, max_entries=self.remembered)
        versions = SyncedVersions(MemoryState(self.table), now=now)
        reporter = Reporter(Runs(self.table, now=now), budget.charge_run)

        async def tell(outcomes: Iterable[tuple[Record, Outcome]], calls: int) -> None:
            outcomes = list(outcomes)
            self.arrived(outcomes)
            await reporter.tell(outcomes, calls)

        return pipeline_around(
            nobody,
            bursts=Bursts(burst_batch=sync.burst_batch, seconds=sync.burst_window, now=now, trickle=trickle),
            circuits=circuits,
            bus=bus,
            engine=engine_between(
                self._rows(), marketo, self.rules, clock=clock, now=now,
                known=known, circuits=circuits, synced_versions=versions, sent_rows=min(MAX_ROWS, self.remembered),
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

    def _rows(self, step: Callable[[], None] = nothing) -> Any:
        return Rows(self.world, self.time, self.sizes, step)


@dataclass
class _Parking(Nobody):
    """What waits for its parents is released by the next timer."""

    time: Time
    queues: Queues

    async def park(self, entity: Entity, deferred: Sequence[tuple[Record, object]], _windows: Windows) -> None:
        """Send the records again in a minute."""
        for part in chunked([replace(record, released=True) for record, _ in deferred], MAX_RECORDS):
            self.queues.put(entity.name, encode(entity.name, part), RELEASE_SECONDS)


async def _nobody_compares(_: Run, __: str) -> tuple[Run, list[Page]]:
    raise NotImplementedError


async def _nobody_hears(_event: Event, _run: Run, _totals: Mapping[str, Counter[str]]) -> None:
    """Events are not measured."""


async def _organization() -> str:
    return ORGANIZATION


async def _is_echo(_: object) -> bool:
    return False
