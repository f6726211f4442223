"""A sweep of the write-back: every row once, in shares of the day, and on where it was cut off."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.config.conditions import SyncFilter
from shared.model.codes import Kind
from shared.model.errors import DataverseError
from shared.write_back.results import runs_of
from tests.support.values import guid
from tests.support.write_back import KilledError, World


async def test_the_first_night_is_the_next_and_then_everything_is_compared_once(world: World) -> None:
    world.add(1, priority=1)
    world.add(2, "lead", priority=2)
    await world.work.tick()
    assert world.priorities() == [None]
    world.now += timedelta(days=1)
    await world.work.tick()
    assert (world.priorities(), world.priorities("lead")) == ([1], [2])
    world.people[1]["priority"] = 3
    await world.work.tick()
    assert world.priorities() == [1]
    kinds = [run["kind"] for run in runs_of(await world.state("runs"))]
    assert kinds == ["changes", "sweep", "changes", "changes"]


async def test_a_sweep_reads_full_calls_whatever_the_filter_leaves_of_a_page(world: World) -> None:
    world.add_many(2000)
    for number in range(1, 2001, 4):
        world.rows_of["contact"][guid(number)]["new_synctomkto"] = False
    world.excluded = SyncFilter("new_synctomkto")
    run = await world.sweep()
    assert (run.read, run.written, run.marketo_calls, run.complete) == (1500, 1500, 5, True)
    assert world.reads == [300] * 5


async def test_a_sweep_goes_on_where_it_was_cut_off(world: World) -> None:
    world.add_many(1500)
    await world.work.tick()
    world.now += timedelta(days=1)
    world.stop_after_writes = 3
    with pytest.raises(KilledError):
        await world.work.tick()
    world.stop_after_writes = 0
    world.now += timedelta(minutes=10)
    world.reads.clear()
    await world.write_back(instance_id="b").tick()
    assert set(world.priorities()) == {1}
    assert 0 < sum(world.reads) <= 1200


async def test_a_sweep_stays_within_its_share_of_the_day_and_goes_on_the_next(world: World) -> None:
    world.add_many(1500)
    work = world.write_back(share=2)
    await work.tick()
    world.now += timedelta(days=1)
    for _ in range(3):
        await work.tick()
    assert world.priorities().count(1) == 600
    world.now += timedelta(days=1)
    await work.tick()
    assert world.priorities().count(1) == 1200


@pytest.mark.parametrize(
    "refusal",
    [
        DataverseError("0x80060888", "Could not find a property named 'old'", kind=Kind.CONFIGURATION),
        DataverseError("0x80040203", "Invalid paging cookie", kind=Kind.PERMANENT),
    ],
)
async def test_a_sweep_whose_kept_link_is_refused_begins_its_table_anew(world: World, refusal: DataverseError) -> None:
    world.add_many(900)
    work = world.write_back(share=1)
    await work.tick()
    world.now += timedelta(days=1)
    await work.tick()
    assert (await world.state("sweep"))["link"]
    world.now += timedelta(days=1)
    world.stale_links, world.page_size = refusal, 10_000
    await work.tick()
    assert set(world.priorities()) == {1}


async def test_a_sweep_whose_plan_has_changed_reads_its_table_anew_with_the_new_columns(world: World) -> None:
    world.add_many(900)
    work = world.write_back(share=1)
    await work.tick()
    world.now += timedelta(days=1)
    await work.tick()
    cursor = await world.state("sweep")
    assert cursor["link"]
    assert cursor["plan"] == world.plan.identity
    world.plan = replace(world.plan, rules="others")
    world.stale_links = DataverseError("Link", "of the old plan was followed", kind=Kind.TRANSIENT)
    world.page_size = 10_000
    world.now += timedelta(days=1)
    await work.tick()
    assert set(world.priorities()) == {1}


async def test_a_sweep_that_is_cut_off_comes_back_to_the_oldest_row_that_waited(world: World) -> None:
    """Of each page few rows are synced, so calls are filled from many pages: none of these is skipped."""
    world.add_many(2000)
    for number in range(1, 2001):
        if number % 15:
            world.rows_of["contact"][guid(number)]["new_synctomkto"] = False
    world.excluded = SyncFilter("new_synctomkto")
    await world.write_back().tick()
    world.now += timedelta(days=1)
    world.stale_pages = {3}
    await world.write_back().tick()
    world.stale_pages = set()
    await world.write_back().tick()
    assert not (await world.state("sweep"))["tables"]
    synced = [row for row in world.rows_of["contact"].values() if row.get("new_synctomkto") is not False]
    assert {row["msi_priority"] for row in synced} == {1}
