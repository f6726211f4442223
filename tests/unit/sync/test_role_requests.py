"""Which opportunities have their roles sent after them: not each time, and never too rarely."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from local.virtual import MemoryTable, leases
from shared.model.errors import NotNowError
from shared.model.outcome import Deferred, Failed, Later, Outcome, Retry, Skipped, Synced
from shared.model.record import Record
from shared.sync.lease import Sending
from shared.sync.role_requests import RoleRequests
from shared.sync.storms import COVERED
from tests.support.values import NOON, guid

DEAL = Record("opportunity", guid(1), NOON)
CREATED, UPDATED = Synced("created"), Synced("updated")


class Process:
    """One that syncs opportunities, with the lease of them."""

    def __init__(self, table: MemoryTable, name: str) -> None:
        self.sending: Sending = leases(lambda: 0.0, table, instance_id=name).of("opportunity")
        self.requests = RoleRequests(lambda: self.sending.tenure)

    async def sync(self, outcome: Outcome, *, killed: bool = False, record: Record = DEAL) -> list[Record]:
        """The records of roles that follow; `killed`: before they are sent."""
        begun = self.requests.begin([record])
        await self.hold()
        changed, others = self.requests.of(begun, [(record, outcome)])
        if not killed:
            self.requests.end(begun, [(record, outcome)])
        return changed + others

    async def hold(self) -> None:
        async with self.sending.held():
            pass


@pytest.fixture
def table() -> MemoryTable:
    return MemoryTable(seconds=0)


@pytest.fixture
async def process(table: MemoryTable) -> Process:
    """One that has been there for a while."""
    found = Process(table, "one")
    await found.hold()
    return found


async def test_the_roles_of_an_opportunity_that_marketo_had_follow_once_from_a_process(process: Process) -> None:
    (roles,) = await process.sync(UPDATED)
    assert roles.additive
    assert await process.sync(UPDATED) == []
    assert await process.sync(COVERED) == []
    assert await process.sync(CREATED) == [roles]


async def test_an_edit_that_waits_because_another_one_was_sent_a_moment_ago_costs_no_roles(process: Process) -> None:
    assert await process.sync(CREATED)
    assert await process.sync(Later("SentAMomentAgo", after=3.0)) == []
    assert await process.sync(UPDATED) == []


async def test_an_opportunity_that_waits_before_its_roles_were_ever_sent_has_them_sent(process: Process) -> None:
    assert await process.sync(Later("SentAMomentAgo", after=3.0)) == []
    assert await process.sync(UPDATED)


async def test_another_process_may_have_created_it_and_been_killed(process: Process, table: MemoryTable) -> None:
    """Somebody has deleted the opportunity in Marketo; another process creates it anew and dies before the roles."""
    other = Process(table, "two")
    await process.sync(UPDATED)
    await other.sync(CREATED, killed=True)
    assert len(await process.sync(UPDATED)) == 1


async def test_a_lease_that_another_process_wanted_in_vain_is_still_the_same(
    process: Process, table: MemoryTable
) -> None:
    other = Process(table, "two")
    await process.sync(UPDATED)
    async with process.sending.held():
        other.sending.sleep = lambda _: asyncio.sleep(0)
        with pytest.raises(NotNowError):
            await other.hold()
    assert await process.sync(UPDATED) == []


async def test_this_process_may_have_created_it_and_failed_to_send_the_roles(process: Process) -> None:
    await process.sync(UPDATED)
    assert len(await process.sync(CREATED, killed=True)) == 1  # the broker was away: the messages come again
    assert len(await process.sync(UPDATED)) == 1


@pytest.mark.parametrize("lost", [Retry(60, "502", ""), Failed("1002", ""), Skipped("Filtered"), Deferred(())])
async def test_a_call_without_an_answer_may_have_created_it(process: Process, lost: Outcome) -> None:
    await process.sync(UPDATED)
    assert await process.sync(lost) == []
    assert len(await process.sync(UPDATED)) == 1


async def test_what_an_invocation_knew_is_not_kept_beside_a_later_one(process: Process) -> None:
    await process.sync(UPDATED)
    begun = process.requests.begin([DEAL])
    await process.sync(CREATED, killed=True)
    process.requests.end(begun, [(DEAL, UPDATED)])
    assert len(await process.sync(UPDATED)) == 1


@pytest.mark.parametrize("facts", [{"deciding": True}, {"forced": True}, {"requested": True}, {"filter_changed": True}])
async def test_who_asks_gets_the_roles_each_time(process: Process, facts: dict[str, Any]) -> None:
    for _ in range(2):
        assert len(await process.sync(UPDATED, record=replace(DEAL, **facts))) == 1


async def test_what_is_remembered_is_bounded() -> None:
    requests = RoleRequests(lambda: 1, most=2)
    deals = [replace(DEAL, id=guid(number)) for number in range(3)]
    outcomes: list[tuple[Record, Outcome]] = [(deal, UPDATED) for deal in deals]
    requests.end(requests.begin(deals), outcomes)
    _, others = requests.of(requests.begin(deals), outcomes)
    assert [record.id for record in others] == [guid(0)]
