"""Neighbours that are away when a host starts, or when records must wait: everything arrives when they are back.

What happens to records on their way is in test_fault_matrix.py.
"""

import asyncio
from datetime import UTC, datetime, timedelta

from azure.servicebus.aio import ServiceBusClient

from local.harness import Made, Rows, System, eventually
from shared.azure.receiver import Message
from shared.cli.peek import Place, peek

ENTITIES = ("sales_person", "company", "person")


def family(rows: Rows) -> list[Made]:
    seller = rows.user()
    account = rows.account(seller)
    return [rows.contact(account, seller) for _ in range(10)]


async def waits_for_later(system: System, queue: str) -> None:
    """Wait until the broker keeps something of this queue for later."""

    async def look() -> int:
        return (await system.broker.counts())[system.broker.queue(queue)].scheduled

    await eventually(look, seconds=60, what=f"a message of {queue} that is to come later")


async def arrive(system: System, rows: Rows) -> None:
    """Wait until everything is in Marketo; what is to be tried again later is tried now."""
    arrived = asyncio.create_task(system.synced(*rows, seconds=60))
    while not arrived.done():
        for name, counts in (await system.broker.counts()).items():
            if counts.scheduled:
                await system.broker.hurry(name)
        await asyncio.wait({arrived}, timeout=0.5)
    await arrived
    await system.nothing_parked()
    assert not await system.broker.dead_letters()
    assert {name: counts.dead for name, counts in (await system.broker.counts()).items() if counts.dead} == {}


async def test_storage_is_away_when_children_must_wait_and_are_to_be_released(system: System, rows: Rows) -> None:
    first, second = family(rows), family(rows)
    await system.seed(rows)
    await system.fault("hold", gate="parent", path="/rest/v1/companies.json", verb="POST", when="after")
    await system.notify(*first)
    await system.held("parent")
    await system.stack.stop_part("azurite")
    await system.let_go("parent")  # the parent's upsert is answered, and its children are to be released
    await system.notify(*second)
    await waits_for_later(system, "company")
    await waits_for_later(system, "person")
    await system.stack.start_part("azurite")
    await arrive(system, rows)


async def in_session(system: System, queue: str) -> list[Message]:
    """The messages of an entity's queue, in any state; nobody else may be at work on it."""
    client = ServiceBusClient.from_connection_string(system.endpoints["service_bus"]["connection_string"])
    async with client:
        return [message async for page in peek(client, Place(system.broker.queue(queue), queue)) for message in page]


async def test_a_wrong_clock_starts_while_storage_is_away(system: System, rows: Rows) -> None:
    """Storage would tell it the time. What it puts off comes as soon as if its clock were right."""
    contacts = family(rows)
    await system.seed(rows)
    await system.stack.kill_functions()
    await system.stack.stop_part("azurite")
    began = datetime.now(UTC)
    await system.stack.start_functions("wrong", clock_offset=2 * 3600)
    await system.notify(*contacts)
    await waits_for_later(system, "person")
    await system.stack.kill_functions("wrong")
    due = [message.due - began for message in await in_session(system, "person") if message.due]
    assert due
    assert timedelta(seconds=60) <= min(due) <= max(due) <= datetime.now(UTC) - began + timedelta(seconds=60)
    await system.stack.start_part("azurite")
    await system.stack.start_functions()
    await arrive(system, rows)


async def test_dataverse_is_away_when_a_host_starts(system: System, rows: Rows) -> None:
    contacts = family(rows)
    await system.seed(rows)
    await system.stack.kill_functions()
    await system.dataverse("/faults", [{"match": "/api/data", "status": 503, "times": 10_000}])
    await system.stack.start_functions()
    await system.notify(*contacts)
    await waits_for_later(system, "changes")
    await system.dataverse("/faults", [])
    await arrive(system, rows)


async def test_credentials_are_refused_when_a_host_starts(system: System, rows: Rows) -> None:
    contacts = family(rows)
    await system.seed(rows)
    await system.stack.kill_functions()
    await system.dataverse("/switches", {"sign_in_errors": {system.endpoints["dataverse"]["username"]: 50126}})
    await system.stack.start_functions()
    await system.notify(*contacts)
    await waits_for_later(system, "changes")
    refused = (await system.dataverse("/stats"))["refused_sign_ins"]
    assert refused == 1  # asking again would lock the account
    await system.dataverse("/switches", {"sign_in_errors": {}})
    await system.stack.kill_functions()
    await system.stack.start_functions()
    await arrive(system, rows)
