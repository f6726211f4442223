"""Circuits: what opens and closes them, that a probe is one, how long records wait, what instances tell each other."""

import asyncio
import heapq
import json
from datetime import datetime, timedelta
from itertools import groupby, pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.azure.shared_state import dumped, parsed
from shared.model.codes import Kind
from shared.model.errors import DataverseError, MarketoError
from shared.sync.circuit import TOGETHER, Outage
from shared.sync.circuit_breaker import DATAVERSE, Circuits
from shared.sync.routing import chunked
from shared.transport.client import UNLIMITED
from tests.support.circuits import MINUTE, World, gateway
from tests.support.clocks import WallClock
from tests.support.values import NOON


async def test_a_failed_call_opens_the_circuit_and_nobody_calls_for_a_minute(world: World) -> None:
    assert await world.work() == 0
    assert world.calls == [(NOON, 3)]
    world.error = None
    for _ in range(3):
        assert await world.work() == 0
        world.clock.tick(19.9)
    assert len(world.calls) == 1


async def test_a_probe_is_one_call_with_one_try_and_closes_the_circuit_for_all_that_waits(world: World) -> None:
    await world.work()
    world.error = None
    world.clock.tick(MINUTE)
    assert await world.work() == 1000
    assert [tries for _, tries in world.calls] == [3, 1, 3, 3, 3]
    assert world.storage.rows == {}


async def test_the_time_between_probes_doubles_up_to_five_minutes(world: World) -> None:
    for _ in range(3 * 3600):
        await world.work()
        world.clock.tick(1)
    times = [at for at, _ in world.calls]
    pauses = [(after - before).total_seconds() for before, after in pairwise(times)]
    assert pauses[:4] == [60, 120, 240, 300]
    assert set(pauses[3:]) == {300}
    assert [tries for _, tries in world.calls[1:]] == [1] * len(pauses)


async def test_each_failed_probe_takes_fewer_records_and_not_always_the_same(world: World) -> None:
    await world.work()
    circuits = world.instances[0]
    seen: list[list[int]] = []
    for _ in range(11):
        world.clock.tick(5 * MINUTE)
        async with circuits.turn("person") as turn:
            group, rest = await circuits.admit(turn, list(range(1000)), 300)
            assert sorted([*group, *rest]) == list(range(1000))
            assert group == sorted(group)
            seen.append(group)
            with pytest.raises(MarketoError):
                await world.call(circuits)
    assert [len(group) for group in seen] == [300, 150, 75, 37, 18, 9, 4, 2, 1, 1, 1]
    assert len({tuple(group) for group in seen}) > 8


@pytest.mark.parametrize("kind", [Kind.TRANSIENT, Kind.TOKEN, Kind.CONFIGURATION, Kind.DAILY])
async def test_what_hits_every_call_of_marketo_opens(world: World, kind: Kind) -> None:
    world.error = gateway(kind)
    await world.work()
    assert "person" in world.storage.rows


@pytest.mark.parametrize("kind", [Kind.THROTTLED, Kind.SPLIT, Kind.PERMANENT, Kind.MISSING_PARENT, Kind.UNKNOWN])
async def test_throttling_and_refusals_of_records_open_nothing(world: World, kind: Kind) -> None:
    world.error = gateway(kind)
    await world.work(count=300)
    assert world.storage.rows == {}
    world.error = None
    assert await world.work() == 1000


@pytest.mark.parametrize(
    ("kind", "closes"), [(Kind.PERMANENT, True), (Kind.MISSING_PARENT, True), (Kind.THROTTLED, False)]
)
async def test_an_answered_probe_closes_even_if_its_records_are_refused(world: World, kind: Kind, closes: bool) -> None:
    await world.work()
    world.clock.tick(MINUTE)
    world.error = gateway(kind)
    await world.work(count=10)
    world.error = None
    assert (await world.work() > 0) is closes
    world.clock.tick(MINUTE)
    assert await world.work() == 1000


async def test_a_probe_in_which_nothing_was_called_is_none(world: World) -> None:
    await world.work()
    world.clock.tick(MINUTE)
    circuits = world.instances[0]
    async with circuits.turn("person") as turn:
        group, _ = await circuits.admit(turn, [1, 2, 3], 300)
        assert group
    world.error = None
    assert await world.work() == 1000


async def test_entities_have_circuits_of_their_own_and_dataverse_has_one_for_all(world: World) -> None:
    await world.work(entity="person")
    world.error = None
    assert await world.work(entity="company") == 1000
    world.error = DataverseError("503", "", kind=Kind.TRANSIENT)
    await world.work(entity="company", system="dataverse")
    world.error = None
    assert await world.work(entity="opportunity") == 0
    assert sorted(world.storage.rows) == ["dataverse", "person"]


