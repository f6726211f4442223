"""`msisync lifecycle release`: the brake is lifted when everything that it has stopped has gone, and not before."""

from argparse import Namespace
from types import SimpleNamespace
from typing import Any

import pytest

from shared.cli import lifecycle
from shared.cli.command import Exit, Result
from shared.sync.delete_brake import KIND
from tests.support.commands import typed
from tests.support.state import SharedState

ON = {"slots": {}, "on": "2026-03-04T11:58:00.000Z", "limit": 500, "stopped": 41}


class World:
    """The shared state, and a replay of dead letters that ends as the test says."""

    def __init__(self) -> None:
        self.state = SharedState()
        self.state.stored[KIND, "person"] = dict(ON)
        self.replayed = Result(Exit.OK, {"selected": 41, "went": 41}, lambda _: None)
        self.asked: list[tuple[Namespace, bool]] = []

    async def replay(self, _context: Any, given: Namespace, _progress: Any, *, confirms: bool) -> Result:
        self.asked.append((given, confirms))
        return self.replayed

    async def run(self, line: str) -> tuple[Result, str]:
        return await typed(SimpleNamespace(state=self.state), "lifecycle", "release", *line.split())

    @property
    def is_on(self) -> bool:
        return (KIND, "person") in self.state.stored


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(lifecycle, "replay", made.replay)
    return made


async def test_what_the_brake_has_stopped_goes_confirmed_and_the_brake_is_lifted(world: World) -> None:
    result, text = await world.run("person --apply")
    assert (result.exit, result.data["lifted"], world.is_on) == (Exit.OK, True, False)
    ((given, confirms),) = world.asked
    assert (given.entity, given.code, given.apply, given.again, confirms) == ("person", "DeleteBrake", True, True, True)
    assert "The brake on deletions of person is lifted." in text


@pytest.mark.parametrize("left", [Exit.ATTENTION, Exit.FAILED])
async def test_while_some_are_left_the_brake_stays_on(world: World, left: Exit) -> None:
    world.replayed = Result(left, {"selected": 41, "went": 20}, lambda _: None)
    result, text = await world.run("person --apply --max 20")
    assert (result.exit, result.data["lifted"], world.is_on) == (left, False, True)
    assert "deletions of person have stopped at 2026-03-04 11:58 UTC" in text


async def test_a_dry_run_changes_nothing_and_says_that_there_is_something_to_do(world: World) -> None:
    world.replayed = Result(Exit.OK, {"selected": 0, "went": 0}, lambda _: None)
    result, text = await world.run("person")
    assert (result.exit, result.data["brake"]["stopped"], world.is_on) == (Exit.ATTENTION, 41, True)
    assert "msisync lifecycle release person --apply" in text


async def test_of_an_entity_whose_brake_is_not_on_there_is_nothing_to_release(world: World) -> None:
    world.replayed = Result(Exit.OK, {"selected": 0, "went": 0}, lambda _: None)
    result, text = await world.run("sales-person --apply")
    assert (result.exit, result.data["brake"], result.data["entity"]) == (Exit.OK, None, "sales_person")
    assert "not on" in text
