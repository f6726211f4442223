"""An organisation compared by `msisync reconcile`: what was changed in Marketo is named exactly, and brought back.

So is what was changed in Dynamics while all notifications were lost, also when the app is killed meanwhile.
"""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from emulators.marketo.objects import COMPANIES, LEADS, OPPORTUNITIES, ROLES, SALES_PERSONS
from local.harness import System, eventually, running_system
from local.harness.commands import Ended, run_here
from local.harness.showing import way_to
from local.world import Size, World, build, expect, verify
from tests.e2e.conftest import ENVIRONMENT, LIMITS

SMALL = Size(users=10, accounts=8, persons=80, opportunities=20, connections=40)
PERSON, COMPANY, SELLER = "externalPersonId", "externalCompanyId", "externalSalesPersonId"
DEAL = "externalOpportunityId"
EVERY_FEW_SECONDS = {"RUN_SCHEDULE": "*/3 * * * * *"}
ENTITIES = ("sales_person", "company", "person", "opportunity", "opportunity_role")


@pytest.fixture(scope="module")
async def organisation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[System, World]]:
    """A stack of its own, whose organisation was never synced when the first test begins."""
    world = build(11, SMALL, troubles=False)
    directory, environment = tmp_path_factory.mktemp("reconcile"), ENVIRONMENT | EVERY_FEW_SECONDS
    async with running_system(directory, marketo=LIMITS, functions_environment=environment) as system:
        await system.dataverse("/seed", world.seed_body())
        yield system, world


async def reconcile(system: System, *words: str) -> Ended:
    with way_to(system):
        return await run_here(system.stack.settings_file, "reconcile", *words, "--json")


async def swept(system: System) -> Any:
    """What the write-back's sweep has counted, as `msisync status` gives it."""
    with way_to(system):
        swept = await run_here(system.stack.settings_file, "write-back", "run", "--sweep", "--json")
        assert swept.code in (0, 1), swept
        return (await run_here(system.stack.settings_file, "status", "--json")).json["write_back"]["drift"]


async def settled(system: System) -> None:
    await system.broker.idle(seconds=120)
    await system.nothing_parked()
    assert not await system.broker.dead_letters()


async def patch(system: System, what: str, **values: Any) -> None:
    """Somebody changes a record in Marketo."""
    url = f"{system.stack.control()['marketo']}/records/{what}"
    (await system.http.patch(url, json=[values])).raise_for_status()


def found(ended: Ended) -> set[tuple[str, str, str, tuple[str, ...]]]:
    """Table, kind, id and fields of all differences."""
    return {
        (each["table"], kind, each["id"], tuple(each["fields"]))
        for kind, those in ended.json["differences"].items()
        for each in those
    }


