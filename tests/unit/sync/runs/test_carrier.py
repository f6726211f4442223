"""A run from its start to its end: order, room for live changes, what waits, commands, and what ends it."""

from collections import Counter
from datetime import timedelta

import pytest

from shared.marketo.day import day_of
from shared.model.codes import Kind
from shared.model.errors import BrokerUnavailableError, DataverseError, StorageUnavailableError
from shared.model.outcome import Deferred, Failed, Outcome, Parent, Retry, Skipped, Synced
from shared.model.record import Record
from shared.sync.runs.carrier import KEPT
from shared.sync.runs.events import Event
from shared.sync.runs.feeding import MOST_OPEN, MOST_RETRYING, OTHER_CALLS_PER_PAGE
from shared.sync.runs.model import RunState
from shared.sync.runs.page import PAGE
from tests.support.run_world import World
from tests.support.values import guid


async def test_every_row_is_sent_once_and_the_run_is_complete(world: World) -> None:
    leads, contacts = world.fill("lead", 2_000), world.fill("contact", 700)
    run = await world.start("contact", "lead")
    await world.ticks()
    assert (await world.run(run)).state is RunState.COMPLETE
    assert world.sent == Counter([*leads, *contacts])
    assert await world.runs.totals(run.id) == {"contact": Counter(created=700), "lead": Counter(created=2_000)}
    names = [event for event, _ in world.events if event is not Event.IN_PROGRESS]
    assert names == [Event.STARTED, Event.TABLE_COMPLETE, Event.TABLE_COMPLETE, Event.COMPLETE]


async def test_live_changes_wait_behind_little_more_than_a_call(world: World) -> None:
    world.fill("lead", 3_000)
    await world.start("lead")
    await world.ticks()
    assert world.most_open == PAGE


async def test_a_run_leaves_a_part_of_marketos_rate_to_live_changes(world: World) -> None:
    world.fill("lead", 10 * PAGE)
    world.calls_per_second, began = 2.5, world.wall.now
    run = await world.start("lead")
    await world.ticks()
    ended = (await world.run(run)).ended_at
    assert ended is not None
    assert ended - began >= 9 * timedelta(seconds=OTHER_CALLS_PER_PAGE / 2.5)


async def test_a_run_reads_no_further_than_it_can_send(world: World) -> None:
    world.fill("lead", 5_000)
    world.queue_paused = True
    await world.start("lead")
    await world.ticks(5)
    assert len(world.queries) == 1


async def test_parents_are_through_before_their_children_begin(world: World) -> None:
    users, accounts, people = world.fill("systemuser", 400), world.fill("account", 400), world.fill("contact", 400)
    await world.start("contact", "account", "systemuser")
    await world.ticks()
    order = {id_: place for place, id_ in enumerate(world.marketo)}
    assert max(order[id_] for id_ in users) < min(order[id_] for id_ in accounts)
    assert max(order[id_] for id_ in accounts) < min(order[id_] for id_ in people)


async def test_tables_without_rows_are_complete_at_once(world: World) -> None:
    run = await world.start("systemuser", "lead")
    await world.ticks(3)
    assert (await world.run(run)).state is RunState.COMPLETE
    assert [table for event, table in world.events if event is Event.TABLE_COMPLETE] == ["systemuser", "lead"]


async def test_a_run_of_some_fields_sends_records_of_these_fields(world: World) -> None:
    world.fill("lead", 10)
    world.queue_paused = True
    await world.start("lead", fields=("city", "title"))
    await world.ticks(2)
    assert {record.fields for record in world.queue} == {("city", "title")}


async def test_a_run_is_complete_when_nothing_of_it_waits_any_more(world: World) -> None:
    world.fill("lead", 10)
    waits: dict[str, Outcome] = {
        guid(1): Deferred((Parent("company", "account", guid(99)),)),
        guid(2): Retry(60, "502", "busy"),
        guid(3): Failed("1003", "no such value"),
        guid(4): Skipped("Filtered"),
    }
    world.outcome = lambda record: waits.get(record.id, Synced("updated"))
    run = await world.start("lead")
    await world.ticks(4)
    assert (await world.run(run)).state is RunState.RUNNING
    world.queue += [Record("lead", guid(n), world.wall.now, run=f"{run.id}/lead/0") for n in (1, 2)]
    world.outcome = lambda _: Synced("created")
    await world.ticks(3)
    assert (await world.run(run)).state is RunState.COMPLETE
    found = {each.id: each.state async for page in world.runs.not_in_marketo(run.id) for each in page}
    assert found == {guid(3): "failed:1003", guid(4): "skipped:Filtered"}


async def test_while_marketo_is_down_the_run_stops_and_goes_on_afterwards(world: World) -> None:
    ids = world.fill("lead", 10_000)
    world.outcome = lambda _: Retry(60, "CircuitOpen", "the other system is away")
    run = await world.start("lead")
    await world.ticks(5)
    assert MOST_RETRYING <= len(world.sent) <= MOST_RETRYING + MOST_OPEN
    world.queue += [
        Record("lead", id_, world.wall.now, run=f"{run.id}/lead/{n // 300}") for n, id_ in enumerate(ids[:3_600])
    ]
    world.outcome = lambda _: Synced("created")
    await world.ticks()
    assert (await world.run(run)).state is RunState.COMPLETE
    assert set(world.marketo) == set(ids)


