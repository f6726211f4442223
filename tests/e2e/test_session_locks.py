"""A session's lock runs out under steady load, in the middle of a batch: the lease keeps one writer all the same."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from local.harness import Made, Rows, System, eventually, running_system
from tests.e2e.conftest import ENVIRONMENT, LIMITS

LEADS = "/rest/v1/leads.json"
#: The lock starts when the session is accepted, nobody renews it, and the host keeps the session over many batches.
LOCK_SECONDS = 6
#: Ten batches, each one call of Marketo.
PERSONS = 320


@pytest.fixture(scope="module")
async def hosts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with running_system(
        tmp_path_factory.mktemp("locks"),
        marketo=LIMITS,
        functions_environment={**ENVIRONMENT, "MARKETO_LONGEST_CALL_SECONDS": "60"},
        queues={"persons": {"lock_seconds": LOCK_SECONDS}},
    ) as running:
        await running.stack.start_functions("b")
        yield running


def messages(people: list[Made]) -> list[bytes]:
    """One for each person: what comes in a batch is one call of Marketo."""
    seen = datetime.now(UTC).isoformat()
    records = [{"table": made.table, "id": made.id, "seen": seen} for made in people]
    return [json.dumps({"version": 1, "entity": "person", "records": [record]}).encode() for record in records]


async def lost_locks(system: System) -> int:
    """How often a host ended a batch whose messages it could not settle any more."""
    logs = [system.stack.parts[f"functions-{name}"].log.read_text() for name in ("a", "b")]
    return sum(log.count("queue persons: not all of") for log in logs)


async def invocations(system: System) -> dict[str, int]:
    """How often sync_persons has begun on each host."""
    return {name: (await system.host_stats(name))["functions"]["sync_persons"]["invocations"] for name in ("a", "b")}


async def outlive_the_lock(system: System, gate: str) -> None:
    """Hold a call at a gate until the other host has taken over the session of its batch; it waits for the lease."""
    await system.held(gate)
    before = await invocations(system)
    await eventually(lambda: invocations(system), lambda now: now != before, seconds=60, what="a session taken over")
    await system.let_go(gate)


async def test_no_key_is_in_two_calls_at_once_and_nothing_is_lost(hosts: System, rows: Rows) -> None:
    seller = rows.user()
    people = [rows.contact(None, seller) for _ in range(PERSONS)]
    await hosts.seed(rows)
    await hosts.notify(seller)
    await hosts.synced(seller)
    await hosts.broker.idle()
    await hosts.marketo("/stats/reset", {})
    await hosts.let_go("first two")
    await hosts.fault("hold", gate="first two", path=LEADS, verb="POST", count=2)
    await hosts.fault("hold", gate="third", path=LEADS, verb="POST")
    # The whole load at once: the queue is not empty until the end.
    await hosts.broker.post("person", messages(people), session="person")
    await outlive_the_lock(hosts, "third")
    await hosts.synced(*people, seconds=60)
    await hosts.broker.idle(seconds=60)
    assert await lost_locks(hosts) >= 1  # else this test has tested nothing
    both = await invocations(hosts)
    assert all(both.values()), both
    stats = await hosts.marketo("/stats")
    assert stats["peak_writes"]["leads"] == 1
    assert not stats["duplicates"]["leads"]["externalPersonId"]
    assert not await hosts.broker.dead_letters()
    assert len(await hosts.records("contact")) == PERSONS


async def test_a_session_taken_by_another_host_continues_after_its_holder(hosts: System, rows: Rows) -> None:
    """The one that lost the session in the middle of a call; the other one waits for the lease, not for the lock."""
    people = [rows.contact(None, None) for _ in range(3)]
    await hosts.seed(rows)
    await hosts.marketo("/stats/reset", {})
    lost = await lost_locks(hosts)
    await hosts.fault("hold", gate="only", path=LEADS, verb="POST")
    await hosts.broker.post("person", messages(people), session="person")
    await outlive_the_lock(hosts, "only")
    await eventually(lambda: lost_locks(hosts), lambda now: now > lost, what="a lost lock")
    await hosts.synced(*people, seconds=60)
    await hosts.broker.idle(seconds=60)
    stats = await hosts.marketo("/stats")
    assert stats["peak_writes"]["leads"] == 1
    assert not stats["duplicates"]["leads"]["externalPersonId"]


@pytest.mark.parametrize(("gate", "contains"), [("look", "filterType=email"), ("adoption", '"lookupField": "id"')])
async def test_of_two_rows_with_one_address_on_two_hosts_one_adopts(
    hosts: System, rows: Rows, gate: str, contains: str
) -> None:
    """The second host has both rows, while the first one is about to adopt, or in the middle of it."""
    first, second = rows.contact(None, None), rows.contact(None, None)
    address = second.values["emailaddress1"] = first.values["emailaddress1"]
    await hosts.seed(rows)
    (number,) = (await hosts.marketo("/seed", {"leads": [{"email": address}]}))["leads"]
    await hosts.fault("hold", gate=gate, path=LEADS, contains=contains)
    await hosts.broker.post("person", messages([first]), session="person")
    await hosts.held(gate)
    await hosts.broker.post("person", messages([second]), session="person")
    await outlive_the_lock(hosts, gate)
    await hosts.synced(first, second)
    await hosts.broker.idle(seconds=60)
    found = [record for record in await hosts.marketo("/records/leads") if record.get("email") == address]
    assert sorted(record["externalPersonId"] for record in found) == sorted([first.id, second.id])
    assert {record["id"]: record["externalPersonId"] for record in found}[number] == first.id
    assert not await hosts.broker.dead_letters()
