"""Several processes that send one entity, with lost answers, crashes, redeliveries and clocks that are wrong.

Marketo goes on with a call whose connection is cut, and doubles what two calls create at once (marketo.md 5.2).
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.virtual import MemoryTable, Time, leases
from local.wiring import engine_between
from shared.config.sync_toml import SyncConfig
from shared.marketo.answers import Result
from shared.marketo.client import Write
from shared.model.codes import Kind
from shared.model.entities import ENTITIES, Entity, Table
from shared.model.errors import MarketoError, MsiSyncError
from shared.model.outcome import Outcome, Retry, Synced
from shared.model.record import Record
from shared.sync.call_sizes import PARTS
from shared.sync.circuit_breaker import Circuits
from shared.sync.engine import Engine
from shared.transport.client import Begin
from tests.support.values import NOON, guid
from tests.support.vendors import Vendors

CONFIG = SyncConfig.model_validate({"account": {"fields": {"company": "name"}}})
COMPANY = ENTITIES["company"]
#: How long Marketo may work on a call.
LONGEST = 90.0


@dataclass
class Call:
    """What happens to a call: how long Marketo works, and when the connection is cut (never: None)."""

    works: float = 0.5
    cut: float | None = None
    code: str = "Unreachable"


class Marketo(Vendors):
    """Looks keys up when a call begins, and writes when it ends, as a database under load does."""

    def __init__(self, time: Time) -> None:
        self.time = time
        self.stored: list[dict[str, Any]] = []
        self.at_work: set[str] = set()
        self.overlaps: set[str] = set()
        self.planned: list[Call] = []
        self.calls: list[tuple[float, list[str]]] = []
        self.works: set[asyncio.Task[None]] = set()

    async def write(
        self, _entity: Entity, bodies: Sequence[bytes], _: Write, *, begin: Begin, **__: Any
    ) -> list[Result]:
        await begin()
        call = self.planned.pop(0) if self.planned else Call()
        sent = [json.loads(body) for body in bodies]
        self.calls.append((self.time.passed, [row["externalCompanyId"] for row in sent]))
        work = asyncio.create_task(self._work(sent, call.works))
        self.works.add(work)
        if call.cut is None:
            await asyncio.shield(work)
            return [Result("updated")] * len(bodies)
        await asyncio.sleep(call.cut)
        raise MarketoError(call.code, "no answer", kind=Kind.TRANSIENT, at_work=True)

    async def _work(self, sent: list[dict[str, Any]], seconds: float) -> None:
        keys = {row["externalCompanyId"] for row in sent}
        self.overlaps |= keys & self.at_work
        self.at_work |= keys
        there = {row["externalCompanyId"]: row for row in self.stored}
        await asyncio.sleep(seconds)
        for row in sent:
            if row["externalCompanyId"] in there:
                there[row["externalCompanyId"]].update(row)
            else:
                self.stored.append(row)
        self.at_work -= keys


class Dataverse(Vendors):
    """The rows, whose names change."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    async def rows(self, _table: Table, ids: Sequence[str], *_: Any, **__: Any) -> dict[str, Any]:
        read = {id_: {"name": self.names[id_]} for id_ in ids}
        await asyncio.sleep(0.2)  # what is read is old when it comes
        return read


@dataclass
class Process:
    """One process of the app, until it is killed."""

    engine: Engine
    table: MemoryTable
    invocation: asyncio.Task[Any] | None = None


class Connection(MemoryTable):
    """A process's way to the table: dead with it."""

    def __init__(self, table: MemoryTable) -> None:
        super().__init__(seconds=0.01, clock=None)
        self.rows, self.written = table.rows, table.written


