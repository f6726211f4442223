"""Persons are merged or deleted in Marketo by hand: their rows are synced again."""

import json
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.model.record import Record, decode
from shared.sync.history import What
from shared.write_back.plan import Plan
from tests.support.queues import QUEUES
from tests.support.values import guid
from tests.support.write_back import NOON, PLAN, KilledError, World

MERGES = 32
#: What a test is about: the instance tells of merges and deletions.
WATCHED = replace(PLAN, merges=MERGES)


@pytest.fixture
def told() -> World:
    world = World()
    world.plan = WATCHED
    return world


def merge(winner: int, *losers: int) -> dict[str, Any]:
    attributes = [
        {"name": "Master Updated", "value": "true"},
        {"name": "Merge IDs", "value": json.dumps(losers)},
    ]
    return {"leadId": winner, "activityTypeId": MERGES, "primaryAttributeValue": str(winner), "attributes": attributes}


def sent(world: World) -> list[Record]:
    assert {message.queue for message in world.sent} <= {QUEUES.of("person")}
    assert {message.session for message in world.sent} <= {"person"}
    return [record for message in world.sent for record in decode(message.body, "person")]


async def test_the_row_of_the_person_that_is_left_is_synced_again_with_its_roles(told: World) -> None:
    told.add(1, priority=4)
    told.add(2, "lead")
    told.log += [merge(1, 8, 9), merge(2, 7)]
    run = await told.changes()
    assert sorted((record.table, record.id) for record in sent(told)) == [("contact", guid(1)), ("lead", guid(2))]
    assert all(record.filter_changed for record in sent(told)), "its roles follow"
    assert told.priorities() == [4], "Sales Insight's values may be those of the other one"
    noted = [event for event in await told.kept.events() if event.what == What.MERGED_IN_MARKETO]
    assert sorted((event.id, event.text.partition(": ")[2]) for event in noted) == [
        (guid(1), "Marketo id 1; gone are Marketo ids 8, 9"), (guid(2), "Marketo id 2; gone are Marketo ids 7"),
    ]  # fmt: skip
    assert run.complete
    told.sent.clear()
    await told.changes()
    assert not told.sent


async def test_a_merge_of_persons_without_a_row_in_dynamics_sends_nothing(told: World) -> None:
    told.people[3] = {"id": 3, "externalPersonId": None, "priority": None, "msiType": None}
    told.log += [merge(3, 4)]
    await told.changes()
    assert not told.sent


async def test_a_run_that_is_killed_before_it_is_sent_does_it_again(told: World) -> None:
    told.add(1)
    told.log += [merge(1, 2)]
    usual = told.work.by_hand

    async def killed(_: object) -> None:
        raise KilledError

    told.work.by_hand = replace(usual, send=killed)
    with pytest.raises(KilledError):
        await told.changes()
    await told.changes(told.write_back(instance_id="a"))
    assert [record.id for record in sent(told)] == [guid(1)]


async def test_deletions_are_read_once_an_hour_and_cost_nothing_else(
    told: World, caplog: pytest.LogCaptureFixture
) -> None:
    await told.changes()
    assert sum("deletedleads" in path for path in told.paths) == 1
    told.now += timedelta(minutes=50)
    quiet = await told.changes()
    assert quiet.marketo_calls == 2
    told.deletions += range(1, 400)
    told.now += timedelta(minutes=10)
    with caplog.at_level(logging.INFO):
        found = await told.changes(told.write_back(instance_id="a"))
    assert found.marketo_calls == 4, "two pages"
    assert "deleted_in_marketo persons=399 marketo_ids=1,2,3," in caplog.text
    assert not told.sent
    assert not (await told.state("sweep")).get("asked")


async def test_where_sync_toml_wants_it_the_sweep_has_rows_without_a_person_synced(told: World) -> None:
    work = told.write_back(creates=True)
    told.add_many(3)
    told.add(4, "lead")
    for number in (2, 4):
        del told.people[number]
    told.deletions += [2, 4]
    async with work.alone():
        await work.changes()
        assert not told.sent
        await work.sweep()
    assert sorted((record.table, record.id) for record in sent(told)) == [("contact", guid(2)), ("lead", guid(4))]
    told.sent.clear()
    told.now += timedelta(days=1)
    async with work.alone():
        await work.changes()
        night = await work.sweep()
    assert night is not None
    assert night.read == 2, "the night's sweep compares all rows that have a person"
    assert not told.sent, "and is no reason to create the others"


async def test_an_app_without_fields_to_write_back_watches_as_well(told: World) -> None:
    told.add(1)
    told.log += [merge(1, 2)]
    told.plan = Plan("rules", NOON, {"contact": (), "lead": ()}, merges=MERGES)
    told.fields = {"id", "externalPersonId"}
    run = await told.changes()
    assert [record.id for record in sent(told)] == [guid(1)]
    assert (run.read, run.gone) == (0, 0)


async def test_a_dry_run_tells_nobody(told: World, caplog: pytest.LogCaptureFixture) -> None:
    told.add(1)
    told.log += [merge(1, 2)]
    told.deletions += [3]
    with caplog.at_level(logging.INFO):
        await told.changes(told.write_back(dry_run=True))
    assert not told.sent
    assert "in_marketo" not in caplog.text
