"""This app's share of Marketo's day on a running stack of two hosts: it stops there, loses nothing, and goes on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.harness import Made, Rows, System, eventually, running_system
from shared.azure.shared_state import State
from shared.azure.table import Account
from shared.config.settings import StorageSettings
from shared.marketo.quota import LARGEST_BLOCK

SHARE = 40
ENVIRONMENT = {
    "RELEASE_SCHEDULE": "0 0 0 1 1 *",
    "TRICKLE_SECONDS": "0",
    "MARKETO_CALLS_PER_20_SECONDS": "100",
    "MARKETO_DAILY_CALLS": "100",
    "MARKETO_DAILY_SHARE": str(SHARE / 100),
    "AzureFunctionsJobHost__extensions__serviceBus__sessionIdleTimeout": "00:00:01",
}


@pytest.fixture(scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with running_system(tmp_path_factory.mktemp("budget"), functions_environment=ENVIRONMENT) as running:
        await running.stack.start_functions("b")
        yield running


async def ledger(system: System) -> dict[str, Any]:
    connection = system.endpoints["storage"]["connection_string"]
    account = Account(StorageSettings.model_validate({"AzureWebJobsStorage": connection}))
    try:
        return await State(account.table(account.settings.state_table)).read("budget", "marketo")
    finally:
        await account.close()


async def calls_today(system: System) -> int:
    return int((await system.marketo("/limits"))["used_today"])


async def nothing_active(system: System) -> None:
    async def look() -> int:
        return sum(counts.active for counts in (await system.broker.counts()).values())

    await eventually(look, lambda active: active == 0, seconds=30, what="queues in which nothing is to be done now")


async def arrived_or_closed(system: System, row: Made) -> bool:
    return bool((await ledger(system)).get("closed")) or await system.record(row) is not None


async def change_until_closed(system: System, rows: list[Made]) -> int:
    """Change one row after another, each when the last has arrived, until the budget is closed. Gives their number."""
    for number, row in enumerate(rows, start=1):
        await system.notify(row)
        await eventually(lambda: arrived_or_closed(system, row), what="a record, or the end of the share")  # noqa: B023
        if (await ledger(system)).get("closed"):
            return number
    raise AssertionError(f"{len(rows)} changes have not used up the share")


async def test_the_share_of_the_day_is_where_it_stops_and_raised_it_goes_on(system: System, rows: Rows) -> None:
    seller = rows.user()
    account = rows.account(seller)
    contacts = [rows.contact(account, seller) for _ in range(80)]
    await system.save(rows, seller, account)
    await system.synced(seller, account)

    changed = await change_until_closed(system, contacts)
    await nothing_active(system)
    assert (await ledger(system))["closed"]["code"] == "DayShareSpent"
    spent = await calls_today(system)
    assert SHARE - LARGEST_BLOCK <= spent <= SHARE

    await system.notify(*contacts[changed:])
    await nothing_active(system)
    assert await calls_today(system) <= SHARE
    assert len(await system.records("contact")) <= changed
    counts = await system.broker.counts()
    assert counts[system.broker.queue("person")].scheduled > 0
    assert {name: count.dead for name, count in counts.items() if count.dead} == {}
    assert not await system.broker.dead_letters()
    assert not await system.parked()

    for name in ("a", "b"):
        await system.stack.kill_functions(name)
    system.stack._functions_environment["MARKETO_DAILY_SHARE"] = "1"
    await system.stack.start_functions("c")
    arrived = asyncio.create_task(system.synced(*rows, seconds=30))
    while not arrived.done():
        await system.broker.hurry(system.broker.queue("person"))
        await asyncio.wait({arrived}, timeout=0.5)
    await arrived
    assert not await system.broker.dead_letters()
