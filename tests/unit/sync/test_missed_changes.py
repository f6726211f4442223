"""Missed changes: what change tracking tells and the sync has not read is sent to the usual queues."""

from datetime import timedelta
from typing import Any

import pytest

from shared.model.codes import Kind
from shared.model.entities import ALL_TABLES
from shared.model.errors import BrokerUnavailableError, DataverseError
from shared.model.record import Record
from tests.support.tracking import World
from tests.support.values import NOON, guid, to

ROLES, CONTACTS, TEAMS = (ALL_TABLES[name] for name in ("connection", "contact", "team"))


@pytest.fixture
async def world() -> World:
    """A table of five rows whose first pass is over."""
    made = World()
    made.write(1, 2, 3, 4, 5)
    await made.tick()
    return made


async def test_the_first_pass_learns_the_link_and_sends_nothing(world: World) -> None:
    assert world.taken == []
    assert len(world.asked) == 3
    place = await world.place()
    assert (place.read, place.seen, place.at) == (5, world.version, NOON)


async def test_changed_and_deleted_rows_are_sent_once_as_plain_changes(world: World) -> None:
    world.write(2, 6)
    world.delete(1)
    world.delete(6)
    await world.tick()
    await world.tick()
    assert world.taken == [
        Record("account", guid(2), NOON),
        Record("account", guid(1), NOON, "delete"),
        Record("account", guid(6), NOON, "delete"),
    ]
    place = await world.place()
    assert (place.read, place.changed, place.deleted) == (0, 0, 0)


async def test_what_the_sync_has_read_is_not_sent_again(world: World) -> None:
    world.write(1, 2, 3)
    world.delete(4)
    await world.synced(1, 2, 4)
    world.write(2)
    await world.tick()
    assert world.sent == ["upsert 3", "upsert 2"]


async def test_a_row_that_is_back_or_gone_again_is_sent_whatever_was_known(world: World) -> None:
    world.delete(1)
    await world.synced(1)
    world.write(1)
    world.write(2)
    await world.synced(2)
    world.delete(2)
    await world.tick()
    assert world.sent == ["upsert 1", "delete 2"]


async def test_notes_are_not_needed(world: World) -> None:
    world.write(1)
    world.table.rows = {key: row for key, row in world.table.rows.items() if not key[0].startswith("synced")}
    await world.tick()
    assert world.sent == ["upsert 1"]


async def test_after_weeks_the_whole_table_is_read_and_only_newer_versions_are_sent(world: World) -> None:
    world.write(2, 7)
    world.oldest_token = world.version
    world.now += timedelta(days=30)
    await world.tick()
    assert world.sent == ["upsert 2", "upsert 7"]
    assert (await world.place()).read == 6
    world.write(3)
    await world.tick()
    assert world.sent[2:] == ["upsert 3"]


async def test_a_page_whose_link_is_refused_starts_the_whole_table_once_in_a_run(world: World) -> None:
    world.write(1, 2, 3)
    await world.tick(most_rows=2)
    gone = DataverseError("0x80060888", "no such cookie", kind=Kind.CONFIGURATION)
    world.errors = [gone]
    await world.tick()
    assert world.sent == ["upsert 1", "upsert 2", "upsert 1", "upsert 2", "upsert 3"]
    world.errors = [gone, gone, gone]
    await world.tick()
    assert len(world.errors) == 1
    assert "no such cookie" in (await world.place()).error


async def test_an_outage_waits_for_the_next_run_and_a_refusal_is_kept(world: World) -> None:
    world.write(1)
    world.errors = [DataverseError("Unreachable", "", kind=Kind.TRANSIENT)]
    await world.tick()
    assert (world.sent, (await world.place()).error) == ([], "")
    link = (await world.place()).delta
    world.errors = [DataverseError("0x80040220", "missing prvReadAccount", kind=Kind.CONFIGURATION)]
    await world.tick()
    place = await world.place()
    assert (place.delta, place.error) == (link, "0x80040220: missing prvReadAccount")
    await world.tick()
    assert world.sent == ["upsert 1"]
    assert (await world.place()).error == ""


async def test_a_run_sends_so_many_rows_and_the_next_one_goes_on(world: World) -> None:
    world.write(1, 2, 3, 4, 5)
    await world.tick(most_rows=3)
    assert len(world.sent) == 4
    await world.tick(most_rows=3)
    assert world.sent == [f"upsert {n}" for n in range(1, 6)]


async def test_a_run_ends_with_its_time(world: World) -> None:
    world.write(1, 2, 3)
    await world.tick(time_budget=0.0)
    assert world.sent == []
    await world.tick()
    assert len(world.sent) == 3


async def test_a_table_without_change_tracking_is_left_alone_until_it_has_it() -> None:
    world = World()
    world.tracked = False
    world.write(1)
    await world.tick()
    await world.tick()
    assert world.asked == []
    assert (await world.place()).off
    world.tracked = True
    await world.tick()
    world.write(1)
    await world.tick()
    assert world.sent == ["upsert 1"]
    assert not (await world.place()).off


async def test_a_broker_that_is_away_is_the_hosts_to_see_and_nothing_moves(world: World) -> None:
    world.write(1)
    process = world.process()

    async def away(_records: Any, _opportunities: Any) -> None:
        raise BrokerUnavailableError("ServiceBusConnectionError")

    process.take_up = away
    with pytest.raises(BrokerUnavailableError):
        await process.tick()
    world.table.away = True
    await world.tick()
    world.table.away = False
    await world.tick()
    assert world.sent == ["upsert 1"]


async def test_a_role_that_is_gone_or_has_moved_has_its_old_opportunity_compared() -> None:
    world = World(ROLES)
    deals = [guid(900 + n) for n in range(4)]
    for number, deal in enumerate(deals[:3]):
        world.write(number, **to("_record1id_value", "opportunity", deal))
    world.write(9, **to("_record1id_value", "contact", guid(1)))
    await world.tick()
    world.delete(0)
    world.delete(9)
    world.write(1, **to("_record1id_value", "opportunity", deals[3]))
    world.write(2, **to("_record1id_value", "opportunity", deals[2]))
    await world.tick()
    assert set(world.compared) == {deals[0], deals[1], deals[2]}
    world.compared.clear()
    world.delete(1)
    await world.tick()
    assert world.compared == [deals[3]]


async def test_a_role_that_came_and_went_between_two_runs_is_known_from_its_sync() -> None:
    world = World(ROLES)
    await world.tick()
    world.write(1, **to("_record1id_value", "opportunity", guid(900)))
    key = ("connection", guid(1))
    await world.versions().note("opportunity_role", {key: world.rows[guid(1)]}, {key: [guid(900)]}, {})
    world.delete(1)
    await world.tick()
    assert (world.sent, world.compared) == (["delete 1"], [guid(900)])


async def test_rows_that_the_app_has_written_last_are_sent_and_counted_apart() -> None:
    world = World(CONTACTS)
    await world.tick()
    world.write(1, _modifiedby_value=guid(77).upper())
    world.write(2, _modifiedby_value=guid(5))
    world.write(3)
    await world.tick()
    assert len(world.sent) == 3
    place = await world.place()
    assert (place.changed, place.own) == (3, 1)
    await world.tick()
    assert (await world.place()).own == 0


async def test_rows_that_decide_about_others_are_followed_and_their_deletions_say_nothing() -> None:
    world = World(TEAMS)
    world.write(1, 2)
    await world.tick()
    world.write(1)
    world.delete(2)
    await world.tick()
    assert world.taken == [Record("team", guid(1), NOON, deciding=True)]
