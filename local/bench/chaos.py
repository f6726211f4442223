"""A soak: minutes of random edits while processes are killed, vendors fail, answers get lost and clocks step.

Afterwards everything is healed, nobody helps, and both systems are compared record by record. The seed is part of the
report; a run with the same seed has the same events at the same seconds.
"""

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azure.servicebus.exceptions import ServiceBusError

from emulators.dataverse.notifications import Origin, notification
from emulators.dataverse.seeding import fixed_id
from local.bench import BenchError
from local.bench.burst import Report
from local.bench.chaos_plan import WEIGHTS, Event, Plan, Written, plan
from local.bench.figures import Figure, Target
from local.bench.marketo_side import Calls, calls_of
from local.harness import System
from local.harness.system import running_system
from local.parts import MarketoLimits
from local.world import Size, World, build, expect, verify
from local.world.model import Reference, Row

SIZE = Size(users=12, accounts=25, persons=300, opportunities=60, connections=80)
QUEUES = ("changes", "sales_person", "company", "person", "opportunity", "opportunity_role")
#: Half of what Marketo allows, as shipped, and a limit that it enforces.
CALLS_PER_20_SECONDS = 50
ENVIRONMENT = {
    "BURST_WINDOW_SECONDS": "2",
    "PARENT_CHECK_SECONDS": "5",
    "CIRCUIT_SECONDS": "2",
    "RECONCILE_SCHEDULE": "0 0 0 1 1 *",
    "WRITE_BACK_SCHEDULE": "0 0 0 1 1 *",
    "RUN_SCHEDULE": "0 0 0 1 1 *",
    "MARKETO_CALLS_PER_20_SECONDS": str(CALLS_PER_20_SECONDS),
}
#: How long a healed system may take to finish: what waits for the end of a call that was cut off waits 100 s.
SETTLED_SECONDS = 420.0
POLL_SECONDS = 1.0
#: A message of 256 KB holds so many notifications for certain.
POSTED_AT_ONCE = 20
POST_TRIES = 5
WRONG_CLOCK_SECONDS = 15.0
FAULTS = ("marketo", "dataverse", "storage", "broker", "clock")


@dataclass(kw_only=True)
class Chaos:
    """What a run has found."""

    seed: int
    seconds: float
    events: dict[str, int]
    edits: int
    settled_seconds: float
    calls: Calls
    differences: list[str]
    doubled: int
    dead_letters: list[str]
    parked: int


async def run_chaos(directory: Path, *, seed: int, seconds: float, report: Report) -> Chaos:
    """Run a soak on a stack of its own. Raises BenchError when the healed system does not come to rest."""
    limits = MarketoLimits(calls_per_20s=100, concurrency=10, daily=1_000_000)
    queues = {"dynamics-changes": {"lock_seconds": 10}}
    options = {"marketo": limits, "functions_environment": ENVIRONMENT, "queues": queues}
    async with running_system(directory, copied=False, **options) as system:
        functions = list((await system.host_stats())["functions"])
        soak = _Soak(system, plan(seed, organisation(seed), seconds=seconds, functions=functions), report)
        await soak.begin(organisation(seed))
        await soak.happen()
        began = time.monotonic()
        await soak.heal()
        await soak.settle()
        return await soak.result(seconds, time.monotonic() - began)


def organisation(seed: int) -> World:
    """The organisation at the beginning; its connection roles have the ids that every embedded system knows."""
    world = build(seed, SIZE, troubles=False)
    text = json.dumps(world.rows)
    for id_, row in world.rows["connectionrole"].items():
        text = text.replace(id_, fixed_id("connectionrole", row["name"]))
    world.rows = json.loads(text)
    return world


