"""The engine alone: the sync functions called directly, with prepared batches, against the simulators.

No broker delivers here, but everything that a function does itself is real: reads, upserts, pacing and TLS through the
proxy. The functions run in a process of their own (`python -m local.bench.engine`), as a worker would be.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azure.functions import meta

from emulators.functions import usage
from emulators.functions.metadata import QueueMessage, batch_invocation
from emulators.functions.wire import to_datum
from emulators.functions.worker import Function, load_functions
from emulators.processes import die_with_parent
from local.bench.burst import FULL_SHARE, Report
from local.bench.child import Child, spoken_to
from local.bench.marketo_side import Calls, calls_of
from local.bench.observer import Observer
from local.bench.population import edited, world_of
from local.stack import ROOT, Stack
from local.world.expectations import expect
from local.world.model import SYNCED_TABLES, World
from local.world.rest import verify

#: The functions in the order in which parents come before children.
FUNCTIONS = {
    "sales_person": "sync_sales_persons",
    "company": "sync_companies",
    "person": "sync_persons",
    "opportunity": "sync_opportunities",
    "opportunity_role": "sync_opportunity_roles",
}
#: docs/messages.md: up to 100 records in a message. host.json: up to 32 messages in a batch.
MAX_RECORDS = 100
MESSAGES_PER_BATCH = 32
#: guide: 100 calls in 20 seconds.
RATE_WINDOW_SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What the functions took for every record once, in seconds; `by_entity` is the wall time of each of them."""

    seconds: float
    cpu_seconds: float
    by_entity: dict[str, float]
    calls: Calls


@dataclass(frozen=True, kw_only=True)
class EngineRun:
    """Every record when Marketo does not know it yet, and again when its row has changed."""

    records: int
    first_seen: Pass
    updates: Pass
    problems: list[str]


async def run_engine(directory: Path, *, records: int, report: Report) -> EngineRun:
    """Run the engine over a world on a stack without host, and verify what arrived. Raises BenchError when it fails."""
    world = world_of(records)
    async with Stack(directory=directory, empty=True, with_functions=False) as stack, Observer(stack) as observer:
        report("seeding Dataverse")
        await observer.seed(world)
        environment = {**stack.addresses.functions_environment(), **FULL_SHARE}
        arguments = ("local.bench.engine", "--records", str(records))
        async with spoken_to(*arguments, environment=environment) as functions:
            report("calling the functions")
            first_seen = await _pass(functions, observer)
            report("changing every row, and waiting until no call counts against Marketo's limit any more")
            edited(world)
            await observer.seed(world)
            await asyncio.sleep(RATE_WINDOW_SECONDS)
            report("calling the functions")
            updates = await _pass(functions, observer)
        report("reading Marketo back")
        problems = list((await verify(expect(world), stack.addresses.endpoints())).differences())
    return EngineRun(records=len(world.synced()), first_seen=first_seen, updates=updates, problems=problems)


async def _pass(functions: Child, observer: Observer) -> Pass:
    await observer.reset_marketo()
    await functions.tell("go")
    measured = json.loads(await functions.hear())
    return Pass(calls=calls_of(await observer.marketo()), **measured)


def bodies(world: World, entity: str) -> list[bytes]:
    """The messages for all rows of an entity, as docs/messages.md has them."""
    tables = [table for table, (_, name) in SYNCED_TABLES.items() if name == entity]
    tables += ["opportunity"] if entity == "opportunity_role" else []  # whose primary contact has a role
    records = [
        {"table": table, "id": row_id, "seen": "2026-01-01T00:00:00.000Z"}
        for table in tables
        for row_id in world.rows[table]
    ]
    parts = (records[start : start + MAX_RECORDS] for start in range(0, len(records), MAX_RECORDS))
    return [json.dumps({"version": 1, "entity": entity, "records": part}).encode() for part in parts]


def batches(function: Function, messages: Sequence[bytes]) -> Iterator[Any]:
    """What the function's trigger parameter is for each batch, made by azure-functions' own converter."""
    for start in range(0, len(messages), MESSAGES_PER_BATCH):
        part = [
            QueueMessage(body=body, content_type="application/json") for body in messages[start:][:MESSAGES_PER_BATCH]
        ]
        invocation = batch_invocation(function.name, part)
        metadata = {name: to_datum(value, meta.Datum) for name, value in invocation.metadata.items()}
        yield function.converter.decode(to_datum(invocation.data, meta.Datum), trigger_metadata=metadata)


async def _call_all(functions: dict[str, Function], prepared: dict[str, list[Any]]) -> dict[str, Any]:
    by_entity = {}
    cpu = usage.cpu_seconds()
    began = time.perf_counter()
    for entity, name in FUNCTIONS.items():
        entity_began = time.perf_counter()
        for batch in prepared[entity]:
            await functions[name].call(batch)
        by_entity[entity] = time.perf_counter() - entity_began
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": usage.cpu_seconds() - cpu,
        "by_entity": by_entity,
    }


async def _answer(records: int) -> None:
    """For every line of the input, call the functions for all records and print what was measured, as JSON."""
    world, functions = world_of(records), load_functions(ROOT)
    messages = {entity: bodies(world, entity) for entity in FUNCTIONS}
    while await asyncio.to_thread(sys.stdin.readline):
        prepared = {entity: list(batches(functions[name], messages[entity])) for entity, name in FUNCTIONS.items()}
        sys.stdout.write(json.dumps(await _call_all(functions, prepared)) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Run the functions in this process, whenever asked."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m local.bench.engine", description=__doc__)
    parser.add_argument("--records", type=int, required=True)
    asyncio.run(_answer(parser.parse_args().records))
    # The app has no end of its own: the platform kills its workers. So does this.
    os._exit(0)


if __name__ == "__main__":
    main()
