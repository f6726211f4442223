"""Changes of which no notification tells: one search later Marketo is as Dynamics, at few calls."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from local.harness import Rows, System, running_system
from local.harness.showing import settings_of, way_to
from local.world import Size, World, build, expect, verify
from local.world.model import LOOKUP_TABLE, Reference, lookup
from shared.cli.context import Context
from shared.dataverse.client import API
from shared.model.entities import TABLES

SIZE = Size(users=10, accounts=12, persons=90, opportunities=24, connections=44)
#: Timers run when a test asks for it.
ENVIRONMENT = {
    "RELEASE_SCHEDULE": "0 0 0 1 1 *",
    "RECONCILE_SCHEDULE": "0 0 0 1 1 *",
    "WRITE_BACK_SCHEDULE": "0 0 0 1 1 *",
    "BURST_WINDOW_SECONDS": "3",
    "MARKETO_CALLS_PER_20_SECONDS": "100",
}


def own_config(directory: Path) -> Path:
    """The default sync.toml, but persons are deleted."""
    text = Path("sync.toml").read_text(encoding="utf-8")
    config = directory / "own.toml"
    config.write_text(text.replace('# person = "unlink"', 'person = "delete" #', 1), encoding="utf-8")
    return config


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """A stack without any registered step."""
    directory = tmp_path_factory.mktemp("missed_changes")
    environment = {**ENVIRONMENT, "SYNC_CONFIG": str(own_config(directory))}
    async with running_system(
        directory / "stack", functions_environment=environment, queues={"dynamics-changes": {"lock_seconds": 5}}
    ) as running:
        yield running


async def search(system: System) -> None:
    """One run of the timer, and what follows from it."""
    await system.run_timer(function="reconcile_changes")
    await system.broker.idle(seconds=120)


async def calls(system: System) -> int:
    """Marketo's calls so far, but for the look at its quota."""
    stats = await system.marketo("/stats")
    return sum(
        sum(by_result.values())
        for path, by_method in stats["calls"].items()
        for by_result in by_method.values()
        if "/stats/" not in path and "identity" not in path
    )


def leaves(world: World, table: str) -> list[str]:
    """Rows of a table to which no other row refers."""
    named = {
        value
        for rows in world.rows.values()
        for row in rows.values()
        for name, value in row.items()
        if name.endswith("_value")
    }
    return sorted(world.rows[table].keys() - named)


def taken_out(world: World, rows: Iterable[Reference]) -> World:
    """Take rows out of the world; of a connection the mirrored row too. Gives them as a world of their own."""
    out = World(world.seed, world.size)
    for table, id_ in rows:
        row = world.rows[table].pop(id_)
        out.rows[table][id_] = row
        if mirror := row.get("_relatedconnectionid_value"):
            out.rows[table][mirror] = world.rows[table].pop(mirror)
    return out


async def delete(system: System, rows: Iterable[Reference]) -> None:
    with way_to(system):
        context = Context(settings_of(system))
        for table, id_ in rows:
            await context.dataverse.write("DELETE", f"{API}/{TABLES[table][1].entity_set}({id_})")
        await context.close()


def masters(world: World) -> list[Reference]:
    return [("connection", id_) for id_, row in sorted(world.rows["connection"].items()) if row["ismaster"]]


def edited(world: World, chance: random.Random) -> World:
    """Another day: names change, contacts change their account, deals their amount. Gives the edited rows."""
    changed = World(world.seed, world.size)
    accounts = sorted(world.rows["account"])
    for table, share in (("account", 0.5), ("contact", 0.5), ("lead", 0.5), ("opportunity", 0.5)):
        for id_, row in sorted(world.rows[table].items()):
            if chance.random() > share:
                continue
            if table == "account":
                row["name"] = f"{row['name']} & Sons"
            elif table == "opportunity":
                row["estimatedvalue"] = float(chance.randrange(1_000, 9_000))
            else:
                row["lastname"] = f"{row['lastname']}-New"
                row["fullname"] = f"{row.get('firstname') or ''} {row['lastname']}".strip()
            parent = row.get("_parentcustomerid_value" + LOOKUP_TABLE) if table == "contact" else None
            if parent == "account" and chance.random() < 0.3:
                row.update(lookup("parentcustomerid", "account", chance.choice(accounts)))
            changed.rows[table][id_] = row
    return changed