async def test_a_call_outside_of_any_turn_probes_for_itself(world: World) -> None:
    circuits = world.instances[0]
    away = world.error = DataverseError("503", "", kind=Kind.TRANSIENT)
    for seconds, expected in ((0, away.code), (30, "CircuitOpen"), (30, away.code), (119, "CircuitOpen")):
        world.clock.tick(seconds)
        with pytest.raises(DataverseError) as refused:
            await world.call(circuits, "dataverse")
        assert refused.value.code == expected
    world.clock.tick(1)
    world.error = None
    await world.call(circuits, "dataverse")
    await world.call(circuits, "dataverse")
    assert [tries for _, tries in world.calls] == [3, 1, 1, 3]


async def test_who_meets_an_open_circuit_is_told_why_and_for_how_long(world: World) -> None:
    circuits = world.instances[0]
    with pytest.raises(MarketoError):
        await world.call(circuits)
    world.clock.tick(20)
    with pytest.raises(MarketoError, match="bad gateway") as refused:
        await world.call(circuits)
    assert (refused.value.kind, refused.value.retry_after) == (Kind.TRANSIENT, 40.0)


async def test_the_day_that_is_used_up_is_waited_for_and_then_probed(world: World) -> None:
    world.error = gateway(Kind.DAILY, retry_after=7 * 3600.0)
    await world.work()
    world.error = None
    world.clock.tick(7 * 3600 - 1)
    assert await world.work() == 0
    assert world.instances[0].delays(1, "person") == [1.0]
    world.clock.tick(1)
    assert await world.work() == 1000


async def test_records_wait_until_the_circuit_may_close_spread_in_order_one_call_a_second(world: World) -> None:
    circuits = world.instances[0]
    assert circuits.delays(2, DATAVERSE, "person") == [0.0, 0.0]
    await world.work()
    world.clock.tick(20)
    first, second = circuits.delays(2 * TOGETHER, DATAVERSE, "person"), circuits.delays(1, DATAVERSE, "person")
    assert first == [40.0] * TOGETHER + [41.0] * TOGETHER
    assert second == [42.0]


async def test_an_hours_outage_does_not_resend_a_large_backlog_again_and_again(world: World) -> None:
    """100,000 records in messages of 100, each sent again as often as it comes while the circuit is open."""
    circuits = world.instances[0]
    backlog = [(0.0, 100)] * 1000
    messages = records = 0
    while backlog[0][0] <= 60 * MINUTE:
        moment = backlog[0][0]
        world.clock.now = NOON + timedelta(seconds=moment)
        batch = 0
        while batch < 3200 and backlog and backlog[0][0] <= moment:
            batch += heapq.heappop(backlog)[1]
        await world.work(count=batch)
        for delay, group in groupby(circuits.delays(batch, DATAVERSE, "person")):
            for part in chunked(list(group), 100):
                heapq.heappush(backlog, (round(moment + delay, 3), len(part)))
                messages += 1
                records += len(part)
    assert sum(count for _, count in backlog) == 100_000
    assert len(world.calls) == 14
    assert records / 100_000 <= 9
    assert messages / 1000 <= 10
    last = max(backlog)[0] - 60 * MINUTE
    assert last <= 5 * MINUTE + 900, "when Marketo is back, the last of them comes within some minutes"


async def test_the_state_tells_operators_since_when_until_when_and_why(world: World) -> None:
    await world.work()
    world.clock.tick(MINUTE)
    await world.work()
    found = json.loads(world.storage.rows["person"])
    assert found == {
        "since": "2026-03-04T12:00:00.000Z", "until": "2026-03-04T12:03:00.000Z",
        "reason": "marketo 502: bad gateway", "failures": 2, "code": "502",
    }  # fmt: skip
    assert dumped(parsed(Outage, found)) == found


async def test_only_transitions_are_written(world: World) -> None:
    for _ in range(100):
        await world.work()
    assert world.storage.writes == 1
    world.error = None
    world.clock.tick(MINUTE)
    for _ in range(100):
        await world.work()
    assert world.storage.writes == 2


async def test_another_instance_respects_what_it_finds_and_what_it_is_told_later() -> None:
    world = World(2)
    await world.work(0)
    world.error = None
    assert await world.work(1) == 0
    world.clock.tick(MINUTE)
    assert await world.work(0) == 1000
    assert await world.work(1) == 1000


