"""A parent with very many children: all are released, and the worker's memory does not grow with their number."""

import os
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from azure.data.tables.aio import TableClient

from local.harness import Rows, System

#: Azurite takes seconds for a thousand rows. By hand, E2E_CHILDREN=100000 shows that memory does not follow the number.
CHILDREN = int(os.environ.get("E2E_CHILDREN", "1200"))
GROWTH_BYTES = 30 * 1024 * 1024
WAIT = 60 + CHILDREN / 50


async def park(table: TableClient, parent: str, children: list[str]) -> None:
    """Write the rows of children that wait for an account, and the note that it was asked for."""
    now = datetime.now(UTC)
    record: dict[str, Any] = {"Entity": "person", "FirstSeen": now, "Correlation": "", "Attempt": 0}
    record |= {"Requested": False, "Since": now}
    await table.upsert_entity(
        {"PartitionKey": "company", "RowKey": f"!{parent}", "Table": "account", "Since": now, "NextCheck": now}
        | {"Checks": 0, "Leaving": False}
    )
    for start in range(0, len(children), 100):
        keys = [f"{parent}|contact|{child}" for child in children[start : start + 100]]
        rows = [{"PartitionKey": "company", "RowKey": key, **record} for key in keys]
        await table.submit_transaction([("upsert", row) for row in rows])


async def test_they_are_released_in_bounded_memory(system: System, rows: Rows) -> None:
    seller = rows.user()
    account = rows.account(seller)
    people = [rows.contact(account, seller) for _ in range(100)]  # the rest is not in Dynamics (any more)
    children = [*(made.id for made in people), *(str(uuid4()) for _ in range(CHILDREN - len(people)))]
    await system.save(rows, seller)
    await system.synced(seller)
    await system.broker.idle()
    await system.have_table()
    async with system.table() as table:
        await park(table, account.id, sorted(children))
    await system.reset_host_stats()
    before = (await system.host_stats())["worker"]["peak_rss_bytes"]
    await system.notify(account)
    await system.synced(account)
    await system.nothing_parked(seconds=WAIT)
    await system.broker.hurried("person", seconds=WAIT)
    assert len(await system.synced(*people)) == len(people)
    stats = await system.host_stats()
    assert stats["functions"]["sync_persons"]["messages"] >= CHILDREN / 100
    assert stats["worker"]["peak_rss_bytes"] - before < GROWTH_BYTES
    assert not await system.broker.dead_letters()
