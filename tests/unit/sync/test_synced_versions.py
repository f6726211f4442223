"""What the sync has read, noted for the search for missed changes: small, best effort, and gone after a day."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from local.virtual import MemoryState, MemoryTable
from shared.sync.synced_versions import GONE, IN_A_ROW, KEPT, Noted, SyncedVersions
from tests.support.values import NOON, guid


class World:
    """The notes of processes that share one storage."""

    def __init__(self) -> None:
        self.table = MemoryTable(seconds=0)
        self.now = NOON

    def process(self) -> SyncedVersions:
        return SyncedVersions(MemoryState(self.table), now=lambda: self.now)


async def test_what_one_process_has_read_another_one_knows() -> None:
    world = World()
    await world.process().note(
        "person", {("contact", guid(1)): 7, ("lead", guid(2)): 8, ("contact", guid(3)): GONE}, {}, {}
    )
    noted = await world.process().of("person", "contact", [guid(1), guid(2), guid(3), guid(4)], NOON)
    assert noted.versions == {guid(1): 7, guid(3): GONE}
    assert noted.covers(guid(1), 7)
    assert noted.covers(guid(1), 6)
    assert not noted.covers(guid(1), 8)
    assert not noted.covers(guid(1), None), "a version that cannot be read may be any"
    assert not noted.covers(guid(4), 7)
    assert noted.knows_gone(guid(3))
    assert not noted.covers(guid(3), 7)
    assert not any(noted.knows_gone(guid(n)) for n in (1, 4))


@given(st.lists(st.sampled_from([GONE, 3, 5]), min_size=1, max_size=6))
async def test_the_last_note_of_a_row_counts(versions: list[int]) -> None:
    world = World()
    for version in versions:
        world.now += timedelta(seconds=1)
        await world.process().note("company", {("account", guid(1)): version}, {}, {})
    assert (await world.process().of("company", "account", [guid(1)], NOON)).versions == {guid(1): versions[-1]}


async def test_thousands_of_rows_cost_one_request_and_fit_into_values() -> None:
    world = World()
    keys = [("connection", guid(n)) for n in range(32 * 100)]
    await world.process().note("opportunity_role", dict.fromkeys(keys, 2**63), {key: [guid(1)] * 2 for key in keys}, {})
    assert world.table.requests == 1
    assert len(world.table.rows) == len(keys) / IN_A_ROW
    assert max(len(text) for text, _ in world.table.rows.values()) < 32_000
    noted = await world.process().of("opportunity_role", "connection", [guid(5)], NOON)
    assert noted == Noted({guid(5): 2**63}, {guid(5): [guid(1), guid(1)]})


async def test_only_what_was_noted_since_then_is_read_with_some_minutes_to_spare() -> None:
    world = World()
    await world.process().note("company", {("account", guid(1)): 1}, {}, {})
    assert (await world.process().of("company", "account", [guid(1)], NOON + timedelta(minutes=9))).versions
    assert not (await world.process().of("company", "account", [guid(1)], NOON + timedelta(minutes=11))).versions


async def test_what_is_old_is_dropped_and_the_rest_is_kept() -> None:
    world = World()
    await world.process().note("company", {("account", guid(1)): 1}, {}, {})
    world.now += KEPT / 2
    await world.process().note("company", {("account", guid(2)): 1}, {}, {})
    world.now += KEPT / 2 + timedelta(seconds=1)
    timer = world.process()
    await timer.tend()
    assert (await world.process().of("company", "account", [guid(1), guid(2)], NOON)).versions == {guid(2): 1}
    requests = world.table.requests
    await timer.tend()
    assert world.table.requests == requests, "once an hour is enough"
    world.table.away = True
    world.now += timedelta(hours=1)
    await timer.tend()


async def test_without_storage_nothing_fails_and_nobody_waits_again_for_a_minute() -> None:
    world = World()
    process = world.process()
    world.table.away = True
    await process.note("company", {("account", guid(1)): 1}, {}, {})
    asked = world.table.requests
    await process.note("company", {("account", guid(1)): 1}, {}, {})
    assert world.table.requests == asked
    world.table.away = False
    world.now += timedelta(minutes=1)
    await process.note("company", {("account", guid(1)): 1}, {}, {})
    assert len(world.table.rows) == 1


async def test_what_another_version_of_the_app_has_written_is_ignored() -> None:
    world = World()
    state = MemoryState(world.table)
    await state.put("synced_company", "2026-03-04T12:00:01", {"account": "x", "opportunities": [1]})
    await state.put("synced_company", "2026-03-04T12:00:02", {"account": {"a": 1}})
    await state.put("synced_company", "2026-03-04T12:00:03", {"account": "YWJj"})
    assert await world.process().of("company", "account", [guid(1)], NOON) == Noted()


async def test_an_invocation_that_has_read_nothing_writes_nothing() -> None:
    world = World()
    await world.process().note("company", {}, {}, {})
    assert world.table.requests == 0
