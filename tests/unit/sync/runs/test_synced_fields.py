"""What runs have brought to all records is noted, and what was mapped since is told."""

from typing import Any

import pytest

from shared.config.sync_toml import SyncConfig
from shared.sync.runs.model import RunKind, Scope, new_run
from shared.sync.runs.synced_fields import KIND, Unsynced, filter_of, rules_of, unsynced
from tests.support.run_world import World
from tests.support.values import NOON

OLD = {"email": "emailaddress1", "phone": ["telephone1", "mobilephone"]}


def config(lead: dict[str, Any], **tables: dict[str, Any]) -> SyncConfig:
    sections = {"lead": lead, **tables}
    return SyncConfig.model_validate({name: {"fields": fields} for name, fields in sections.items()})


@pytest.fixture
def world() -> World:
    world = World()
    world.fill("lead", 3)
    world.rules = config(OLD)
    return world


async def ran(world: World, kind: RunKind = RunKind.INITIAL_SYNC, **scope: Any) -> None:
    """A run of the leads, to its end."""
    run = new_run(kind, Scope(("lead",), **scope), world.wall.now, unique=str(len(world.events)))
    await world.runs.create(run)
    await world.ticks()
    assert (await world.run(run)).is_over


def told(world: World) -> list[Unsynced]:
    rows = {name: value for (kind, name), value in world.state.stored.items() if kind == KIND}
    return unsynced(world.rules, rows)


async def test_a_field_that_is_mapped_after_an_initial_sync_is_told_until_a_quick_sync_has_brought_it(
    world: World,
) -> None:
    await ran(world)
    assert world.state.stored[KIND, "lead"] == {
        "synced": rules_of(world.rules, "lead"), "filter": filter_of(world.rules, "lead"), "tables": ["lead"],
    }  # fmt: skip
    assert told(world) == []
    world.rules = config({**OLD, "title": "jobtitle", "city": "address1_city"})
    assert told(world) == [Unsynced("lead", ("title", "city"))]
    await ran(world, RunKind.QUICK_SYNC, fields=("Title",))
    assert told(world) == [Unsynced("lead", ("city",))]
    await ran(world, RunKind.QUICK_SYNC, fields=("city",))
    assert told(world) == []


async def test_a_field_that_is_mapped_otherwise_is_told_too(world: World) -> None:
    await ran(world)
    world.rules = config({**OLD, "phone": "mobilephone"})
    assert told(world) == [Unsynced("lead", ("phone",))]


async def test_where_no_run_was_ever_complete_nothing_is_told(world: World) -> None:
    assert told(world) == []
    await ran(world, RunKind.QUICK_SYNC, fields=("email",))
    assert told(world) == []


@pytest.mark.parametrize("scope", [{"filter": "statecode eq 0"}, {"changed_since": NOON}, {"created_since": NOON}])
async def test_a_run_over_a_part_of_the_rows_proves_nothing(world: World, scope: dict[str, Any]) -> None:
    await ran(world, **scope)
    assert (KIND, "lead") not in world.state.stored


async def test_a_run_that_sends_what_differs_proves_nothing(world: World) -> None:
    await ran(world, RunKind.RECONCILE)
    assert (KIND, "lead") not in world.state.stored


async def test_a_table_that_is_mapped_later_needs_a_run_of_its_own(world: World) -> None:
    await ran(world)
    world.rules = config(OLD, opportunity={"name": "name"})
    assert told(world) == [Unsynced("opportunity", ("name",), is_whole=True)]


async def test_a_table_that_was_mapped_when_others_had_their_run_is_nobody_s_business(world: World) -> None:
    world.rules = config(OLD, opportunity={"name": "name"})
    await ran(world)
    assert told(world) == [], "somebody has decided to begin with the leads"


def test_rules_of_every_form_are_noted_as_they_are() -> None:
    rule = {"column": "statuscode", "convert": "is", "values": [1, 2], "when": {"statecode": 0}}
    rules = rules_of(config({"priority": rule, "name": ["a", "b"]}), "lead")
    assert rules == {
        "priority": [{"columns": ["statuscode"], "convert": "is", "values": [1, 2], "when": {"statecode": [0]}}],
        "name": [{"columns": ["a"]}, {"columns": ["b"]}],
    }


async def test_what_was_mapped_while_the_run_went_on_has_not_reached_all_rows(world: World) -> None:
    def deploy() -> None:
        world.rules = config({**OLD, "title": "jobtitle"})

    world.before_sync = deploy  # when the first page has been sent
    await ran(world)
    assert told(world) == [Unsynced("lead", ("title",))]


def filtered(*states: int) -> SyncConfig:
    return SyncConfig.model_validate({"lead": {"fields": OLD, "filter": {"statecode": list(states)}}})


async def test_rows_were_judged_by_the_filter_of_the_last_run(world: World) -> None:
    await ran(world)
    world.rules = filtered(0)
    assert told(world) == [Unsynced("lead", (), is_filtered_anew=True)]
    await ran(world, RunKind.QUICK_SYNC, fields=("email",))
    assert told(world) == [Unsynced("lead", (), is_filtered_anew=True)], "a quick sync creates nobody"
    await ran(world)
    assert told(world) == []


async def test_a_filter_that_is_changed_while_the_run_goes_on_has_not_judged_all_rows(world: World) -> None:
    def deploy() -> None:
        world.rules = filtered(0, 1)

    world.rules = filtered(0)
    world.before_sync = deploy  # when the first page has been sent
    await ran(world)
    assert told(world) == [Unsynced("lead", (), is_filtered_anew=True)]


async def test_of_a_run_of_an_earlier_version_nobody_knows_the_filter(world: World) -> None:
    await ran(world)
    del world.state.stored[KIND, "lead"]["filter"]
    world.rules = filtered(0)
    assert told(world) == []


async def test_without_storage_the_run_waits_and_the_note_is_not_lost(world: World) -> None:
    run = await world.start("lead")
    world.state.storage_away = True
    await world.ticks(2)
    assert not (await world.run(run)).is_over
    world.state.storage_away = False
    await world.ticks()
    assert (await world.run(run)).is_over
    assert told(world) == []
    assert (KIND, "lead") in world.state.stored
