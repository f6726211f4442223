"""Leases: one sender per entity over all processes, whatever their clocks say, storage does and answers are lost."""

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.virtual import MemoryTable, Time, leases
from shared.model.errors import NotNowError
from shared.sync.in_flight import MOST, InFlight
from shared.sync.lease import (
    COME_AGAIN_SECONDS,
    LOOK_SECONDS,
    LOOKS,
    MARGIN,
    SPARE,
    SPARE_SECONDS,
    STORAGE_AWAY_SECONDS,
    Sending,
)
from tests.support.values import NOON
from tests.support.virtual_time import in_virtual_time

CALL = 90.0
LASTS = CALL * MARGIN * (1 + SPARE) + SPARE_SECONDS


class World:
    """Processes with clocks of their own, over one table with storage's clock."""

    def __init__(self, time: Time) -> None:
        self.time = time
        self.table = MemoryTable(seconds=0.01)
        self.names = itertools.count()
        self.killed: list[Any] = []

    def process(self, *, ahead: float = 0.0) -> Sending:
        """Another process, whose clock is so many seconds ahead."""
        me = f"p{next(self.names)}"
        return leases(lambda: self.time.clock() + ahead, self.table, instance_id=me, longest_call=CALL).of("person")


@pytest.fixture
def time() -> Time:
    return Time(NOON)


async def kill_a_holder(world: World) -> None:
    """Take it, and never give it back."""
    held = world.process().held()
    world.killed.append(held)
    await held.__aenter__()


async def refused(sending: Sending) -> NotNowError:
    with pytest.raises(NotNowError) as error:
        async with sending.held():
            pass
    return error.value


async def seconds_until_held(world: World, sending: Sending) -> float:
    began = world.time.passed
    while True:
        try:
            async with sending.held():
                return world.time.passed - began
        except NotNowError as error:
            await asyncio.sleep(error.after)


@in_virtual_time
async def test_in_the_ordinary_case_it_costs_two_requests_and_one_more_after_another_process(time: Time) -> None:
    world = World(time)
    one, other = world.process(), world.process()
    costs = []
    for sending in (one, one, one, other, other, one):
        before = world.table.requests
        async with sending.held():
            await sending.begin(["a"])
            sending.ended(["a"])
        costs.append(world.table.requests - before)
    assert costs[:3] == [3, 2, 2]
    assert max(costs) <= 4


@pytest.mark.parametrize("processes", [1, 2])
@in_virtual_time
async def test_two_invocations_never_hold_it_together_and_both_get_their_turn(time: Time, processes: int) -> None:
    world = World(time)
    holders = 0
    turns: list[str] = []

    async def loop(name: str, sending: Sending) -> None:
        nonlocal holders
        for _ in range(10):
            async with sending.held():
                holders += 1
                assert holders == 1
                turns.append(name)
                await asyncio.sleep(2.0)
                holders -= 1
            await asyncio.sleep(1.0)  # the next batch

    one = world.process()
    await asyncio.gather(loop("a", one), loop("b", world.process() if processes == 2 else one))
    assert turns.count("a") == turns.count("b") == 10


@in_virtual_time
async def test_who_finds_it_held_waits_some_seconds_and_then_comes_again_later_without_spinning(time: Time) -> None:
    world = World(time)
    await kill_a_holder(world)
    before = world.table.requests
    error = await refused(world.process())
    assert (error.code, error.after) == ("LeaseHeld", COME_AGAIN_SECONDS)
    assert time.passed >= LOOKS * LOOK_SECONDS
    assert world.table.requests - before <= LOOKS + 1


@pytest.mark.parametrize("ahead", [0.0, 86_400.0, -86_400.0, 3_600.0, 7.0])
@in_virtual_time
async def test_after_a_crash_the_next_one_waits_until_every_call_of_it_has_ended(time: Time, ahead: float) -> None:
    """Whatever its clock says: storage's own tells how old the lease is."""
    world = World(time)
    await kill_a_holder(world)
    assert LASTS - 2 <= await seconds_until_held(world, world.process(ahead=ahead)) <= LASTS + COME_AGAIN_SECONDS + 2


@in_virtual_time
async def test_a_process_that_could_not_give_it_back_takes_it_again_at_once(time: Time) -> None:
    world = World(time)
    sending = world.process()
    async with sending.held():
        world.table.away = True
    world.table.away = False
    assert await seconds_until_held(world, sending) < 1


