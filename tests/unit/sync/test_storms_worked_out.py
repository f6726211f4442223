"""A row that changes again and again, through whole processes: few calls, and in the end the last value."""

import asyncio
import heapq
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from local.bench.small_world import Nobody
from local.virtual import MemoryTable, Time, leases
from local.wiring import QUEUES, engine_between, pipeline_around
from shared.azure.service_bus import Outgoing
from shared.config.sync_toml import SyncConfig
from shared.marketo.answers import Result
from shared.marketo.client import Write
from shared.model.codes import Kind
from shared.model.entities import ENTITIES, Entity, Table
from shared.model.errors import MarketoError
from shared.sync.circuit_breaker import Circuits
from shared.sync.handlers import Pipeline
from shared.sync.incoming import Incoming
from shared.sync.marketo_cache import Known
from shared.sync.scheduling import Bursts
from shared.sync.settlement import Settler
from shared.sync.storms import LONGEST_WAIT
from tests.support.values import NOON, guid
from tests.support.vendors import Vendors

CONFIG = SyncConfig.model_validate({"account": {"fields": {"company": "name"}}})
COMPANY = ENTITIES["company"]
ORGANIZATION = guid(99)
CHANGES, DEAD = "changes", "dead-letters"
CALL_SECONDS = 0.5


class Broker:
    """Queues; each message has the time at which it became visible, by the broker's own clock."""

    def __init__(self, time: Time, ahead: float = 0.0) -> None:
        self._time = time
        self._ahead = timedelta(seconds=ahead)
        self._numbers = itertools.count()
        self._news = asyncio.Event()
        self.waiting: dict[str, list[tuple[float, int, bytes]]] = {CHANGES: [], "company": [], DEAD: []}
        self.taken = 0

    async def send(self, messages: Sequence[Outgoing]) -> None:
        for message in messages:
            delay = (message.at - self._time.now()).total_seconds() if message.at else 0.0
            self.put(message.queue, message.body, delay)

    def put(self, queue: str, body: bytes, delay: float = 0.0) -> None:
        heapq.heappush(self.waiting[queue], (self._time.passed + max(0.0, delay), next(self._numbers), body))
        self._news.set()

    async def take(self, queue: str, most: int) -> list[Incoming]:
        waiting = self.waiting[queue]
        while not waiting or waiting[0][0] > self._time.passed:
            self._news.clear()
            timeout = waiting[0][0] - self._time.passed if waiting else None
            try:
                await asyncio.wait_for(self._news.wait(), timeout)
            except TimeoutError:
                continue
        batch: list[Incoming] = []
        while waiting and waiting[0][0] <= self._time.passed and len(batch) < most:
            moment, _, body = heapq.heappop(waiting)
            batch.append(Incoming(body, NOON + timedelta(seconds=moment) + self._ahead))
        return batch

    @property
    def is_idle(self) -> bool:
        return not (self.waiting[CHANGES] or self.waiting["company"] or self.taken)


