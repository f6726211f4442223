"""The brake on deletions: what may go within an hour, counted over all instances, and when it stops."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.codes import Kind
from shared.model.entities import COMPANY, PERSON, Entity
from shared.model.errors import DataverseError, StorageUnavailableError
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

    def row(self, entity: str = "person") -> dict[str, Any]:
        row = self.state.stored[KIND, entity]
        return {name: value for name, value in row.items() if name != "slots"}


async def test_below_the_limit_all_go_and_dynamics_is_not_asked(world: World) -> None:
    assert [await world.brake.admit(PERSON, 250) for _ in range(2)] == [(250, 500)] * 2
    assert world.asked == 0
    assert world.row() == {}


async def test_instances_count_together_and_entities_apart(world: World) -> None:
    await world.instance().admit(PERSON, 400)
    assert await world.instance().admit(PERSON, 200) == (100, 500)
    assert await world.instance().admit(COMPANY, 200) == (200, 500)
    assert world.row() == ON


async def test_it_stays_on_until_it_is_released(world: World) -> None:
    await world.brake.admit(PERSON, 600)
    world.now += timedelta(days=2)
    assert await world.brake.admit(PERSON, 3) == (0, 500)
    assert world.row() == ON | {"stopped": 103}
    await world.state.remove(KIND, "person")
    assert await world.brake.admit(PERSON, 3) == (3, 500)


async def test_what_went_an_hour_ago_does_not_count(world: World) -> None:
    await world.brake.admit(PERSON, 500)
    world.now += timedelta(minutes=61)
    assert await world.brake.admit(PERSON, 500) == (500, 500)


async def test_of_many_rows_a_twentieth_may_go(world: World) -> None:
    world.rows = 40_000
    assert await world.brake.admit(PERSON, 1_900) == (1_900, 2_000)
    assert await world.brake.admit(PERSON, 200) == (100, 2_000)
    assert world.asked == 1
    assert await world.instance().admit(PERSON, 1) == (0, 2_000)


async def test_where_dynamics_does_not_say_how_many_rows_it_has_the_limit_of_sync_toml_stands(world: World) -> None:
    world.rows = DataverseError("0x80040220", "no privilege", kind=Kind.CONFIGURATION)
    assert await world.brake.admit(PERSON, 501) == (500, 500)


async def test_what_comes_again_is_not_counted(world: World) -> None:
    await world.brake.admit(PERSON, 300)
    world.now += timedelta(minutes=10)
    await world.brake.admit(PERSON, 200)
    await world.brake.give_back(PERSON, 350)
    assert await world.brake.admit(PERSON, 350) == (350, 500)


async def test_without_storage_nothing_is_admitted(world: World) -> None:
    world.state.storage_away = True
    with pytest.raises(StorageUnavailableError):
        await world.brake.admit(PERSON, 1)


@given(
    st.lists(
        st.tuples(st.integers(1, 400), st.booleans(), st.integers(0, 40)),
        max_size=20,
    )
)
async def test_never_more_than_the_limit_go_within_an_hour(steps: list[tuple[int, bool, int]]) -> None:
    world, went = World(), list[tuple[datetime, int]]()
    for wanted, released, minutes in steps:
        if released:
            row = world.state.stored.get((KIND, "person"), {})
            await world.state.put(KIND, "person", {"slots": row.get("slots", {})})
        granted, _ = await world.instance().admit(PERSON, wanted)
        assert 0 <= granted <= wanted
        went.append((world.now, granted))
        # Slots are of five minutes: the last hour is at most so much shorter.
        assert sum(n for at, n in went if world.now - at < timedelta(minutes=55)) <= 500
        world.now += timedelta(minutes=minutes)
