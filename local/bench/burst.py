"""A burst of changes through the whole stack, as fast as a client can post them, within Marketo's limits."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.bench import BenchError
from local.bench.child import spoken_to
from local.bench.marketo_side import Calls, calls_of, latencies, upserts
from local.bench.observer import Observer
from local.bench.population import edited, known_addresses, ordered_changes, world_of
from local.stack import Stack
from local.world.expectations import expect
from local.world.model import Reference, World
from local.world.rest import verify

#: The app's whole share of Marketo's limits: nobody else uses this subscription.
FULL_SHARE = {"MARKETO_CALLS_PER_20_SECONDS": "100", "MARKETO_CONCURRENCY": "10"}
#: The write-back has figures of its own (local/bench/write_back.py): here, it does not run.
NO_WRITE_BACK = {"WRITE_BACK_SCHEDULE": "0 0 0 1 1 *"}
POLL_SECONDS = 0.5
#: Nothing new in Marketo for so long, and the run has failed: longer than any pause that the app may make.
PATIENCE_SECONDS = 150.0

Report = Callable[[str], None]


@dataclass(kw_only=True)
class Burst:
    """What one run has measured. Times in seconds, memory in bytes, processor time in seconds."""

    order: str
    records: int
    seconds: float
    latencies: dict[str, list[float]]
    calls: Calls
    host: dict[str, Any]
    dataverse: dict[str, Any]
    cpu: dict[str, float]
    dead_letters: int
    #: Every upsert that created records: seconds after the first enqueue, entity, records created.
    upserts: list[tuple[float, str, int]]
    #: What is wrong in Marketo afterwards, one line each.
    problems: list[str]
    samples: dict[str, int] = field(default_factory=dict)
    #: Persons that Marketo had before, without a key.
    known: int = 0
    #: Calls when all rows changed once more.
    updates: Calls | None = None

    @property
    def all_latencies(self) -> list[float]:
        """Of every record."""
        return [latency for of_entity in self.latencies.values() for latency in of_entity]

    @property
    def worker_cpu(self) -> float:
        """Processor seconds of the processes that run the functions and nothing else."""
        return float(self.host["worker"]["cpu_seconds"])

    @property
    def converter_cpu(self) -> float:
        """What azure-functions' converter took of it."""
        return float(self.host["worker"]["converter_cpu_seconds"])

    @property
    def host_cpu(self) -> float:
        """Processor seconds of the process that talks to the broker and starts the functions."""
        return float(self.host["host"]["cpu_seconds"])

    @property
    def memory(self) -> dict[str, int]:
        """Highest resident memory of the host, and of the function's process that needed most."""
        return {name: int(self.host[name]["peak_rss_bytes"]) for name in ("host", "worker")}

    def share(self, whose: str) -> float:
        """The part of the worker's processor time that went to code of this class, by sampling.

        `own` is the app's, `host` the local host's, which carries messages between its two processes.
        """
        total = sum(self.samples.values())
        return self.samples.get(whose, 0) / total if total else float("nan")


