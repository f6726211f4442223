"""The process of the carrier is killed at each of its steps, and rows come and go while a run passes them."""

from collections import Counter
from functools import partial

import pytest

from shared.model.outcome import Outcome, Removed, Synced
from shared.model.record import Record
from shared.sync.runs import reading
from shared.sync.runs.model import Run, RunState
from shared.sync.runs.page import PAGE
from tests.support.run_world import World

#: Of a request, so that a run has several and is quick; and more than that, with a page that is not full.
SMALL = 2 * PAGE
LEADS = SMALL + PAGE // 2


@pytest.fixture(autouse=True)
def small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "read", partial(reading.read, size=SMALL))


async def started(world: World) -> tuple[Run, list[str]]:
    ids = world.fill("lead", LEADS)
    return await world.start("lead"), ids


async def steps_of_a_run() -> int:
    """How many steps the carrier takes until its run is complete."""
    world = World()
    await started(world)
    world.kill_at = 10**9
    await world.ticks()
    return world.steps


async def test_wherever_the_carrier_is_killed_at_most_a_page_is_sent_twice_and_no_row_is_left_out() -> None:
    steps = await steps_of_a_run()
    assert steps > 20
    for kill_at in range(1, steps + 1):
        world = World()
        run, ids = await started(world)
        world.kill_at = kill_at
        await world.ticks()
        assert (await world.run(run)).state is RunState.COMPLETE, kill_at
        assert set(world.sent) == set(ids), kill_at
        twice = [id_ for id_, times in world.sent.items() if times > 1]
        assert len(twice) <= PAGE, kill_at
        assert max(world.sent.values()) <= 2, kill_at
        assert await world.runs.totals(run.id) == {"lead": Counter(created=LEADS)}, kill_at


async def test_a_carrier_that_is_killed_twenty_times_gets_through(world: World) -> None:
    run, ids = await started(world)
    for _ in range(20):
        world.steps, world.kill_at = 0, 9
        await world.ticks(1)
    world.kill_at = None
    await world.ticks()
    assert (await world.run(run)).state is RunState.COMPLETE
    assert set(world.marketo) == set(ids)
    assert await world.runs.totals(run.id) == {"lead": Counter(created=LEADS)}


@pytest.mark.parametrize("links_refused", [False, True])
async def test_rows_that_come_and_go_while_the_run_passes_them_cost_no_other_row(
    world: World, links_refused: bool
) -> None:
    world.links_refused = links_refused
    run, ids = await started(world)
    gone, later = set(ids[::7]), list[str]()

    def change() -> None:
        if world.queries and not later:
            world.rows["lead"] = [row for row in world.rows["lead"] if row[1] not in gone]
            later.extend(world.fill("contact", 3))
            world.rows["lead"] += [("2026-12-01T00:00:00Z", id_) for id_ in later]

    def outcome(record: Record) -> Outcome:
        return Removed("kept", "RowGone") if record.id in gone else Synced("created")

    world.before_sync, world.outcome = change, outcome
    await world.ticks()
    assert (await world.run(run)).state is RunState.COMPLETE
    assert {*ids, *later} - gone <= {id_ for id_, times in world.marketo.items() if times}


async def test_many_rows_of_one_second_are_read_all_also_when_the_link_is_refused_in_between(world: World) -> None:
    ids = world.fill("lead", 3 * SMALL, same_second=True)
    run = await world.start("lead")

    def refuse_once() -> None:
        world.links_refused = len(world.queries) == 2

    world.before_sync = refuse_once
    await world.ticks()
    assert (await world.run(run)).state is RunState.COMPLETE
    assert set(world.marketo) == set(ids)
