"""A comparison from its start to its end: what it finds, what it sends of that, and what stops it for a while."""

from collections import Counter
from types import SimpleNamespace

import pytest

from shared.marketo.day import day_of
from shared.model.codes import Kind
from shared.model.errors import DataverseError
from shared.model.outcome import Failed, Outcome, Synced
from shared.sync.comparison import Kind as Drift
from shared.sync.runs import comparing
from shared.sync.runs.comparing import ROWS
from shared.sync.runs.model import Run, RunKind, RunState, Scope
from shared.sync.runs.page import DIFFERS, PAGE
from shared.sync.runs.store import Found
from tests.support.run_world import World
from tests.support.values import guid

LEADS = 2 * ROWS + 450


async def compare(world: World, *tables: str, sends: bool = False, extra: bool = False) -> Run:
    """Start a comparison."""
    return await world.begin(RunKind.RECONCILE, Scope(tables, sends=sends, extra=extra))


async def found_in(world: World, run: Run) -> list[Found]:
    return [each async for page in world.runs.differences(run.id) for each in page]


def drift(world: World, ids: list[str], every: int) -> list[str]:
    """Every so-manieth row differs."""
    world.drifted = dict.fromkeys(ids[::every], Drift.DIFFERING)
    return list(world.drifted)


async def test_what_differs_is_found_and_nothing_is_sent(world: World) -> None:
    ids = world.fill("lead", LEADS)
    drifted = drift(world, ids, 100)
    world.filtered = {ids[1], ids[2]}
    run = await compare(world, "lead")
    await world.ticks()
    ended = await world.run(run)
    assert (ended.state, world.sent.total()) == (RunState.COMPLETE, 0)
    found = await found_in(world, run)
    assert [each.difference.id for each in found] == drifted
    assert {each.difference.kind for each in found} == {Drift.DIFFERING}
    assert {each.difference.fields for each in found} == {("city",)}
    equal = LEADS - len(drifted) - 2
    assert await world.runs.totals(run.id) == {
        "lead": Counter({"unchanged": equal, f"{DIFFERS}:differing": len(drifted), "skipped:Filtered": 2})
    }
    assert world.compared == Counter(ids)


