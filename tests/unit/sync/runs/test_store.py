"""Runs and pages as rows, over a table in memory; tests/integration/test_runs_store.py has the same over Azurite."""

from collections import Counter
from collections.abc import Callable, Sequence
from uuid import UUID

import pytest

from shared.sync.runs.model import Run, RunKind, RunRefusedError, RunState, Scope, new_run
from shared.sync.runs.page import Page, pages_of
from shared.sync.runs.store import Runs
from tests.support.clocks import WallClock
from tests.support.tables import FullTable

IDS = [str(UUID(int=number)) for number in range(4)]


@pytest.fixture
def table() -> FullTable:
    return FullTable()


@pytest.fixture
def wall() -> WallClock:
    return WallClock()


@pytest.fixture
def runs(table: FullTable, wall: WallClock) -> Runs:
    return Runs(table, now=wall)


def a_run(wall: WallClock, *tables: str, unique: str = "aaaa") -> Run:
    return new_run(RunKind.INITIAL_SYNC, Scope(tables or ("contact",)), wall.now, unique=unique)


async def test_a_second_run_of_a_table_is_refused_until_the_first_is_over(runs: Runs, wall: WallClock) -> None:
    first, second = a_run(wall, "contact", "lead"), a_run(wall, "account", "lead", unique="bbbb")
    await runs.create(first)
    with pytest.raises(RunRefusedError, match="lead") as refused:
        await runs.create(second)
    assert refused.value.run_id == first.id
    assert await runs.read(second.id) is None
    await runs.create(a_run(wall, "account", unique="cccc"))
    await runs.to(first.id, RunState.PAUSED)
    with pytest.raises(RunRefusedError):
        await runs.create(second)
    await runs.to(first.id, RunState.CANCELLED)
    await runs.to(f"{first.id[:-4]}cccc", RunState.CANCELLED)
    await runs.create(second)
    assert [run.id for run in await runs.all()] == sorted([first.id, second.id, f"{first.id[:-4]}cccc"], reverse=True)


async def test_the_same_start_again_is_no_second_run(runs: Runs, wall: WallClock) -> None:
    run = a_run(wall)
    await runs.create(run)
    await runs.create(run)
    assert await runs.all() == [run]


async def test_commands_change_the_row_and_refuse_what_makes_no_sense(runs: Runs, wall: WallClock) -> None:
    run = a_run(wall)
    await runs.create(run)
    assert (await runs.to(run.id, RunState.PAUSED)).state is RunState.PAUSED
    assert (await runs.to(run.id, RunState.RUNNING)).state is RunState.RUNNING
    wall.tick(60)
    cancelled = await runs.to(run.id, RunState.CANCELLED, "enough")
    assert (cancelled.state, cancelled.reason, cancelled.ended_at) == (RunState.CANCELLED, "enough", wall.now)
    with pytest.raises(RunRefusedError, match="cancelled"):
        await runs.to(run.id, RunState.RUNNING)
    with pytest.raises(RunRefusedError, match="no run"):
        await runs.to("20000101-000000-dead", RunState.PAUSED)


async def test_a_change_meets_that_of_somebody_else(runs: Runs, wall: WallClock) -> None:
    run = a_run(wall)
    await runs.create(run)
    seen = await runs.read(run.id)
    assert seen
    await runs.to(run.id, RunState.PAUSED)
    assert await runs.replace(seen, seen.table("contact", pages=1)) is None
    await runs.change(run.id, lambda found: found.table("contact", pages=1))
    found = await runs.read(run.id)
    assert found
    assert (found.state, found.tables["contact"].pages) == (RunState.PAUSED, 1)


async def test_pages_and_the_place_in_the_run_are_written_together(runs: Runs, wall: WallClock) -> None:
    run = a_run(wall)
    await runs.create(run)
    seen = await runs.read(run.id)
    assert seen
    pages = pages_of(run.id, "contact", 0, IDS)
    assert await runs.replace(seen, seen.table("contact", pages=1, rows=len(IDS)), pages)
    assert await runs.replace(seen, seen.table("contact", pages=1), pages_of(run.id, "contact", 1, IDS)) is None
    assert await runs.totals(run.id) == {"contact": Counter(unsent=len(IDS))}
    assert [found.tables["contact"].rows for found in await runs.all()] == [len(IDS)]


async def stored(runs: Runs, wall: WallClock, pages: Callable[[str], Sequence[Page]]) -> str:
    """A run with these pages; gives its id."""
    run = a_run(wall, "lead")
    await runs.create(run)
    seen = await runs.read(run.id)
    assert seen
    assert await runs.replace(seen, seen, pages(run.id))
    return run.id


async def test_busy_pages_are_those_that_the_carrier_must_look_after(runs: Runs, wall: WallClock) -> None:
    states = ["unsent", "open", "retrying", "parked", "created", "failed:1003"]
    run = await stored(
        runs, wall, lambda run: [Page(run, "lead", n, {IDS[0]: state}) for n, state in enumerate(states)]
    )
    await runs.create(a_run(wall, "contact", unique="bbbb"))
    await runs.change_page(run, "lead", 0, lambda page: page.sent(wall.now))
    found = await runs.busy(run)
    assert [(each.number, each.sent_at) for each in found] == [(0, wall.now), (1, None), (2, None)]
    assert [each.number for each in await runs.summaries(run)] == [0, 1, 2, 3, 4, 5]


async def test_what_is_not_in_marketo_is_listed_with_its_reason(runs: Runs, wall: WallClock) -> None:
    run = await stored(runs, wall, lambda run: pages_of(run, "lead", 0, IDS))
    news = {IDS[0]: "created", IDS[1]: "failed:1003", IDS[2]: "skipped:Filtered", IDS[3]: "parked"}
    await runs.change_page(run, "lead", 0, lambda page: page.told(news, {"1003": "no such value"}))
    found = [each async for page in runs.not_in_marketo(run) for each in page]
    assert [(each.table, each.id, each.state, each.message) for each in found] == [
        ("lead", IDS[1], "failed:1003", "no such value"),
        ("lead", IDS[2], "skipped:Filtered", ""),
        ("lead", IDS[3], "parked", ""),
    ]


async def test_a_run_is_forgotten_with_its_pages(runs: Runs, wall: WallClock, table: FullTable) -> None:
    run = await stored(runs, wall, lambda run: pages_of(run, "lead", 0, IDS))
    await runs.remove(await runs.to(run, RunState.CANCELLED))
    assert not table.rows