class World(Vendors):
    """Dynamics and Marketo at once, and processes of the app between them. `troubles`: what becomes of each call."""

    def __init__(self, *, processes: int = 1, troubles: Sequence[str] = (), ahead: float = 0.0) -> None:
        self.time = Time(NOON)
        self.versions: dict[str, int] = {}
        self.stored: dict[str, int] = {}
        self.edited: dict[tuple[str, int], float] = {}
        self.latencies: dict[str, list[float]] = {}
        self.calls: Counter[str] = Counter()
        self._troubles = iter(troubles)
        self._processes = processes
        self._ahead = ahead
        self._busy: set[asyncio.Task[None]] = set()

    def run(self, *edits: tuple[float, int], kills: Sequence[float] = ()) -> None:
        """Edits of rows at these times, kills of a process at those; until nothing happens any more."""
        self.time.run(self._run(edits, kills))

    async def _run(self, edits: Sequence[tuple[float, int]], kills: Sequence[float]) -> None:
        self.broker = Broker(self.time, self._ahead)
        self.table = MemoryTable(seconds=0.01)
        running = [asyncio.create_task(self._process(number, kills)) for number in range(self._processes)]
        for moment, row in sorted(edits):
            await asyncio.sleep(moment - self.time.passed)
            self.versions[guid(row)] = version = self.versions.get(guid(row), 0) + 1
            self.edited[guid(row), version] = self.time.passed
            self.broker.put(CHANGES, notification(row))
        while not self.broker.is_idle or self._busy:
            await asyncio.sleep(1)
            assert self.time.passed < 24 * 3_600, "it goes on for ever"
            for task in running:
                if task.done():
                    task.result()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _process(self, number: int, kills: Sequence[float]) -> None:
        """A process that is killed at these times, and begins anew with an empty memory."""
        for life, end in enumerate([*sorted(kills), float("inf")]):
            pipeline = self._app(f"{number}.{life}")
            work = [self._trigger(CHANGES, pipeline), self._trigger("company", pipeline)]
            left = end - self.time.passed if number == 0 and end != float("inf") else None
            try:
                async with asyncio.timeout(left):
                    await asyncio.gather(*work)
            except TimeoutError:
                continue

    async def _trigger(self, queue: str, pipeline: Pipeline) -> None:
        while True:
            batch = await self.broker.take(queue, 32)
            self.broker.taken += 1
            try:
                await (pipeline.route(batch) if queue == CHANGES else pipeline.sync("company", batch))
            except BaseException:  # killed: the locks end, and the messages come again
                for message in batch:
                    self.broker.put(queue, message.body, 5.0)
                raise
            finally:
                self.broker.taken -= 1

    def _app(self, me: str) -> Pipeline:
        nobody: Any = Nobody()
        clock, now = self.time.clock, self.time.now
        circuits = Circuits(None, seconds=60.0, now=now)
        bus: Any = self.broker
        known = Known(clock=clock)
        engine = engine_between(
            self, self, CONFIG, clock=clock, now=now, known=known, circuits=circuits,
            leases=leases(clock, self.table, instance_id=me), tables=["account"],
        )  # fmt: skip
        return pipeline_around(
            nobody,
            bursts=Bursts(burst_batch=32, seconds=20.0, now=now),
            circuits=circuits,
            bus=bus,
            engine=engine,
            settler=Settler(bus, nobody, QUEUES, now=now, max_attempts=50, chance=lambda: 0.5),
            marketo=self,
            known=known,
            tables={"account": ()},
            organization_id=self._organization,
            is_echo=self._is_echo,
            now=now,
        )

    async def _organization(self) -> str:
        return ORGANIZATION

    async def _is_echo(self, _: object) -> bool:
        return False

    # -- Dynamics ----------------------------------------------------------------------------------------------------

    async def rows(self, _table: Table, ids: Sequence[str], *_: Any, **__: Any) -> dict[str, Any]:
        found = {id_: {"name": str(self.versions[id_])} for id_ in ids if id_ in self.versions}
        await asyncio.sleep(0.1)
        return found

    # -- Marketo -----------------------------------------------------------------------------------------------------

    async def find(self, _entity: Entity, keys: Sequence[str]) -> dict[str, int]:
        return {key: 0 for key in keys if key in self.stored}

    async def probe_write(self, _entity: Entity) -> None:
        self.calls["probe"] += 1

    async def write(
        self, _entity: Entity, bodies: Sequence[bytes], _write: Write, *, begin: Callable[[], Awaitable[None]], **_: Any
    ) -> list[Result]:
        """One call, which goes on when its caller is killed."""
        await begin()
        self.calls["upsert"] += 1
        trouble = next(self._troubles, "")
        work = asyncio.create_task(self._work([json.loads(body) for body in bodies], trouble))
        self._busy.add(work)
        work.add_done_callback(self._busy.discard)
        await asyncio.shield(work)
        if trouble in ("lost", "away"):
            raise MarketoError("502", "bad gateway", kind=Kind.TRANSIENT)
        return [Result("skipped", 0, "611", "system error") if trouble == "skipped" else Result("updated")] * len(
            bodies
        )

    async def _work(self, records: list[dict[str, Any]], trouble: str) -> None:
        await asyncio.sleep(CALL_SECONDS * (20 if trouble == "lost" else 1))
        if trouble in ("away", "skipped"):
            return
        for record in records:
            id_, version = record["externalCompanyId"], int(record["company"])
            for old in range(self.stored.get(id_, 0) + 1, version + 1):
                self.latencies.setdefault(id_, []).append(self.time.passed - self.edited[id_, old])
            self.stored[id_] = version


def notification(row: int) -> bytes:
    context = {
        "MessageName": "Update",
        "PrimaryEntityName": "account",
        "PrimaryEntityId": guid(row),
        "OrganizationId": ORGANIZATION,
        "InputParameters": [{"key": "Target", "value": {"Attributes": [{"key": "name", "value": None}]}}],
    }
    return json.dumps(context).encode()


def storm(edits: int, seconds: float, row: int = 1) -> list[tuple[float, int]]:
    return [(1 + number * seconds / edits, row) for number in range(edits)]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_thousand_edits_of_a_row_in_a_minute_cost_twenty_calls_at_most(processes: int) -> None:
    world = World(processes=processes)
    world.run(*storm(1_000, 60))
    assert world.calls["upsert"] <= 20
    assert world.stored == world.versions
    assert max(world.latencies[guid(1)]) <= LONGEST_WAIT + 2


def test_a_loop_that_edits_a_row_for_an_hour_costs_a_call_in_a_minute(world: World) -> None:
    world.run(*storm(600, 3_600))
    assert world.calls["upsert"] <= 60 + 20
    assert world.stored == world.versions


def test_other_rows_are_not_slowed_down_by_a_storm(world: World) -> None:
    others = [(1.5 + 6 * number, 100 + number) for number in range(10)]
    world.run(*storm(1_000, 60), *others)
    assert world.stored == world.versions
    assert max(latency for id_, found in world.latencies.items() if id_ != guid(1) for latency in found) <= 3


def test_two_edits_within_a_moment_are_both_there_within_seconds(world: World) -> None:
    world.run((1, 1), (2.5, 1))
    assert world.stored == {guid(1): 2}
    assert max(world.latencies[guid(1)]) <= 5


@pytest.mark.parametrize("ahead", [-86_400.0, 86_400.0])
def test_a_broker_whose_clock_differs_from_ours_changes_nothing(ahead: float) -> None:
    world = World(ahead=ahead)
    world.run(*storm(300, 20), (300, 1))
    assert world.stored == world.versions


TROUBLES = ["", "", "", "away", "lost", "skipped"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.1, 90), st.integers(1, 3)), min_size=1, max_size=40),
    st.lists(st.sampled_from(TROUBLES), max_size=12),
    st.lists(st.floats(1, 100), max_size=3),
    st.integers(1, 2),
)
@example([(1.0, 1), (2.0, 1)], ["lost"], [2.0], 1)
def test_in_the_end_marketo_has_what_was_written_last(
    edits: list[tuple[float, int]], troubles: list[str], kills: list[float], processes: int
) -> None:
    """Whatever order edits, deliveries, lost answers, failures and deaths of processes come in."""
    world = World(processes=processes, troubles=troubles)
    world.run(*edits, kills=kills)
    assert world.stored == world.versions
    assert not world.broker.waiting[DEAD]
