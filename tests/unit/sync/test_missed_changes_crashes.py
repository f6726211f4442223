"""A process that looks for missed changes may die at every step, and two may run at once: nothing is lost."""

import contextlib
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.record import Record
from shared.sync.synced_versions import GONE
from tests.support.tracking import PAGE, KilledError, World
from tests.support.values import guid


@pytest.fixture
async def world() -> World:
    """A table of five rows whose first pass is over."""
    made = World()
    made.write(1, 2, 3, 4, 5)
    await made.tick()
    return made


@pytest.mark.parametrize("after", [False, True])
async def test_a_process_may_die_at_every_step_and_nothing_is_lost(after: bool) -> None:
    died = 0
    for die_at in range(1, 100):
        world = World()
        world.write(1, 2, 3, 4, 5)
        await world.tick()
        world.write(1, 2, 3, 6)
        world.delete(4)
        world.delete(5)
        world.steps, world.die_at, world.after = 0, die_at, after
        try:
            await world.tick()
        except KilledError:
            died += 1
        else:
            break
        world.die_at = 0
        await world.tick()
        assert set(world.sent) == {"upsert 1", "upsert 2", "upsert 3", "upsert 6", "delete 4", "delete 5"}, die_at
        assert len(world.taken) <= 6 + PAGE, f"more than a page was sent twice: {die_at}"
    assert died > 8


async def test_a_first_pass_that_dies_goes_on_at_its_page() -> None:
    world = World()
    world.write(1, 2, 3, 4, 5)
    world.die_at, world.after = 4, True  # two pages are read and stored
    with pytest.raises(KilledError):
        await world.tick()
    world.die_at, asked = 0, len(world.asked)
    await world.tick()
    assert len(world.asked) - asked == 1
    assert world.taken == []
    world.write(3)
    await world.tick()
    assert world.sent == ["upsert 3"]


async def test_two_instances_at_once_lose_nothing_and_the_slower_one_stops(world: World) -> None:
    world.write(1, 2, 3)
    first, second = world.process(), world.process()
    take_up = world.take_up

    async def overtaken(records: Sequence[Record], opportunities: Sequence[Record]) -> None:
        first.take_up = take_up
        await take_up(records, opportunities)
        await second.tick()

    first.take_up = overtaken
    await first.tick()
    assert set(world.sent) == {"upsert 1", "upsert 2", "upsert 3"}
    assert len(world.sent) == 5
    world.write(4)
    await world.tick()
    assert world.sent[5:] == ["upsert 4"]


class Changing:
    """A world in which rows change, seen by the live path or hidden from it, and processes die.

    `arrived`: the version in which the sync has read each row last: when it was sent, or told of live.
    """

    def __init__(self, *, after: bool) -> None:
        self.world = World()
        self.after = after
        self.arrived: dict[str, int] = {}
        self.expired = False

    async def step(self, what: str, number: int) -> None:
        self.world.now += timedelta(minutes=1)
        if what == "expire":
            self.world.oldest_token, self.expired = self.world.version + 1, True
        elif what == "tick":
            self.world.steps, self.world.die_at, self.world.after = 0, number, self.after
            with contextlib.suppress(KilledError):
                await self.world.tick()
            self.world.die_at, self.world.oldest_token = 0, 0
            self.deliver()
        else:
            (self.world.write if "write" in what else self.world.delete)(number)
            if "hidden" not in what:
                await self.world.synced(number)
                self._read(guid(number))

    def deliver(self) -> None:
        for record in self.world.taken:
            self._read(record.id)
        self.world.taken.clear()

    def _read(self, id_: str) -> None:
        self.arrived[id_] = self.world.rows.get(id_, GONE)


_STEPS = st.one_of(
    st.tuples(st.sampled_from(["write", "delete", "hidden write", "hidden delete"]), st.integers(1, 6)),
    st.tuples(st.just("tick"), st.integers(0, 12)),
    st.tuples(st.just("expire"), st.just(0)),
)


@given(st.lists(_STEPS, max_size=30), st.booleans())
async def test_whatever_happens_in_whatever_order_the_last_version_of_each_row_arrives(
    steps: list[tuple[str, int]], after: bool
) -> None:
    """Only deletions are lost, with a link that was too old."""
    changing = Changing(after=after)
    world = changing.world
    await world.tick()
    for what, number in steps:
        await changing.step(what, number)
    await world.tick()
    changing.deliver()
    assert {id_: changing.arrived.get(id_) for id_ in world.rows} == world.rows
    gone = world.deleted if not changing.expired else ()
    assert all(changing.arrived.get(id_, GONE) == GONE for id_ in gone)