async def test_after_a_day_without_notifications_one_search_makes_both_sides_equal(own: System) -> None:
    world = build(7, SIZE, troubles=False)
    leads, connections = [("lead", id_) for id_ in leaves(world, "lead")], masters(world)
    later = taken_out(world, [*connections[:6], *leads[:6]])
    await own.dataverse("/seed", world.seed_body())

    await search(own)
    assert await calls(own) == 0, "the first pass sends nothing"
    await _announce(own, world)
    assert await _differences(own, world) == []

    before = await calls(own)
    await search(own)
    assert await calls(own) - before == 0, "what the sync has just read was sent again"

    doomed = [*connections[6:12], *leads[6:10]]
    await delete(own, doomed)
    taken_out(world, doomed)
    changed = edited(world, random.Random(7))  # noqa: S311  (a test's choices)
    for table, rows in later.rows.items():
        world.rows[table] |= rows
        changed.rows[table] |= rows
    await own.dataverse("/seed", changed.seed_body())
    assert await _differences(own, world) != []

    await search(own)
    assert await _differences(own, world) == []
    left = await own.records("lead")
    assert not [id_ for table, id_ in doomed if table == "lead" and id_ in left]
    before = await calls(own)
    await search(own)
    assert await calls(own) - before == 0
    assert not await own.broker.dead_letters()


async def _differences(system: System, world: World) -> list[str]:
    return list((await verify(expect(world), system.endpoints)).differences())


async def _announce(system: System, world: World) -> None:
    """The initial sync: a notification of each row."""
    made = Rows()
    for table, id_ in world.synced():
        if table != "connection" or world.rows[table][id_]["ismaster"]:
            row = made.add(table, **world.rows[table][id_])
            object.__setattr__(row, "id", id_)
    await system.notify(*made)
    await system.broker.idle(seconds=180)


async def test_a_thousand_rows_that_differ_cost_four_calls_and_those_that_were_synced_none(own: System) -> None:
    rows = Rows()
    account = rows.account()
    persons = [rows.contact(account) for _ in range(1300)]
    await own.seed(rows)
    await own.notify(account, *persons)
    await own.broker.idle(seconds=180)
    await search(own)
    for person in persons:
        person.values["lastname"] = f"{person.values['lastname']}-New"
    await own.dataverse("/seed", {"contact": [person.row() for person in persons]})
    await own.notify(*persons[1000:])
    await own.broker.idle(seconds=120)
    before, received = await calls(own), await own.received("contact")
    await search(own)
    assert await own.received("contact") - received == 1000
    assert await calls(own) - before <= 4
    records = await own.records("contact", of=persons)
    assert all(records[person.id]["lastName"].endswith("-New") for person in persons)


async def test_a_process_that_is_killed_between_two_tables_loses_nothing(own: System) -> None:
    rows = Rows()
    account = rows.account()
    contact = rows.contact(account)
    await own.save(rows, account, contact)
    await own.synced(account, contact)
    await own.broker.idle()
    await search(own)
    account.values["name"], contact.values["lastname"] = "Another", "Another"
    await own.seed(rows)
    await own.dataverse("/faults", {"match": "contacts.*deltatoken", "status": "hold", "gate": "contacts"})
    begun = asyncio.create_task(own.run_timer(function="reconcile_changes", expect=None))
    await own.held("contacts", part="dataverse")
    await own.stack.kill_functions()
    await asyncio.gather(begun, return_exceptions=True)
    await own.forget_faults()
    await own.stack.start_functions()
    await search(own)
    await own.changed(account, company="Another")
    await own.changed(contact, lastName="Another")


async def test_a_link_that_is_too_old_sends_what_is_new_and_nothing_else(own: System) -> None:
    rows = Rows()
    contact = rows.contact()
    await own.save(rows, contact)
    await own.synced(contact)
    await own.broker.idle()
    await search(own)
    contact.values["lastname"] = "Later"
    await own.seed(rows)
    before = await own.received("contact")
    await own.dataverse("/switches", {"change_tracking_days": 0.0})
    await search(own)
    await own.dataverse("/switches", {"change_tracking_days": 7.0})
    await own.changed(contact, lastName="Later")
    assert await own.received("contact") - before == 1