async def run_burst(
    directory: Path,
    *,
    records: int,
    order: str,
    report: Report,
    sample: bool = False,
    known: int = 0,
    again: bool = False,
) -> Burst:
    """Run one burst on a stack of its own and verify what arrived. Raises BenchError when it does not end.

    `known`: so many of the persons are in Marketo, from a form, each to be found by e-mail alone. `again`: count the
    calls when all rows change once more.
    """
    world = world_of(records)
    expectations = expect(world)
    async with (
        spoken_to(*_producer(records, order)) as producer,
        Stack(directory=directory, empty=True, functions_environment=FULL_SHARE | NO_WRITE_BACK) as stack,
        Observer(stack) as observer,
    ):
        report("seeding Dataverse, preparing the notifications")
        await observer.seed(world)
        addresses = known_addresses(world, known)
        if addresses:
            await observer.seed_marketo({"leads": [{"email": address} for address in addresses]})
        await producer.tell(stack.addresses.service_bus)
        await producer.hear()
        await observer.reset()
        before = observer.cpu()
        if sample:
            await observer.start_sampling()
        await producer.tell("go")
        posting = asyncio.create_task(producer.hear())
        await _until_stored(observer, sum(expectations.counts().values()), posting, report)
        batches = json.loads(await posting)
        report("waiting for the queues to be empty")
        await until_idle(observer)
        samples = await observer.stop_sampling() if sample else {}
        used = {name: seconds - before.get(name, 0.0) for name, seconds in observer.cpu().items()}
        host = await observer.host()
        report("reading Marketo back")
        stored, persons, stats = await observer.stored(), await observer.person_keys(), await observer.marketo()
        enqueued = enqueue_times(ordered_changes(world, order), batches)
        first = min(enqueued.values())
        problems = [*(await verify(expectations, stack.addresses.endpoints())).differences()]
        more = stats["stored"]["leads"] - expectations.counts()["person"]
        problems += [f"{more} more persons in Marketo than there are in Dynamics"] if more else []
        dead_letters = (await observer.queues())["dead_letters"].active
        dataverse = await observer.dataverse()
        return Burst(
            order=order,
            records=len(enqueued),
            seconds=max(at for times in stored.values() for at in times.values()) - first,
            latencies=latencies(expectations, stored, persons, enqueued),
            calls=calls_of(stats),
            host=host,
            dataverse=dataverse,
            cpu=used,
            dead_letters=dead_letters,
            upserts=upserts(stored, first),
            problems=problems,
            samples=samples,
            known=len(addresses),
            updates=await _updates(stack, observer, world, order, report) if again else None,
        )


async def _updates(stack: Stack, observer: Observer, world: World, order: str, report: Report) -> Calls:
    """Change every row once more, and give Marketo's calls for that."""
    report("changing every row once more")
    edited(world)
    await observer.seed(world)
    async with spoken_to(*_producer(sum(1 for _ in world.synced()), order)) as producer:
        await producer.tell(stack.addresses.service_bus)
        await producer.hear()
        await observer.reset()
        await producer.tell("go")
        await producer.hear()
    await until_idle(observer)
    return calls_of(await observer.marketo())


def enqueue_times(changes: Sequence[Reference], batches: Sequence[tuple[float, int]]) -> dict[Reference, float]:
    """When each change was posted, from the times and sizes of the batches that carried them in this order."""
    times: dict[Reference, float] = {}
    place = 0
    for at, count in batches:
        for change in changes[place : place + count]:
            times[change] = at
        place += count
    return times


async def _until_stored(observer: Observer, expected: int, posting: asyncio.Task[str], report: Report) -> None:
    stored, progressed = 0, time.monotonic()
    while stored < expected:
        if posting.done():
            posting.result()
        await asyncio.sleep(POLL_SECONDS)
        found = sum((await observer.marketo())["stored"].values())
        if found > stored:
            stored, progressed = found, time.monotonic()
            report(f"{stored:,} of {expected:,} records are in Marketo")
        elif time.monotonic() - progressed > PATIENCE_SECONDS:
            msg = f"{stored:,} of {expected:,} records came to Marketo, then none for {PATIENCE_SECONDS:.0f} s"
            raise BenchError(f"{msg}; queues: {await observer.queues()}")


async def until_idle(observer: Observer) -> None:
    """Wait until no queue but dead-letters has anything to be worked on. Raises BenchError when that does not come."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while busy := [name for name, each in (await observer.queues()).items() if name != "dead_letters" and each.waiting]:
        if time.monotonic() > deadline:
            raise BenchError(f"every record is in Marketo, but these queues are not empty: {', '.join(busy)}")
        await asyncio.sleep(POLL_SECONDS)


def _producer(records: int, order: str) -> tuple[str, ...]:
    return "local.bench.producer", "--records", str(records), "--order", order