async def test_what_differs_is_named_exactly_and_sent(organisation: tuple[System, World]) -> None:
    system, world = organisation
    first = await reconcile(system, "--apply")
    assert (first.code, first.json["applied"], first.json["state"]) == (0, True, "complete"), first
    assert {kind for kind, count in first.json["counts"].items() if count} <= {"missing", "parent_missing"}
    await settled(system)
    equal = await reconcile(system)
    assert (equal.code, found(equal)) == (0, set()), equal
    assert equal.json["compared"] > 140

    people, companies = await system.marketo(f"/records/{LEADS}"), await system.marketo(f"/records/{COMPANIES}")
    deals, roles = await system.marketo(f"/records/{OPPORTUNITIES}"), await system.marketo(f"/records/{ROLES}")
    with_role = {role["leadId"] for role in roles}
    contacts = [p for p in people if p.get(PERSON) in world.rows["contact"] and p["id"] not in with_role]
    changed, gone, doubled = contacts[:3]
    strayed = next(p for p in contacts[3:] if p.get(COMPANY))
    ownerless = next(p for p in contacts[3:] if p.get(SELLER) and p is not strayed)
    elsewhere = next(c[COMPANY] for c in companies if c[COMPANY] != strayed[COMPANY])
    await patch(system, LEADS, id=changed["id"], firstName="By hand", doNotCall=not changed.get("doNotCall"))
    await patch(system, LEADS, id=strayed["id"], externalCompanyId=elsewhere)
    await patch(system, LEADS, id=ownerless["id"], externalSalesPersonId=None)
    await patch(system, COMPANIES, externalCompanyId=companies[0][COMPANY], annualRevenue=7)
    await patch(system, OPPORTUNITIES, externalOpportunityId=deals[0][DEAL], name="By hand")
    role = next(role for role in roles if not role.get("isPrimary"))
    lost = [{"marketoGUID": role["marketoGUID"]}]
    await system.marketo("/delete", {LEADS: [{"id": gone["id"]}], ROLES: lost})
    (twin,) = (await system.marketo("/seed", {LEADS: [{PERSON: doubled[PERSON], "email": "twin@x.example"}]}))[LEADS]
    named = await reconcile(system)
    assert named.code == 1
    # Several connections may give one role.
    connections = {each["id"] for each in named.json["differences"]["missing"] if each["table"] == "connection"}
    assert {world.rows["connection"][id_]["_record1id_value"] for id_ in connections} == {role[DEAL]}
    assert found(named) == {
        ("contact", "differing", changed[PERSON], ("doNotCall", "firstName")),
        ("contact", "linked_wrongly", strayed[PERSON], (COMPANY,)),
        ("contact", "linked_wrongly", ownerless[PERSON], (SELLER,)),
        ("contact", "missing", gone[PERSON], ()),
        ("contact", "duplicate", doubled[PERSON], ()),
        ("account", "differing", companies[0][COMPANY], ("annualRevenue",)),
        ("opportunity", "differing", deals[0][DEAL], ("name",)),
        *(("connection", "missing", id_, ()) for id_ in connections),
    }
    assert "By hand" not in named.out + named.err
    drift = await swept(system)
    assert (drift["differing"], drift["missing"]) == (1, 1)
    assert drift["fields"] == {"doNotCall": 1, "firstName": 1}

    await system.marketo("/delete", {LEADS: [{"id": twin}]})  # as its administrator merges it
    applied = await reconcile(system, "--apply")
    assert (applied.code, applied.json["sent"]) == (0, 6 + len(connections)), applied
    await settled(system)
    again = await reconcile(system)
    assert (again.code, found(again)) == (0, set()), again
    drift = await swept(system)
    assert (drift["differing"], drift["missing"], drift["compared"]) == (0, 0, len(people))
    sellers = await system.marketo(f"/records/{SALES_PERSONS}")
    assert Counter(map(len, (people, companies, deals, roles))) == Counter(
        [len(await system.marketo(f"/records/{name}")) for name in (LEADS, COMPANIES, OPPORTUNITIES, ROLES)]
    )
    assert len({seller[SELLER] for seller in sellers}) == len(sellers)


async def test_what_no_notification_told_of_is_repaired_though_the_app_is_killed(
    organisation: tuple[System, World],
) -> None:
    system, world = organisation
    assert (await reconcile(system, "--apply")).code == 0
    await settled(system)
    lost = {
        "contact": [{**row, "jobtitle": "Nobody was told"} for row in list(world.rows["contact"].values())[::3]],
        "account": [{**row, "telephone1": "+49 30 1234567"} for row in list(world.rows["account"].values())[::2]],
        "opportunity": [{**row, "name": "Nobody was told"} for row in list(world.rows["opportunity"].values())[::4]],
    }
    await system.dataverse("/seed", lost)
    for table, rows in lost.items():
        world.rows[table] |= {row[f"{table}id"]: row for row in rows}
    with way_to(system):
        started = await run_here(system.stack.settings_file, "reconcile", "--apply", "--no-wait", "--json")
    run = started.json["started"]
    wanted = await calls(system) + 4
    await eventually(lambda: calls(system), lambda made: made >= wanted, seconds=150, what="calls")
    await system.stack.kill_functions()
    await system.stack.start_functions()

    async def over() -> Any:
        for name in ENTITIES:  # what is to be tried later is tried soon
            await system.broker.fault("hurry", system.broker.queue(name))
        with way_to(system):
            return (await run_here(system.stack.settings_file, "reconcile", "status", run, "--json")).json

    seen = await eventually(over, lambda seen: seen["state"] == "complete", seconds=300, what="the run to be complete")
    assert seen["kind"] == "reconcile"
    await settled(system)
    report = await verify(expect(world), system.endpoints)
    assert list(report.differences()) == []
    with way_to(system):
        told = await run_here(system.stack.settings_file, "reconcile", "report", run, "--json")
    assert told.code == 0, told
    assert {each["id"] for each in told.json["differences"]["differing"]} >= {
        row["contactid"] for row in lost["contact"]
    }
    equal = await reconcile(system)
    assert (equal.code, found(equal)) == (0, set()), equal


async def calls(system: System) -> int:
    """Calls to Marketo so far."""
    return int((await system.marketo("/stats"))["calls_total"])
