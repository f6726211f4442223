"""Lone changes on an idle system, with the settings that the app ships with: how long from the queue into Marketo."""

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path

from azure.servicebus.aio import ServiceBusClient, ServiceBusSender

from local.bench import BenchError
from local.bench.burst import Report, until_idle
from local.bench.marketo_side import latencies
from local.bench.observer import Observer
from local.bench.producer import created, message
from local.queues import INTAKE
from local.stack import Stack
from local.world.build import build
from local.world.expectations import Expectations, Expected, expect
from local.world.model import Reference, Size, World
from local.world.rest import verify

CHANGES = 30
#: A small organisation in which some accounts have nobody yet. Most of it is in Marketo before the first lone change.
SIZE = Size(users=12, accounts=150, persons=150, opportunities=60, connections=60)
#: What the changes are of, in turn.
ENTITIES = ("person", "company", "person", "opportunity", "opportunity_role")
PAUSE_SECONDS = (0.3, 1.0)
#: Until then the burst of the first load is over (two windows of BURST_WINDOW_SECONDS), and every function has let go
#: of its session (host.json: sessionIdleTimeout).
SETTLE_SECONDS = 45.0
POLL_SECONDS = 0.02
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Lone:
    """Seconds from enqueue to being stored, by entity, and what is wrong in Marketo afterwards."""

    latencies: dict[str, list[float]]
    problems: list[str]


async def run_lone(directory: Path, *, report: Report, changes: int = CHANGES) -> Lone:
    """Post changes one after another, each when the one before is in Marketo. Raises BenchError when one is lost."""
    world = build(2, SIZE, troubles=False)
    expectations = expect(world)
    chosen = choose(expectations, changes)
    held_back = {source for record in chosen for source in record.sources}
    async with (
        Stack(directory=directory, empty=True) as stack,
        Observer(stack) as observer,
        ServiceBusClient.from_connection_string(stack.addresses.service_bus) as client,
        client.get_queue_sender(INTAKE) as sender,
    ):
        await observer.seed(world)
        report("bringing everything but the lone changes into Marketo")
        await _post(sender, world, [change for change in world.synced() if change not in held_back])
        stored = sum(expectations.counts().values()) - len(chosen)
        await _until_stored(observer, stored)
        await until_idle(observer)
        await asyncio.sleep(SETTLE_SECONDS)
        enqueued: dict[Reference, float] = {}
        chance = random.Random(1)  # noqa: S311  (pauses, the same in every run)
        for number, record in enumerate(chosen, 1):
            report(f"lone change {number} of {len(chosen)}")
            enqueued |= dict.fromkeys(record.sources, time.time())
            await _post(sender, world, record.sources[:1])
            await _until_stored(observer, stored + number)
            await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
        lone = Expectations()
        for record in chosen:
            lone.records[record.entity][record.key] = record
        times = latencies(lone, await observer.stored(), await observer.person_keys(), enqueued)
        problems = list((await verify(expectations, stack.addresses.endpoints())).differences())
    return Lone(times, problems)


def choose(expectations: Expectations, count: int) -> list[Expected]:
    """Records that no other one waits for, by turns of each entity. Raises BenchError when there are too few."""
    needed = {
        record.fields.get(relation)
        for entity, relation in (("person", "externalCompanyId"), ("opportunity", "externalCompanyId"))
        for record in expectations.records[entity].values()
    }
    needed |= {part for key in expectations.records["opportunity_role"] for part in key[:2]}
    free = {
        entity: [record for key, record in expectations.records[entity].items() if key not in needed and record.sources]
        for entity in ENTITIES
    }
    turns = [ENTITIES[number % len(ENTITIES)] for number in range(count)]
    if any(turns.count(entity) > len(records) for entity, records in free.items()):
        raise BenchError(f"there are not enough records that nobody waits for to make {count} lone changes")
    return [free[entity].pop() for entity in turns]


async def _post(sender: ServiceBusSender, world: World, changes: list[Reference] | tuple[Reference, ...]) -> None:
    for start in range(0, len(changes), 20):
        await sender.send_messages([message(created(world, change)) for change in changes[start : start + 20]])


async def _until_stored(observer: Observer, expected: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (stored := sum((await observer.marketo())["stored"].values())) < expected:
        if time.monotonic() > deadline:
            raise BenchError(f"{stored} records are in Marketo after {PATIENCE_SECONDS:.0f} s, not {expected}")
        await asyncio.sleep(POLL_SECONDS)
