"""A run of the write-back: what it reads, what it writes, what a cut leaves to the next one, and what it costs."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import unquote

import pytest

from local.virtual import MemoryState
from shared.config.conditions import SyncFilter
from shared.model.codes import Kind
from shared.model.errors import DataverseError, MarketoError
from shared.model.record import decode
from shared.sync import sole_run
from shared.write_back.due import again
from shared.write_back.results import Run, runs_of
from shared.write_back.rows import MANY
from tests.support.values import guid
from tests.support.write_back import LOCKED, KilledError, World


async def test_what_has_changed_is_written_to_leads_and_contacts_and_then_costs_nothing_more(world: World) -> None:
    for number in range(1, 7):
        world.add(number, "lead" if number % 2 else "contact", priority=number, msiType="Web")
    world.log += [1, 2, 3, 4, 3]
    run = await world.changes()
    assert (run.read, run.differing, run.written, run.failed, run.gone) == (4, 4, 4, 0, 0)
    assert world.priorities("lead") == [1, 3, None]
    assert world.priorities() == [2, 4, None]
    quiet = await world.changes(world.write_back())
    assert (quiet.read, quiet.marketo_calls, quiet.dataverse_requests, quiet.complete) == (0, 2, 0, True)


async def test_only_columns_that_differ_are_written(world: World) -> None:
    world.add(1, priority=3, msiType="Web")
    world.rows_of["contact"][guid(1)] |= {"msi_type": "Web "}
    world.log.append(1)
    await world.changes()
    assert world.rows_of["contact"][guid(1)] == {"contactid": guid(1), "msi_priority": 3, "msi_type": "Web "}
    (event,) = await world.kept.events()
    assert (event.id, event.text) == (
        guid(1), "Sales Insight's fields were written back to Dynamics: columns msi_priority",
    )  # fmt: skip


async def test_a_thousand_changes_among_many_cost_at_most_fifteen_calls_of_each(world: World) -> None:
    for number in range(1, 3001):
        world.add(number, "lead" if number % 2 else "contact", priority=1)
    world.log += range(1, 1001)
    run = await world.changes()
    assert run.written == 1000
    assert run.marketo_calls <= 15
    assert run.dataverse_requests <= 15
    assert max(world.bulk) <= MANY


async def test_seven_of_a_thousand_rows_are_refused_and_the_others_written(world: World) -> None:
    world.add_many(1000, logged=True)
    world.refused = {guid(number): LOCKED for number in range(100, 800, 100)}
    run = await world.changes()
    assert (run.written, run.failed) == (993, 7)
    assert sorted(failure["id"] for failure in run.failures) == sorted(world.refused)
    assert {failure["code"] for failure in run.failures} == {LOCKED[0]}
    assert all("plug-in" in failure["message"] for failure in run.failures)
    assert run.complete


async def test_a_refused_row_is_tried_again_and_is_a_dead_letter_at_last(world: World) -> None:
    world.add_many(1, logged=True)
    world.refused = {guid(1): LOCKED}
    tried = []
    for _ in range(8):
        before = world.patches
        await world.changes()
        tried.append(world.patches - before)
        world.now += timedelta(seconds=100)
    assert sum(tried) == 3  # MAX_ATTEMPTS
    (letter,) = world.sent
    assert letter.queue == "dead-letters"
    facts = ("code", "system", "entity", "table", "record_id", "attempts", "source_queue")
    assert [letter.properties[name] for name in facts] == [
        LOCKED[0], "dataverse", "person", "contact", guid(1), 3, "persons",
    ]  # fmt: skip
    (record,) = decode(letter.body, "person")
    assert (record.id, record.write_back) == (guid(1), True)
    assert [event.what for event in await world.kept.events()] == ["not_written_back"] * 3 + ["dead_lettered"]


@pytest.fixture
async def dead(world: World) -> World:
    """A world in which the only row is a dead letter; it could be written now, and Marketo says that it has changed."""
    world.add_many(1, logged=True)
    world.refused = {guid(1): LOCKED}
    for _ in range(3):
        await world.changes()
        world.now += timedelta(hours=2)
    assert len(world.sent) == 1
    world.refused.clear()
    world.log.append(1)
    return world


async def test_a_dead_row_is_left_alone_until_it_is_replayed(dead: World) -> None:
    await dead.changes()
    assert dead.priorities() == [None]
    await again(MemoryState(dead.table), decode(dead.sent[0].body, "person"), now=dead.time)
    await dead.changes()
    assert dead.priorities() == [1]
    assert not [key for key in dead.table.rows if key[0] == "write_back_due"]


async def test_a_dead_row_gets_new_values_by_itself(dead: World) -> None:
    dead.people[1]["priority"] = 2
    await dead.changes()
    assert dead.priorities() == [2]


async def test_a_row_that_is_gone_is_no_failure(world: World) -> None:
    world.add_many(2, logged=True)

    def vanish() -> None:
        world.rows_of["contact"].pop(guid(2), None)

    world.before_read = vanish
    run = await world.changes()
    assert (run.written, run.gone, run.failed) == (1, 1, 0)


async def test_persons_without_our_id_or_of_another_system_are_left_alone(world: World) -> None:
    world.add(1, priority=1)
    for number, key in ((2, None), (3, "CRM-77"), (4, guid(400))):
        world.people[number] = world.people[1] | {"id": number, "externalPersonId": key}
    world.log += [1, 2, 3, 4, 5]  # the fifth was merged into another
    run = await world.changes()
    assert (run.read, run.written, run.failed) == (1, 1, 0)


async def test_rows_that_the_filter_keeps_out_are_not_written(world: World) -> None:
    world.add(1, priority=1)
    world.add(2, priority=1)
    world.rows_of["contact"][guid(2)]["new_synctomkto"] = False
    world.excluded = SyncFilter("new_synctomkto")
    world.log += [1, 2]
    await world.changes()
    assert world.priorities() == [1, None]


async def test_a_table_without_updatemultiple_is_written_by_batch_and_asked_once(world: World) -> None:
    world.has_bulk = False
    world.add_many(1, logged=True)
    assert (await world.changes()).written == 1
    world.people[1]["priority"] = 2
    world.log.append(1)
    run = await world.changes()
    assert (run.written, run.dataverse_requests) == (1, 2)  # read and written


async def test_who_may_not_write_at_all_ends_the_run_and_loses_nothing(world: World) -> None:
    world.add_many(3, logged=True)
    world.refused = {guid(number): ("0x80040220", "prvWriteContact is missing") for number in (1, 2, 3)}
    run = await world.changes()
    assert "prvWriteContact" in run.error
    assert not world.sent
    world.refused.clear()
    await world.changes()
    assert world.priorities() == [1, 1, 1]


async def test_a_run_that_is_killed_while_it_writes_is_done_again(world: World) -> None:
    world.add_many(600, logged=True)
    world.stop_after_writes = 1
    with pytest.raises(KilledError):
        await world.changes()
    assert None in world.priorities()
    world.stop_after_writes = 0
    run = await world.changes(world.write_back())
    assert set(world.priorities()) == {1}
    assert run.differing < 600


async def test_a_token_that_marketo_refuses_is_replaced_and_a_sweep_makes_up_for_it(world: World) -> None:
    world.add_many(1, logged=True)
    await world.changes()
    world.now += timedelta(days=100)
    world.bad_tokens = {"1"}
    world.people[1]["priority"] = 2
    world.paths.clear()
    run = await world.changes()
    assert run.complete
    assert world.priorities() == [2]
    since = next(unquote(path) for path in world.paths if "sinceDatetime" in path).partition("sinceDatetime=")[2]
    assert world.now - datetime.fromisoformat(since) == timedelta(days=89)
    assert (await world.state("sweep"))["asked"]


async def test_empty_pages_with_more_behind_them_are_read_on(world: World) -> None:
    world.add(1, priority=1)
    world.log += [*[0] * 900, 1]  # of no type that we asked for
    assert (await world.changes()).written == 1


async def test_many_changes_are_done_in_slices_each_of_which_is_remembered(world: World) -> None:
    world.add_many(3000, logged=True)
    turns = 0

    def slow() -> None:
        nonlocal turns
        turns += 1
        world.seconds += 60

    world.before_read = slow
    run = await world.changes()
    assert not run.complete
    assert 0 < run.written < 3000
    world.before_read = lambda: None
    rest = await world.changes()
    assert run.written + rest.written == 3000
    assert rest.read == 3000 - run.written


async def test_one_instance_at_a_time(world: World) -> None:
    world.add_many(1, logged=True)
    async with world.work.alone() as mine:
        assert mine
        await world.write_back(instance_id="b").tick()
        assert world.priorities() == [None]
    await world.write_back(instance_id="b").tick()
    assert world.priorities() == [1]


async def test_a_dry_run_writes_nothing_anywhere(world: World) -> None:
    world.add_many(1, logged=True)
    work = world.write_back(dry_run=True)
    async with work.alone():
        runs = [await work.changes(), await work.sweep(whole=True), await work.people([guid(1)], [])]
    assert [(run.differing, run.written) for run in runs if run] == [(1, 0)] * 3
    assert world.priorities() == [None]
    assert not world.table.rows


async def test_values_that_do_not_fit_are_counted_and_the_others_written(world: World) -> None:
    world.add(1, priority="high", msiType="Web")
    world.log.append(1)
    run = await world.changes()
    assert run.unfit == 1
    assert world.rows_of["contact"][guid(1)]["msi_type"] == "Web"


@pytest.mark.parametrize(
    "gone",
    [
        MarketoError("1006", "Field 'priority' not found", kind=Kind.CONFIGURATION),
        DataverseError("0x80060888", "Could not find a property named 'x'", kind=Kind.CONFIGURATION),
    ],
)
async def test_a_field_or_column_that_is_gone_makes_a_new_plan_at_once(world: World, gone: Exception) -> None:
    world.add_many(1, logged=True)

    def fail() -> None:
        world.before_read = lambda: None
        raise gone

    world.before_read = fail
    run = await world.changes()
    assert (run.error, run.written, world.forgotten) == ("", 1, 1)


async def test_an_outage_is_told_and_the_next_run_begins_where_this_one_was(world: World) -> None:
    world.add_many(1, logged=True)

    def fail() -> None:
        world.before_read = lambda: None
        raise MarketoError("HTTP 502", "away", kind=Kind.TRANSIENT)

    world.before_read = fail
    assert (await world.changes()).error == "HTTP 502: away"
    assert (await world.changes()).written == 1
    assert [run["error"] for run in runs_of(await world.state("runs"))] == ["", "HTTP 502: away"]


async def test_where_the_row_was_is_remembered(world: World) -> None:
    world.add(1, "lead", priority=1)
    world.log.append(1)
    first = await world.changes()
    world.people[1]["priority"] = 2
    world.log.append(1)
    second = await world.changes()
    assert (first.dataverse_requests, second.dataverse_requests) == (3, 2)


WHY: dict[str, Callable[[World], object]] = {
    "the row is gone": lambda world: world.rows_of["contact"].clear(),
    "the filter keeps it out": lambda world: world.rows_of["contact"][guid(1)].update(new_synctomkto=False),
    "the person is gone": lambda world: world.people.clear(),
}


@pytest.mark.parametrize("happens", WHY.values(), ids=WHY)
async def test_what_is_no_longer_to_be_written_is_no_longer_tried(
    world: World, happens: Callable[[World], object]
) -> None:
    world.excluded = SyncFilter("new_synctomkto")
    world.add_many(1, logged=True)
    world.refused = {guid(1): LOCKED}
    await world.changes()
    assert [kind for kind, _ in world.table.rows if kind == "write_back_due"]
    happens(world)
    world.now += timedelta(hours=1)
    await world.changes()
    assert not [kind for kind, _ in world.table.rows if kind == "write_back_due"]


async def test_pages_that_name_nobody_for_longer_than_a_run_has_time_are_read_in_several(world: World) -> None:
    """As after the import of a list: a stream of new leads, of whom none has anything to write back."""
    world.add_many(1, logged=True)
    world.new_leads, world.seconds_of_a_page = 1000, 0.4
    runs = [await world.changes() for _ in range(4)]
    assert [run.error for run in runs] == [""] * 4
    assert [run.complete for run in runs] == [False, False, True, True]
    assert sum(run.marketo_calls for run in runs) < 1020
    assert world.priorities() == [1]


async def test_a_dry_run_counts_everything_that_has_changed(world: World) -> None:
    world.add_many(4000, logged=True)
    run = await world.changes(world.write_back(dry_run=True))
    assert (run.read, run.differing, run.written, run.complete) == (4000, 4000, 0, True)


async def test_one_row_that_may_not_be_written_is_a_dead_letter_at_last(world: World) -> None:
    world.add_many(2, logged=True)
    world.refused = {guid(1): ("0x80040220", "SecLib::AccessCheckEx failed")}
    for _ in range(6):
        await world.changes()
        world.now += timedelta(hours=2)
    assert [letter.properties["code"] for letter in world.sent] == ["0x80040220"]


async def test_a_lease_that_is_lost_ends_the_timer_s_run_without_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sole_run, "RENEW_SECONDS", 0.0)
    thief = {"owner": "b", "lasts": 60.0}
    work = world.write_back()

    async def stolen() -> Run:
        await MemoryState(world.table).change("write_back", "lease", lambda _: thief)
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(work, "changes", stolen)
    await asyncio.create_task(work.tick())
    assert "write_back_stopped LeaseLost" in caplog.text