@dataclass
class World:
    time: Time = field(default_factory=lambda: Time(NOON))
    table: MemoryTable = field(default_factory=MemoryTable)
    dataverse: Any = field(default_factory=Dataverse)
    processes: list[Process] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.marketo: Any = Marketo(self.time)
        self.queue: list[tuple[float, Record]] = []

    def start(self, *, ahead: float = 0.0) -> Process:
        def clock() -> float:
            return self.time.clock() + ahead

        table = Connection(self.table)
        engine = engine_between(
            self.dataverse,
            self.marketo,
            CONFIG,
            clock=clock,
            now=self.time.now,
            circuits=Circuits(None, seconds=1.0, now=self.time.now),
            leases=leases(clock, table, instance_id=f"p{len(self.processes)}", longest_call=LONGEST),
            tables=["account"],
        )
        self.processes.append(Process(engine, table))
        return self.processes[-1]

    def edit(self, number: int, name: str) -> None:
        self.dataverse.names[guid(number)] = name
        self.queue.append((self.time.passed, Record("account", guid(number), NOON)))

    def kill(self, number: int) -> None:
        """SIGKILL: nothing is given back, its messages come again, and another process starts."""
        process = self.processes[number]
        process.table.away = True
        if process.invocation:
            process.invocation.cancel()

    async def invoke(self, number: int) -> None:
        """One invocation with everything that is due; of a killed one all comes again."""
        due = [record for at, record in self.queue if at <= self.time.passed]
        self.queue = [(at, record) for at, record in self.queue if at > self.time.passed]
        process = self.processes[number]
        process.invocation = asyncio.create_task(process.engine.sync(COMPANY, due))
        try:
            outcomes = await process.invocation
        except asyncio.CancelledError:
            self.queue += [(self.time.passed + 1, record) for record in due]
            self.processes[number] = self.start()
            return
        for record, outcome in outcomes:
            self.outcomes.append(outcome)
            if isinstance(outcome, Retry):
                self.queue.append((self.time.passed + outcome.after, record))
            else:
                assert isinstance(outcome, Synced), outcome

    async def until_done(self, *numbers: int) -> None:
        """Process after process takes what is due, until nothing is left to do and Marketo has ended its work."""
        turn = 0
        while self.queue:
            if min(at for at, _ in self.queue) <= self.time.passed:
                await self.invoke(numbers[turn % len(numbers)])
                turn += 1
            else:
                await asyncio.sleep(1)
        await asyncio.gather(*self.marketo.works)

    def names_in_marketo(self) -> list[tuple[str, str]]:
        return sorted((row["externalCompanyId"], row["company"]) for row in self.marketo.stored)

    def run(self, work: Any) -> None:
        self.time.run(work)
        assert not self.marketo.overlaps, "a key was in two upserts at once"
        assert self.names_in_marketo() == sorted(self.dataverse.names.items()), "lost, doubled or old"


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("works", [1.0, 30.0, LONGEST])
def test_a_creating_call_whose_answer_is_lost_creates_once_however_long_marketo_works(
    world: World, works: float, killed: bool
) -> None:
    world.marketo.planned = [Call(works, cut=0.3)]

    async def work() -> None:
        world.start()
        for number in range(20):
            world.edit(number, f"Company {number}")
        invocation = asyncio.create_task(world.invoke(0))
        await asyncio.sleep(0.4)
        if killed:
            world.kill(0)
        await invocation
        await world.until_done(0)

    world.run(work())
    assert len(world.marketo.calls) <= 1 + PARTS


def test_others_go_on_while_some_wait_for_a_lost_call(world: World) -> None:
    world.marketo.planned = [Call(LONGEST, cut=0.3)]

    async def work() -> None:
        world.start()
        world.start()
        for number in range(10):
            world.edit(number, "lost")
        await world.invoke(0)
        world.edit(3, "edited while its call may be at work")
        for number in range(10, 20):
            world.edit(number, "not lost")
        await asyncio.sleep(2)
        await world.invoke(1)
        assert sorted(key for key, _ in world.names_in_marketo()) == [guid(n) for n in range(10, 20)]
        await world.until_done(0, 1)

    world.run(work())


def test_an_older_value_that_is_still_at_work_does_not_overtake_a_newer_one(world: World) -> None:
    world.marketo.planned = [Call(), Call(LONGEST, cut=0.3)]

    async def work() -> None:
        world.start()
        world.start()
        for name in ("On", "Off", "On"):
            world.edit(0, name)
            await world.invoke(len(world.marketo.calls) % 2)
        await world.until_done(0, 1)

    world.run(work())


calls = st.builds(
    Call,
    works=st.sampled_from([0.1, 2.0, 20.0, LONGEST]),
    cut=st.sampled_from([None, 0.05, 1.0, 30.0]),
    code=st.sampled_from(["Unreachable", "604", "HTTP 504"]),
)
steps = st.one_of(
    st.tuples(st.sampled_from(["edit", "edit", "redeliver"]), st.integers(0, 1), st.integers(0, 1)),
    st.tuples(st.sampled_from(["edit", "edit", "redeliver"]), st.integers(0, 1), st.integers(0, 1)),
    st.tuples(st.just("pass"), st.sampled_from([0.1, 0.3, 1, 20, 70]), st.just(0)),
    st.tuples(st.sampled_from(["kill", "storage"]), st.just(0), st.integers(0, 1)),
)


async def play(world: World, story: Iterable[tuple[str, Any, int]]) -> None:
    world.start()
    world.start(ahead=86_400.0)
    world.edit(0, "A")
    running: list[asyncio.Task[None]] = []
    for step, what, process in story:
        match step:
            case "edit":
                world.edit(what, "B" if world.dataverse.names.get(guid(what)) == "A" else "A")
            case "redeliver" if guid(what) in world.dataverse.names:
                world.queue.append((world.time.passed, Record("account", guid(what), NOON)))
            case "kill":
                world.kill(process)
            case "storage":
                world.processes[process].table.away = not world.processes[process].table.away
            case "pass":
                await asyncio.sleep(what)
        if step in ("edit", "redeliver"):
            running.append(asyncio.create_task(world.invoke(process)))
            await asyncio.sleep(0.05)
    with suppress(MsiSyncError):
        await asyncio.gather(*running)
    for each in world.processes:
        each.table.away = False
    await world.until_done(0, 1)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=25), st.lists(calls, max_size=6))
def test_whatever_happens_marketo_ends_with_the_last_value_once(
    story: list[tuple[str, Any, int]], planned: list[Call]
) -> None:
    world = World()
    world.marketo.planned = planned
    world.run(play(world, story))
