"""An organisation that was never synced equals Marketo after a run in the middle of which the app is killed."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from local.harness import System, eventually, running_system
from local.world import Size, World, build, expect, verify
from local.world.model import SYNCED_TABLES
from shared.azure.table import Account
from shared.config.settings import StorageSettings
from shared.sync.runs.model import Run, RunKind, RunState, Scope, new_run
from shared.sync.runs.page import IN_MARKETO, SKIPPED
from shared.sync.runs.store import Runs
from tests.e2e.conftest import ENVIRONMENT, LIMITS

SMALL = Size(users=10, accounts=8, persons=80, opportunities=20, connections=40)
EVERY_FEW_SECONDS = {"RUN_SCHEDULE": "*/3 * * * * *"}
ENTITIES = ("sales_person", "company", "person", "opportunity", "opportunity_role")
SECONDS = 900.0


@dataclass
class Organisation:
    """A stack of its own, an organisation in its Dynamics that was never synced, and its runs."""

    system: System
    world: World
    runs: Runs

    async def start(self) -> Run:
        """Start a run of everything."""
        run = new_run(RunKind.INITIAL_SYNC, Scope(tuple(SYNCED_TABLES)), _now(), unique=uuid4().hex)
        await self.runs.create(run)
        return run

    async def complete(self, run: Run) -> Run:
        """Wait until a run is over; what is to be tried later is tried soon."""
        deadline = time.monotonic() + SECONDS
        while True:
            found = await self.runs.read(run.id)
            assert found
            if found.is_over:
                return found
            assert time.monotonic() < deadline, (found, await self.runs.totals(run.id))
            if any(count.scheduled for count in (await self.system.broker.counts()).values()):
                for name in ENTITIES:
                    await self.system.broker.fault("hurry", self.system.broker.queue(name))
            await asyncio.sleep(0.5)  # until the next look

    async def equals_marketo(self) -> None:
        """Compare both sides record by record."""
        await self.system.broker.idle(seconds=120)
        await self.system.nothing_parked()
        report = await verify(expect(self.world), self.system.endpoints)
        assert list(report.differences()) == []
        assert await self.system.broker.dead_letters() == []
        stats = await self.system.marketo("/stats")
        assert not stats["duplicates"]["leads"]["externalPersonId"]

    async def calls(self) -> int:
        """Calls to Marketo so far."""
        return int((await self.system.marketo("/stats"))["calls_total"])


@pytest.fixture
async def organisation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Organisation]:
    world = build(23, SMALL, troubles=False)
    options: dict[str, Any] = {"marketo": LIMITS, "functions_environment": ENVIRONMENT | EVERY_FEW_SECONDS}
    async with running_system(tmp_path_factory.mktemp("runs"), **options) as system:
        await system.dataverse("/seed", world.seed_body())
        connection = system.endpoints["storage"]["connection_string"]
        storage = StorageSettings.model_validate({"AzureWebJobsStorage": connection})
        account = Account(storage)
        yield Organisation(system, world, Runs(account.table(storage.state_table), now=_now))
        await account.close()


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


async def test_after_a_run_marketo_equals_an_organisation_that_was_never_synced(organisation: Organisation) -> None:
    system = organisation.system
    run = await organisation.start()
    for calls in (2, 8):
        await eventually(organisation.calls, lambda made, calls=calls: made >= calls, seconds=150, what="calls")  # type: ignore[misc]
        await system.stack.kill_functions()
        await system.stack.start_functions()
    run = await organisation.complete(run)
    assert run.state is RunState.COMPLETE
    await organisation.equals_marketo()
    totals = await organisation.runs.totals(run.id)
    rows = {table: len(organisation.world.rows[table]) for table in SYNCED_TABLES}
    own_users = totals["systemuser"].total() - rows["systemuser"]  # of Dynamics itself
    assert {table: counts.total() for table, counts in totals.items()} == rows | {
        "systemuser": rows["systemuser"] + own_users
    }
    assert 0 <= own_users < 5
    for table, counts in totals.items():
        assert all(state in IN_MARKETO or state.startswith(SKIPPED) for state in counts), (table, counts)
    missing = [each async for page in organisation.runs.not_in_marketo(run.id) for each in page]
    skipped = sum((counts for counts in totals.values()), Counter[str]())
    assert len(missing) == sum(number for state, number in skipped.items() if state not in IN_MARKETO)