class _Soak:
    """One run."""

    def __init__(self, system: System, events: Plan, report: Report) -> None:
        self._system = system
        self._plan = events
        self._report = report
        self._tasks: list[asyncio.Task[None]] = []
        self._happened: Counter[str] = Counter()
        self._edits = 0
        self._killing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._handlers: dict[str, Callable[[Event], Awaitable[None]]] = {
            "kill": self._kill,
            "marketo": lambda event: self._system.fault(**event.detail),
            "dataverse": self._dataverse,
            "storage": self._storage,
            "broker": self._broker,
            "clock": self._clock,
        }

    async def begin(self, world: World) -> None:
        """Put the organisation into Dynamics, and announce all of it."""
        await self._system.dataverse("/seed", world.seed_body())
        await self._post([(table, Written(world.rows[table][id_], ())) for table, id_ in world.synced()], "Create")

    async def happen(self) -> None:
        """Let every event happen at its time; what takes longer goes on beside the next ones."""
        began = time.monotonic()
        for event, content in zip(self._plan.events, self._plan.contents, strict=True):
            await asyncio.sleep(max(0.0, began + event.at - time.monotonic()))
            self._happened[event.kind] += 1
            self._report(f"{event.at:6.1f} s {event.kind} {event.detail if not event.rows else len(event.rows)}")
            if event.kind in self._handlers:
                self._tasks.append(asyncio.create_task(self._do(event)))
            else:
                await self._change(event, content)

    async def _do(self, event: Event) -> None:
        await self._handlers[event.kind](event)

    async def _change(self, event: Event, content: dict[Reference, Written]) -> None:
        """Write rows and announce them; of a storm, each of its many edits."""
        body: dict[str, list[Row]] = {}
        for (table, _), written in content.items():
            body.setdefault(table, []).append(written.row)
        if event.kind != "repeat":
            await self._system.dataverse("/seed", body)
        changes = [(table, written) for (table, _), written in content.items()]
        self._edits += len(changes) * event.detail
        await self._post(changes * event.detail, "Update")

    async def _post(self, changes: list[tuple[str, Written]], message: str) -> None:
        bodies = [
            notification(message, table, written.row, Origin(at=time.time()), columns=written.columns).json().encode()
            for table, written in changes
        ]
        for start in range(0, len(bodies), POSTED_AT_ONCE):
            await self._post_some(bodies[start : start + POSTED_AT_ONCE])

    async def _post_some(self, bodies: list[bytes]) -> None:
        """As Dynamics does: once more when the connection breaks, which the soak itself may have done."""
        for _ in range(POST_TRIES):
            try:
                await self._system.broker.post("changes", bodies)
            except ServiceBusError:
                await self._system.broker.disconnect(emptied=False)
            else:
                return
        raise BenchError("the broker takes no messages")

    async def _kill(self, event: Event) -> None:
        """A function that is still starting after its last end is killed when it has started."""
        async with self._killing[event.detail]:
            await self._system.stack.kill_functions(function=event.detail)
            await self._system.stack.start_functions(function=event.detail)

    async def _dataverse(self, event: Event) -> None:
        await self._system.dataverse("/faults", [event.detail])

    async def _storage(self, event: Event) -> None:
        if not self._system.stack.parts["azurite"].running:
            return
        await self._system.stack.stop_part("azurite")
        await asyncio.sleep(event.detail)
        await self._system.stack.start_part("azurite")

    async def _broker(self, event: Event) -> None:
        if event.detail == "drop-connections":
            await self._system.broker.fault(event.detail)
            return
        for name in QUEUES:
            await self._system.broker.fault(event.detail, self._system.broker.queue(name))

    async def _clock(self, event: Event) -> None:
        """Another instance works for a while, with a clock that is wrong, and is gone at once."""
        name = f"late-{event.at:.0f}"
        await self._system.stack.start_functions(name, clock_offset=event.detail)
        await asyncio.sleep(WRONG_CLOCK_SECONDS)
        await self._system.stack.kill_functions(name)

    async def heal(self) -> None:
        """No faults any more; every event has come to its end."""
        await asyncio.gather(*self._tasks)
        await self._system.forget_faults()

    async def settle(self) -> None:
        """Wait until nothing is left to do."""
        dead = self._system.broker.queue("dead_letters")
        deadline = time.monotonic() + SETTLED_SECONDS
        while True:
            counts = await self._system.broker.counts()
            left = {name: count.waiting for name, count in counts.items() if count.waiting and name != dead}
            parked = await self._waiting()
            if not left and not parked:
                return
            if time.monotonic() > deadline:
                raise BenchError(f"seed {self._plan.seed}: still to be done: {left}, parked {parked[:5]}")
            self._report(f"healed; waiting: {left}, parked {len(parked)}")
            await asyncio.sleep(POLL_SECONDS)

    async def _waiting(self) -> list[dict[str, Any]]:
        return [row for row in await self._system.parked() if not row["RowKey"].startswith("!")]

    async def result(self, seconds: float, settled: float) -> Chaos:
        """Compare both systems."""
        stats = await self._system.marketo("/stats")
        differences = (await verify(expect(self._plan.world), self._system.endpoints)).differences()
        letters = await self._system.broker.dead_letters()
        return Chaos(
            seed=self._plan.seed,
            seconds=seconds,
            events={kind: self._happened[kind] for kind in WEIGHTS},
            edits=self._edits,
            settled_seconds=settled,
            calls=calls_of(stats),
            differences=list(differences),
            doubled=len(stats["duplicates"]["leads"]["externalPersonId"]),
            dead_letters=[f"{each.properties.get('record_id')} {each.code}" for each in letters],
            parked=len(await self._waiting()),
        )


def chaos_figures(run: Chaos) -> list[Figure]:
    """The figures of one soak."""
    group = f"soak of {run.seconds:.0f} s, seed {run.seed}"

    def figure(name: str, value: float, unit: str = "", limit: float | None = None) -> Figure:
        target = None if limit is None else Target(limit=limit)
        return Figure(group=group, name=name, value=value, unit=unit, target=target)

    return [
        figure("events", sum(run.events.values())),
        figure("  of them kills of a process", run.events["kill"]),
        figure("  of them faults", sum(run.events[kind] for kind in FAULTS)),
        figure("edits announced", run.edits),
        figure("records lost, left over or wrong", len(run.differences), "", 0),
        figure("persons doubled", run.doubled, "", 0),
        figure("dead letters", len(run.dead_letters), "", 0),
        figure("from healed to done", run.settled_seconds, "s"),
        figure("Marketo calls", run.calls.total),
        figure("Marketo calls in 20 s, most", run.calls.in_20_seconds, "", CALLS_PER_20_SECONDS),
    ]