async def test_an_instance_does_not_believe_that_this_apps_share_is_used_up_since_it_may_have_been_raised() -> None:
    world = World(2)
    world.error = MarketoError("DayShareSpent", "used up", kind=Kind.DAILY, retry_after=3600.0)
    await world.work(0)
    world.error = None
    assert await world.work(0) == 0
    assert await world.work(1) == 1000


@pytest.mark.parametrize(("away", "rows"), [(True, {}), (False, {"person": '{"since": 7}'})], ids=["away", "rubbish"])
async def test_storage_that_fails_matters_to_nobody(world: World, away: bool, rows: dict[str, str]) -> None:
    world.storage.away, world.storage.rows = away, dict(rows)
    await world.work()
    assert await world.work() == 0
    world.clock.tick(MINUTE)
    await world.work()
    world.error = None
    assert await world.work() == 0
    world.clock.tick(2 * MINUTE)
    assert await world.work() == 1000
    assert [tries for _, tries in world.calls] == [3, 1, 1, 3, 3, 3]


@pytest.mark.parametrize("instances", [1, 3])
async def test_of_many_that_come_at_the_same_moment_one_probes(instances: int) -> None:
    world = World(instances)
    world.error = DataverseError("503", "", kind=Kind.TRANSIENT)
    for instance in range(instances):
        await world.work(instance, system="dataverse")
    assert len(world.calls) == 1
    entities = ("sales_person", "company", "person", "opportunity", "opportunity_role")
    for _ in range(5):
        world.clock.tick(5 * MINUTE)
        world.calls.clear()
        await asyncio.gather(
            *(world.work(n % instances, entities[n % 5], system="dataverse") for n in range(15)),
            *(world.work(n, "person", system="dataverse") for n in range(instances)),
        )
        assert [tries for _, tries in world.calls] == [1]


moves = st.lists(
    st.tuples(st.floats(0, 400), st.sampled_from(["up", "down", "same"]), st.integers(0, 1), st.booleans()), max_size=60
)


@given(moves)
# Storage is away when a circuit closes and again when it opens: the older row must go all the same.
@example([(0.0, "down", 0, False), (60.0, "down", 1, True), (0.0, "up", 0, True), (0.0, "down", 0, True)])
@settings(deadline=None, max_examples=60)
async def test_whatever_happens_there_is_at_most_one_call_a_minute_while_all_fail_and_none_is_lost(
    happenings: list[tuple[float, str, int, bool]],
) -> None:
    world = World(2)
    failing: list[datetime] = []
    for seconds, what, instance, storage_away in happenings:
        world.clock.tick(seconds)
        world.storage.away = storage_away
        if what != "same":
            world.error = gateway() if what == "down" else None
        before = len(world.calls)
        await world.work(instance, count=300)
        if world.error and not storage_away:
            failing += [at for at, _ in world.calls[before:]]
            assert len(world.calls) - before <= 1
    world.error, world.storage.away = None, False
    world.clock.tick(5 * MINUTE)
    for instance in (0, 1):
        world.clock.tick(MINUTE)
        assert await world.work(instance) == 1000
    assert world.storage.rows == {}


async def test_work_without_records_is_its_own_probe_and_closes_the_circuit() -> None:
    clock = WallClock()
    circuits = Circuits(None, seconds=MINUTE, now=clock)
    away = MarketoError("HTTP 502", "away", kind=Kind.TRANSIENT)

    async def attempt(error: MarketoError | None) -> int:
        async with circuits.attempt("write_back"), circuits.call("marketo") as tries:
            if error:
                raise error
            return tries

    with pytest.raises(MarketoError, match="502"):
        await attempt(away)
    with pytest.raises(MarketoError, match="CircuitOpen"):
        await attempt(None)
    clock.tick(MINUTE)
    assert await attempt(None) == 1
    assert await attempt(None) == UNLIMITED


@pytest.mark.parametrize(
    ("since", "until", "code", "counts"),
    [
        (-60, 300, "502", True),
        (-60, 20 * 3_600, "607", True),  # Marketo's day ends then
        (86_400, 86_460, "502", False),
        (-60, 86_400, "502", False),  # a later failure was noted by a clock that is a day ahead
        (-60, 49 * 3_600, "607", False),
    ],
)
async def test_an_outage_that_a_wrong_clock_has_noted_stops_nobody(
    world: World, since: float, until: float, code: str, *, counts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    outage = Outage(NOON + timedelta(seconds=since), NOON + timedelta(seconds=until), "gone", 1, code)
    world.storage.rows["person"] = json.dumps(dumped(outage))
    world.clock.tick(2 * MINUTE)
    world.error = None
    assert (await world.work() == 0) is counts
    assert ("an instance's clock is wrong" in caplog.text) is not counts