async def test_it_costs_a_call_for_298_rows_which_are_the_runs(world: World) -> None:
    world.fill("lead", LEADS)
    run = await compare(world, "lead")
    await world.ticks()
    calls = -(-LEADS // 298)
    assert (await world.run(run)).calls == world.charged == calls


async def test_what_differs_is_sent_once_forced_and_in_full_calls(world: World) -> None:
    ids = world.fill("lead", LEADS)
    drifted = drift(world, ids, 4)
    sizes: list[int] = []
    forced: set[bool] = set()

    def look() -> None:
        sizes.extend([len(world.queue)] if world.queue else [])
        forced.update(record.forced for record in world.queue)

    world.before_sync = look
    run = await compare(world, "lead", sends=True)
    await world.ticks()
    assert (await world.run(run)).state is RunState.COMPLETE
    assert world.sent == Counter(drifted)
    assert forced == {True}
    assert min(sizes[:-1]) >= PAGE * 3 // 4, "but for the last, messages of a call's worth"
    assert max(sizes) <= PAGE + PAGE // 3, "live changes wait behind little more"
    assert {each.state for each in await found_in(world, run)} == {"created"}


async def test_few_that_differ_are_sent_together_at_the_end_of_their_table(world: World) -> None:
    accounts, leads = world.fill("account", 20), world.fill("lead", LEADS)
    drift(world, [*leads, accounts[0]], LEADS // 20)
    world.drifted[accounts[0]] = Drift.MISSING
    order: list[tuple[set[str], int]] = []
    world.before_sync = lambda: order.append(({record.table for record in world.queue}, world.compared.total()))
    run = await compare(world, "lead", "account", sends=True)
    await world.ticks()
    assert (await world.run(run)).state is RunState.COMPLETE
    assert [sent for sent in order if sent[0]] == [({"account"}, 20), ({"lead"}, 20 + LEADS)]


async def test_several_persons_with_one_key_are_named_and_not_sent(world: World) -> None:
    ids = world.fill("lead", 10)
    world.drifted = {ids[0]: Drift.DUPLICATE, ids[1]: Drift.MISSING}
    run = await compare(world, "lead", sends=True)
    await world.ticks()
    assert set(world.sent) == {ids[1]}
    assert {each.difference.id: each.state for each in await found_in(world, run)} == {
        ids[0]: f"{DIFFERS}:duplicate", ids[1]: "created"
    }  # fmt: skip


async def test_what_could_not_be_synced_is_reported_with_its_reason(world: World) -> None:
    ids = world.fill("lead", 10)
    world.drifted = dict.fromkeys(ids[:2], Drift.DIFFERING)
    outcomes: dict[str, Outcome] = {ids[0]: Synced("updated"), ids[1]: Failed("1003", "no such value")}
    world.outcome = lambda record: outcomes[record.id]
    run = await compare(world, "lead", sends=True)
    await world.ticks()
    assert (await world.run(run)).state is RunState.COMPLETE
    assert [(found.state, found.message) for found in await found_in(world, run)] == [
        ("updated", ""), ("failed:1003", "no such value"),
    ]  # fmt: skip


async def test_persons_without_a_row_are_looked_for_after_the_last_table_of_persons(world: World) -> None:
    world.fill("lead", 10)
    world.fill("contact", 10)
    world.fill("account", 10)
    world.persons = (7, 4_000)
    world.gone = {8: guid(901), 3_999: guid(902), 4_001: guid(903)}
    run = await compare(world, "lead", "contact", "account", sends=True, extra=True)
    await world.ticks()
    assert (await world.run(run)).state is RunState.COMPLETE
    found = [each.difference for each in await found_in(world, run)]
    assert [(each.kind, each.table, each.id, each.marketo_ids) for each in found] == [
        (Drift.EXTRA, "", guid(901), (8,)), (Drift.EXTRA, "", guid(902), (3_999,))
    ]  # fmt: skip
    assert not world.sent


#: Of a step, so that a comparison has many and is quick.
SMALL = 50


async def steps_of(world: World, *, sends: bool) -> int:
    """How many steps the carrier takes until the comparison is complete."""
    drift(world, world.fill("lead", 3 * SMALL + 7), 5)
    await compare(world, "lead", sends=sends)
    world.kill_at = 10**9
    await world.ticks()
    return world.steps


@pytest.mark.parametrize("sends", [False, True])
async def test_wherever_the_carrier_is_killed_at_most_one_step_is_compared_or_one_page_sent_twice(
    sends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "ROWS", SMALL)
    steps = await steps_of(World(), sends=sends)
    assert steps > 10
    for kill_at in range(1, steps + 1):
        world = World()
        ids = world.fill("lead", 3 * SMALL + 7)
        drifted = drift(world, ids, 5)
        run = await compare(world, "lead", sends=sends)
        world.kill_at = kill_at
        await world.ticks()
        assert (await world.run(run)).state is RunState.COMPLETE, kill_at
        assert set(world.compared) == set(ids), kill_at
        assert sum(times - 1 for times in world.compared.values()) <= SMALL, kill_at
        assert sum(times - 1 for times in world.sent.values()) <= SMALL, kill_at
        found = await found_in(world, run)
        assert [each.difference.id for each in found] == drifted, kill_at
        assert set(world.sent) == (set(drifted) if sends else set()), kill_at
        assert (await world.runs.totals(run.id))["lead"].total() == len(ids), kill_at


async def test_a_quota_that_is_exhausted_in_the_middle_is_waited_for(world: World) -> None:
    ids = world.fill("lead", LEADS)
    run = await compare(world, "lead")

    def close() -> None:
        world.closed = SimpleNamespace(reason="Marketo's day is used up", opens=day_of(world.wall.now).end)

    world.before_sync = close
    await world.ticks(2)
    found = await world.run(run)
    assert (found.waits_for, world.compared.total()) == ("Marketo's day is used up", ROWS)
    world.closed, world.before_sync = None, lambda: None
    await world.ticks()
    assert ((await world.run(run)).state, world.compared) == (RunState.COMPLETE, Counter(ids))


async def test_while_marketo_or_dynamics_is_away_it_waits_and_says_so(world: World) -> None:
    ids = world.fill("lead", LEADS)
    run = await compare(world, "lead")
    world.marketo_is_away = True
    await world.ticks(2)
    assert "HTTP 503" in (await world.run(run)).waits_for
    assert world.charged, "calls that failed are calls"
    world.marketo_is_away, world.refuses = False, DataverseError("HTTP 503", "busy", kind=Kind.TRANSIENT)
    await world.ticks(2)
    assert (await world.run(run)).waits_for.startswith("Dynamics: ")
    world.refuses = None
    await world.ticks()
    assert ((await world.run(run)).state, world.compared) == (RunState.COMPLETE, Counter(ids))


async def test_a_column_that_disappears_is_done_without(world: World) -> None:
    ids = world.fill("lead", LEADS)
    run = await compare(world, "lead")

    def disappear() -> None:
        world.no_columns = {"city"}

    world.before_sync = disappear
    await world.ticks()
    assert (await world.run(run)).state is RunState.COMPLETE
    assert set(world.compared) == set(ids)
    assert world.looks
    assert "city" in world.queries[0]
    assert "city" not in world.queries[-1]


async def test_a_column_that_is_mapped_meanwhile_is_read_from_there_on(world: World) -> None:
    ids = world.fill("lead", LEADS)
    run = await compare(world, "lead")

    def appear() -> None:
        world.columns |= {"title"}

    world.before_sync = appear
    await world.ticks()
    assert (await world.run(run)).state is RunState.COMPLETE
    assert set(world.compared) == set(ids)
    assert "title" in world.queries[1]