async def test_the_days_share_is_waited_for_until_midnight(world: World) -> None:
    world.fill("lead", 3_000)

    def spend() -> None:
        world.used_by_runs = 1_000.0 if len(world.marketo) >= 1_500 else 5.0

    world.before_sync = spend
    run = await world.start("lead")
    await world.ticks(3)
    found = await world.run(run)
    assert (found.state, found.waits_until) == (RunState.RUNNING, day_of(world.wall.now).end)
    assert "1,000 calls" in found.waits_for
    assert 1_500 <= len(world.marketo) < 3_000
    world.before_sync = lambda: None
    world.used_by_runs = 0.0
    await world.ticks()
    found = await world.run(run)
    assert (found.state, found.waits_for, found.waits_until) == (RunState.COMPLETE, "", None)
    assert len(world.marketo) == 3_000


async def test_a_paused_run_sends_nothing_until_it_is_resumed(world: World) -> None:
    world.fill("lead", 2_000)
    world.queue_paused = True
    run = await world.start("lead")
    await world.ticks(1)
    await world.runs.to(run.id, RunState.PAUSED)
    world.queue_paused = False
    await world.ticks(3)
    assert len(world.sent) == PAGE
    await world.runs.to(run.id, RunState.RUNNING)
    await world.ticks()
    assert len(world.sent) == 2_000
    names = [event for event, _ in world.events if event not in (Event.IN_PROGRESS, Event.TABLE_COMPLETE)]
    assert names == [Event.STARTED, Event.PAUSED, Event.RESUMED, Event.COMPLETE]


async def test_a_cancelled_run_is_told_of_and_its_tables_are_free(world: World) -> None:
    world.fill("lead", 2_000)
    world.queue_paused = True
    run = await world.start("lead")
    await world.ticks(1)
    await world.runs.to(run.id, RunState.CANCELLED)
    await world.ticks(2)
    assert world.events[-1][0] is Event.CANCELLED
    world.wall.tick(60)
    await world.start("lead")


async def test_a_paused_queue_is_not_flooded(world: World) -> None:
    world.fill("lead", PAGE)
    world.queue_paused = True
    run = await world.start("lead")
    await world.ticks(90)
    assert world.sent.total() == 4 * PAGE  # at once, and after 10, 30 and 70 minutes
    world.queue_paused = False
    await world.ticks()
    assert (await world.run(run)).state is RunState.COMPLETE


async def test_news_that_storage_did_not_take_is_made_up_for(world: World) -> None:
    ids = world.fill("lead", 500)
    run = await world.start("lead")
    world.table.away = True
    with pytest.raises(StorageUnavailableError):
        await world.runs.read(run.id)
    world.table.away = False

    async def forget() -> None:
        world.marketo.update(record.id for record in world.queue)
        world.queue.clear()

    sync, world.sync = world.sync, forget  # type: ignore[method-assign]
    await world.ticks(1)
    world.sync = sync  # type: ignore[method-assign]
    await world.ticks(15)
    assert (await world.run(run)).state is RunState.COMPLETE
    assert set(world.marketo) == set(ids)


async def test_storage_that_is_away_ends_the_tick_and_nothing_else(world: World) -> None:
    world.table.away = True
    await world.carrier().tick()


@pytest.mark.parametrize("code", ["0x80060888", "0x80041103"])
async def test_a_query_that_dynamics_refuses_for_good_fails_the_run(world: World, code: str) -> None:
    world.refuses = DataverseError(code, "no such column", kind=Kind.CONFIGURATION)
    run = await world.start("lead", filter="new_gone eq 1")
    await world.ticks(2)
    found = await world.run(run)
    assert found.state is RunState.FAILED
    assert code in found.reason
    assert world.events[-1][0] is Event.FAILED


async def test_a_table_that_sync_toml_maps_no_longer_fails_the_run(world: World) -> None:
    world.fill("lead", 10)
    run = await world.start("lead", "contact")
    world.tables = frozenset({"lead"})
    await world.ticks(2)
    found = await world.run(run)
    assert (found.state, world.sent.total()) == (RunState.FAILED, 0)
    assert "contact" in found.reason


async def test_a_run_is_forgotten_after_a_while(world: World) -> None:
    world.fill("lead", 10)
    await world.start("lead")
    await world.ticks()
    world.wall.tick((KEPT - timedelta(minutes=9)).total_seconds())
    await world.carrier().tick()
    assert await world.runs.all()
    world.wall.tick(600)
    await world.carrier().tick()
    assert not world.table.rows


async def test_without_a_run_a_tick_is_one_request(world: World) -> None:
    requests: list[str] = []
    world.table.before = requests.append
    await world.carrier().tick()
    assert requests == ["pages"]


async def test_a_pause_in_the_middle_of_a_step_is_not_overwritten(world: World) -> None:
    world.fill("lead", 5_000)
    run = await world.start("lead")
    read = world.page

    async def paused(url: str, size: int) -> object:
        found = await read(url, size)
        await world.runs.to(run.id, RunState.PAUSED)
        return found

    world.page = paused  # type: ignore[method-assign, assignment]
    await world.ticks(2)
    assert (await world.run(run)).state is RunState.PAUSED
    assert world.sent.total() == 0
    assert (await world.run(run)).tables["lead"].pages == 0


async def test_without_the_broker_the_timer_fails_and_the_next_one_goes_on(world: World) -> None:
    ids = world.fill("lead", 500)
    run = await world.start("lead")
    send = world.send

    async def away(_: object) -> None:
        raise BrokerUnavailableError("ServiceBusConnectionError")

    world.send = away  # type: ignore[assignment]
    for _ in range(3):
        with pytest.raises(BrokerUnavailableError):
            await world.carrier().tick()
    world.send = send  # type: ignore[method-assign]
    await world.ticks()
    assert (await world.run(run)).state is RunState.COMPLETE
    assert world.sent == Counter(ids)
