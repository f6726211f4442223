"""The brake on deletions: what may go within an hour, counted over all instances, and when it stops."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.codes import Kind
from shared.model.entities import COMPANY, PERSON, Entity
from shared.model.errors import DataverseError
from shared.model.outcome import Failed
from shared.sync.delete_brake import KIND, DeleteBrake
from tests.support.state import SharedState
from tests.support.values import NOON

ON = {"on": "2026-03-04T12:00:00.000Z", "limit": 500, "stopped": 100}


class World:
    """The shared state, and what Dynamics says of its rows."""

    def __init__(self) -> None:
        self.state: Any = SharedState()
        self.now = NOON
        self.rows: int | Exception = 0
        self.asked = 0
        self.brake = self.instance()

    def instance(self, limit: int = 500) -> DeleteBrake:
        async def count_rows(_: Entity) -> int:
            self.asked += 1
            if isinstance(self.rows, Exception):
                raise self.rows
            return self.rows

        return DeleteBrake(self.state, limit=limit, count_rows=count_rows, now=lambda: self.now)

    async def take(self, wanted: int, entity: Entity = PERSON, *, by: DeleteBrake | None = None) -> int:
        """How many of so many may go."""
        granted, stopped = await (by or self.brake).let_go(entity, range(wanted))
        assert (stopped is None) == (len(granted) == wanted)
        return len(granted)

    def row(self, entity: str = "person") -> dict[str, Any]:
        row = self.state.stored[KIND, entity]
        return {name: value for name, value in row.items() if name != "slots"}


async def test_below_the_limit_all_go_and_dynamics_is_asked_once_an_hour(world: World) -> None:
    assert [await world.take(250) for _ in range(2)] == [250] * 2
    assert world.asked == 1
    assert world.row() == {}
    world.now += timedelta(minutes=61)
    assert await world.take(250) == 250
    assert world.asked == 2


async def test_without_anything_to_delete_nobody_is_asked(world: World) -> None:
    assert await world.take(0) == 0
    assert world.asked == 0
    assert not world.state.stored


async def test_instances_count_together_and_entities_apart(world: World) -> None:
    await world.take(400, by=world.instance())
    assert await world.take(200, by=world.instance()) == 100
    assert await world.take(200, COMPANY, by=world.instance()) == 200
    assert world.row() == ON


async def test_it_stays_on_until_it_is_released(world: World) -> None:
    await world.take(600)
    world.now += timedelta(days=2)
    assert await world.take(3) == 0
    assert world.row() == ON | {"stopped": 103}
    await world.state.remove(KIND, "person")
    assert await world.take(3) == 3


async def test_what_went_an_hour_ago_does_not_count(world: World) -> None:
    await world.take(500)
    world.now += timedelta(minutes=61)
    assert await world.take(500) == 500


async def test_of_many_rows_a_twentieth_may_go(world: World) -> None:
    world.rows = 40_000
    assert await world.take(1_900) == 1_900
    assert await world.take(200) == 100
    assert world.asked == 1
    assert world.row()["limit"] == 2_000


async def test_once_on_its_limit_stands(world: World) -> None:
    """What an operator reads is the limit by which the others were stopped."""
    world.rows = 40_000
    await world.take(2_100)
    world.rows = 0
    granted, stopped = await world.instance().let_go(PERSON, ["one"])
    assert granted == []
    assert isinstance(stopped, Failed)
    assert (stopped.code, "more than 2000 records" in stopped.message) == ("DeleteBrake", True)


async def test_where_dynamics_does_not_say_how_many_rows_it_has_the_limit_of_sync_toml_stands(world: World) -> None:
    world.rows = DataverseError("0x80040220", "no privilege", kind=Kind.CONFIGURATION)
    assert await world.take(501) == 500
    assert world.row()["limit"] == 500


async def test_what_could_not_be_counted_is_asked_for_again(world: World) -> None:
    world.rows = DataverseError("HTTP 503", "away", kind=Kind.TRANSIENT)
    assert await world.take(400) == 400
    world.rows = 40_000
    assert await world.take(400) == 400
    assert world.row() == {}


async def test_what_comes_again_is_not_counted(world: World) -> None:
    await world.take(300)
    world.now += timedelta(minutes=10)
    await world.take(200)
    await world.brake.give_back(PERSON, 350)
    assert await world.take(350) == 350


@pytest.mark.parametrize(("most_rows", "limit"), [(0, 500), (18_000, 900)])
@given(
    steps=st.lists(
        st.tuples(st.integers(1, 400), st.booleans(), st.integers(0, 40), st.integers(0, 9), st.integers(0, 2)),
        max_size=20,
    )
)
async def test_never_more_than_the_limit_go_within_an_hour(
    most_rows: int, limit: int, steps: list[tuple[int, bool, int, int, int]]
) -> None:
    """Whoever asks: some instances have counted more rows than others, some none, and several ask at a time."""
    world, went = World(), list[tuple[datetime, int]]()
    instances = [world.instance() for _ in range(3)]
    for wanted, released, minutes, rows, who in steps:
        if released:
            row = world.state.stored.get((KIND, "person"), {})
            await world.state.put(KIND, "person", {"slots": row.get("slots", {})})
        world.rows = min(rows * 2_000, most_rows) or DataverseError("HTTP 503", "away", kind=Kind.TRANSIENT)
        asking = (instances[who], instances[who - 1], world.instance())
        for granted in await asyncio.gather(*(world.take(wanted, by=brake) for brake in asking)):
            went.append((world.now, granted))
        # Slots are of five minutes: the last hour is at most so much shorter.
        assert sum(n for at, n in went if world.now - at < timedelta(minutes=55)) <= limit
        world.now += timedelta(minutes=minutes)
