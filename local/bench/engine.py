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
from emulators.processes import PARENT_VARIABLE, die_with_parent
from local.bench import BenchError
from local.bench.burst import FULL_SHARE, Report
from local.bench.marketo_side import Calls, calls_of
from local.bench.observer import Observer
from local.bench.population import world_of
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


@dataclass(frozen=True, kw_only=True)
class EngineRun:
    """What the engine took for `records`. Times in seconds; `by_entity` is the wall time of each function."""

    records: int
    seconds: float
    cpu_seconds: float
    by_entity: dict[str, float]
    calls: Calls
    problems: list[str]


async def run_engine(directory: Path, *, records: int, report: Report) -> EngineRun:
    """Run the engine over a world on a stack without host, and verify what arrived. Raises BenchError when it fails."""
    world = world_of(records)
    async with Stack(directory=directory, empty=True, with_functions=False) as stack, Observer(stack) as observer:
        report("seeding Dataverse, calling the functions")
        await observer.seed(world)
        environment = {**stack.addresses.functions_environment(), **FULL_SHARE, PARENT_VARIABLE: str(os.getpid())}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "local.bench.engine", "--records", str(records)),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env=environment,
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise BenchError("the engine failed; its error is above")
        measured = json.loads(output.splitlines()[-1])
        calls = calls_of(await observer.marketo())
        report("reading Marketo back")
        problems = list((await verify(expect(world), stack.addresses.endpoints())).differences())
    return EngineRun(calls=calls, problems=problems, **measured)


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


async def _call_all(functions: dict[str, Function], world: World) -> dict[str, Any]:
    prepared = {entity: list(batches(functions[name], bodies(world, entity))) for entity, name in FUNCTIONS.items()}
    by_entity = {}
    cpu = usage.cpu_seconds()
    began = time.perf_counter()
    for entity, name in FUNCTIONS.items():
        entity_began = time.perf_counter()
        for batch in prepared[entity]:
            await functions[name].call(batch)
        by_entity[entity] = time.perf_counter() - entity_began
    seconds = time.perf_counter() - began
    cpu = usage.cpu_seconds() - cpu
    return {"records": len(world.synced()), "seconds": seconds, "cpu_seconds": cpu, "by_entity": by_entity}


def main() -> None:
    """Run the functions in this process and print what was measured, as JSON."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m local.bench.engine", description=__doc__)
    parser.add_argument("--records", type=int, required=True)
    world = world_of(parser.parse_args().records)
    measured = asyncio.run(_call_all(load_functions(ROOT), world))
    sys.stdout.write(json.dumps(measured) + "\n")
    sys.stdout.flush()
    # The app has no end of its own: the platform kills its workers. So does this.
    os._exit(0)


if __name__ == "__main__":
    main()
