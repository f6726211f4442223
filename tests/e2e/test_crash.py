"""The Functions host is killed (SIGKILL) in the middle of its work and started again: nothing lost, nothing twice.

Killed before and after a write to Marketo, it is in test_one_human.py, and during a write in test_fault_matrix.py.
"""

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator

from local.harness import Made, Rows, System, eventually
from local.harness.system import OBJECTS, body_of

COMPANIES = "/rest/v1/companies.json"


async def answered(system: System, path: str, verb: str) -> int:
    """How many calls of this kind Marketo has answered."""
    stats = await system.marketo("/stats")
    return int(sum(stats["calls"].get(path, {}).get(verb, {}).values()))


async def crash_and_restart(system: System) -> None:
    await system.stack.kill_functions()
    await system.stack.start_functions()


@contextlib.asynccontextmanager
async def halted(system: System, part: str) -> AsyncIterator[None]:
    """Let a part of the stack stand still: who calls it waits."""
    pid = system.stack.parts[part].pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def each_once(system: System, rows: Rows) -> None:
    """Wait until every row is in Marketo, and see that nothing is there twice, left over or dead-lettered."""
    await system.synced(*rows, seconds=40)
    await system.nothing_parked(seconds=20)
    await system.broker.idle(seconds=40)
    for table in {made.table for made in rows}:
        name, key = OBJECTS[table]
        times = Counter(record.get(key) for record in await system.marketo(f"/records/{name}"))
        assert {made.id: times[made.id] for made in rows if times[made.id] > 1} == {}
    assert not await system.broker.dead_letters()
    assert {name: counts.dead for name, counts in (await system.broker.counts()).items() if counts.dead} == {}


def people(rows: Rows, count: int = 12) -> list[Made]:
    seller = rows.user()
    account = rows.account(seller)
    return [rows.contact(account, seller) for _ in range(count)]


async def test_while_routing(system: System, rows: Rows) -> None:
    persons = people(rows)
    await system.seed(rows)
    await system.stack.kill_functions()
    # A new host first asks Dataverse which organisation it serves.
    await system.dataverse("/faults", [{"match": "WhoAmI", "status": "hang"}])
    await system.stack.start_functions()
    await system.notify(*persons)
    await eventually(system.dataverse_faults, lambda faults: not faults, what="the hanging question")
    await crash_and_restart(system)
    await each_once(system, rows)


async def test_while_parking(system: System, rows: Rows) -> None:
    persons = people(rows)
    await system.seed(rows)
    await system.fault("hold", gate="a look for parents", path=COMPANIES, verb="GET")
    await system.notify(*persons)
    await system.held("a look for parents")
    async with halted(system, "azurite"):
        # Once the look is answered, the children meet a store that does not answer.
        await system.let_go("a look for parents", count=1)
        await system.stack.kill_functions()
    await system.stack.start_functions()
    await each_once(system, rows)


async def test_while_releasing(system: System, rows: Rows) -> None:
    persons = people(rows, 110)
    seller, account = rows.made[:2]
    await system.save(rows, seller)
    await system.synced(seller)
    before = await answered(system, COMPANIES, "POST")
    await system.fault("hang", path=COMPANIES, verb="POST", when="after", seconds=1.5)
    await system.notify(*persons)
    await system.synced(account)
    async with halted(system, "azurite"):
        # Once the parent's upsert is answered, its release meets a store that does not answer.
        await eventually(lambda: answered(system, COMPANIES, "POST"), lambda now: now > before, what="the answer")
        await system.stack.kill_functions()
    await system.stack.start_functions()
    await each_once(system, rows)


async def test_again_and_again_in_a_burst(system: System) -> None:
    chance = random.Random(20)  # noqa: S311  (moments, the same in every run)
    rows = Rows()
    sellers = [rows.user() for _ in range(5)]
    accounts = [rows.account(chance.choice(sellers)) for _ in range(10)]
    for _ in range(160):
        rows.contact(chance.choice(accounts), chance.choice(sellers))
    for _ in range(25):
        rows.opportunity(chance.choice(accounts), chance.choice(sellers))
    await system.seed(rows)
    messages = [body_of(made) for made in rows]
    chance.shuffle(messages)
    await system.broker.post("changes", messages)
    for _ in range(2):
        await asyncio.sleep(chance.uniform(0.0, 2.0))  # a crash comes at no moment that a test could wait for
        await crash_and_restart(system)
    await each_once(system, rows)


async def test_of_each_function_alone_while_the_others_go_on(system: System) -> None:
    functions = ("route_changes", "sync_sales_persons", "sync_companies", "sync_persons")
    rows = Rows()
    for function in functions:
        made = people(rows)
        await system.seed(rows)
        # The parents' messages last: everybody has to wait for what the killed function does.
        await system.notify(*made, *(row for row in rows if row.table in {"account", "systemuser"}))
        await system.stack.kill_functions(function=function)
        await system.broker.fault("lose-locks", system.broker.queue("changes"))
        await system.stack.start_functions(function=function)
    await each_once(system, rows)