@in_virtual_time
async def test_a_call_begins_only_when_the_lease_outlives_it_and_a_long_invocation_renews_it(time: Time) -> None:
    world = World(time)
    sending, other = world.process(), world.process()
    async with sending.held():
        for _ in range(20):
            await asyncio.sleep(15)
            await sending.begin(["a"])
            assert (await refused(other)).code == "LeaseHeld"
            sending.ended(["a"])


@in_virtual_time
async def test_who_has_lost_it_sends_nothing_more(time: Time) -> None:
    world = World(time)
    sending, other = world.process(), world.process()
    async with sending.held():
        await asyncio.sleep(LASTS + 5)  # it hung
        async with other.held():
            with pytest.raises(NotNowError, match="LeaseLost"):
                await sending.begin(["a"])
        with pytest.raises(NotNowError, match="LeaseLost"):
            await sending.begin(["a"])
    async with sending.held():
        await sending.begin(["a"])


@in_virtual_time
async def test_a_call_that_an_error_has_left_behind_does_not_begin_after_its_invocation(time: Time) -> None:
    world = World(time)
    sending = world.process()
    async with sending.held():
        pass
    with pytest.raises(NotNowError):
        await sending.begin(["a"])


@in_virtual_time
async def test_without_storage_nothing_begins_and_the_records_wait(time: Time) -> None:
    world = World(time)
    sending = world.process()
    async with sending.held():
        await asyncio.sleep(LASTS)
        world.table.away = True
        with pytest.raises(NotNowError) as renewing:
            await sending.begin(["a"])
    errors = [renewing.value, await refused(sending)]
    assert [(error.code, error.after) for error in errors] == [("StorageAway", STORAGE_AWAY_SECONDS)] * 2


@in_virtual_time
async def test_keys_without_an_answer_wait_in_every_process_and_others_go_on(time: Time) -> None:
    world = World(time)
    sending, other = world.process(), world.process(ahead=5_000.0)
    async with sending.held():
        await sending.begin(["lost", "lost too"])
        await sending.begin(["answered"])
        sending.ended(["answered"])
    for process in (sending, other, world.process()):
        async with process.held():
            assert process.in_flight("answered") == process.in_flight("another") == 0
            assert CALL <= process.in_flight("lost") <= CALL * MARGIN + 1
    await asyncio.sleep(60)
    async with world.process().held():  # who writes the row again does not prolong it
        pass
    await asyncio.sleep(CALL * MARGIN - 60 + 3)  # storage tells whole seconds
    for process in (sending, other, world.process()):
        async with process.held():
            assert process.in_flight("lost") == process.in_flight("lost too") == 0


@in_virtual_time
async def test_a_cancelled_invocation_leaves_its_key_in_flight(time: Time) -> None:
    world = World(time)
    sending, other = world.process(), world.process()

    async def hangs() -> None:
        async with sending.held():
            await sending.begin(["lost"])
            await asyncio.sleep(1_000)

    task = asyncio.create_task(hangs())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    async with other.held():
        assert other.in_flight("lost") >= CALL


def test_more_keys_than_a_row_has_room_for_let_all_of_the_entity_wait() -> None:
    keys = InFlight(lambda: 0.0)
    keys.add((str(n) for n in range(MOST + 1)), 50.0)
    assert keys.as_json() == [[50, "********"]]
    row = {"in_flight": keys.as_json()}
    other = InFlight(lambda: 100.0)
    other.merge(row, 20.0)
    assert other.seconds("anything") == 30


@given(st.dictionaries(st.text(max_size=20), st.floats(0, 200), max_size=30), st.floats(0, 100))
def test_every_process_reads_the_same_in_flight_and_never_too_short(until: dict[str, float], age: float) -> None:
    mine = InFlight(lambda: 0.0)
    for key, moment in until.items():
        mine.add([key], moment)
    theirs = InFlight(lambda: 1_000.0)
    theirs.merge({"in_flight": mine.as_json()}, age)
    for key, moment in until.items():
        assert max(0.0, moment - age) <= theirs.seconds(key) + 1e-6 <= max(0.0, moment - age) + 2
    total: Any = sum(len(digests) for _, digests in mine.as_json())
    assert total < 32_000
