"""Marketo's limits belong to all instances together: the rate, the places and the day, whoever calls and when."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.instances import MORNING, Instances
from local.virtual import Time
from shared.marketo.quota_ledger import GRAIN, WINDOW_SECONDS
from shared.model.codes import Kind
from shared.model.errors import MarketoError
from tests.support.virtual_time import in_virtual_time

MIDNIGHT = datetime(2026, 3, 5, 6, 5, tzinfo=UTC)


def never_more_than(instances: Instances, limit: int) -> None:
    began = sorted(instances.began)
    for first, beyond in zip(began, began[limit:], strict=False):
        assert beyond - first > WINDOW_SECONDS - 1e-6


bursts = st.lists(st.tuples(st.integers(0, 3), st.floats(0, 50), st.integers(1, 25), st.floats(0, 8)), max_size=12)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), bursts)
def test_the_rate_holds_over_all_instances(limit: int, work: list[tuple[int, float, int, float]]) -> None:
    instances = Instances(4, calls=limit)

    async def burst(instance: int, at: float, number: int, takes: float) -> None:
        await asyncio.sleep(at)
        await instances.calls(instance, number, takes)

    async def all_of_them() -> None:
        await asyncio.gather(*(burst(*part) for part in work))

    instances.run(all_of_them())
    assert len(instances.began) == sum(number for _, _, number, _ in work)
    never_more_than(instances, limit)


@pytest.mark.parametrize("number", [1, 2, 4])
@in_virtual_time
async def test_together_they_use_nearly_all_of_the_rate(time: Time, number: int) -> None:
    instances = Instances(number, time=time)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(300):
            await asyncio.gather(*(instances.calls(n, 2000) for n in range(number)))
    never_more_than(instances, 50)
    windows = 300 / (WINDOW_SECONDS + 2 * GRAIN)
    assert len(instances.began) > 0.9 * 50 * windows


@in_virtual_time
async def test_the_places_are_shared_as_soon_as_everybody_has_asked_for_calls(time: Time) -> None:
    instances = Instances(2, concurrency=6, calls=100, time=time)
    first = asyncio.create_task(instances.calls(0, 60, takes=1.0))
    await asyncio.sleep(2)
    assert instances.most == 6
    second = asyncio.create_task(instances.calls(1, 30, takes=1.0))
    await asyncio.sleep(8)
    assert instances.most <= 7  # who joins may run one call, whatever the others run
    assert [budget.places for budget in instances.budgets] == [3, 3]
    instances.most = instances.running
    await asyncio.sleep(4)
    assert instances.most == 6
    await asyncio.gather(first, second)
    await asyncio.sleep(61)
    await instances.calls(0, 12)
    assert instances.budgets[0].places == 6  # the other one is gone


@in_virtual_time
async def test_storage_is_asked_once_for_several_calls(time: Time) -> None:
    instances = Instances(1, time=time)
    for _ in range(400):
        await instances.call(0, takes=0.5)
    assert instances.table.requests <= 60


@in_virtual_time
async def test_the_share_of_the_day_holds_over_all_instances_to_the_call(time: Time) -> None:
    instances = Instances(3, allowed=120, daily=200, time=time)

    async def spend() -> list[MarketoError]:
        return await asyncio.gather(*(instances.until_refused(n) for n in range(3)))

    refused = await spend()
    assert {error.code for error in refused} == {"DayShareSpent"}
    assert {error.kind for error in refused} == {Kind.DAILY}
    for budget in instances.budgets:
        await budget.refresh()
    assert 110 <= len(instances.began) <= 120
    never_more_than(instances, 50)


@in_virtual_time
async def test_one_instance_uses_its_share_to_the_last_call(time: Time) -> None:
    instances = Instances(1, allowed=33, time=time)
    refused = await instances.until_refused(0)
    assert len(instances.began) == 33
    assert refused.retry_after is not None
    wait = (MIDNIGHT - MORNING).total_seconds()
    assert wait - 60 <= refused.retry_after <= wait + 60


@in_virtual_time
async def test_after_midnight_in_chicago_it_opens_by_itself(time: Time) -> None:
    instances = Instances(2, allowed=20, time=time)
    await instances.until_refused(0)
    usage = await instances.budgets[1].refresh()
    assert (usage.used_today, usage.allowed_today) == (20, 20)
    assert usage.closed
    assert (usage.closed.opens, usage.closed.code) == (MIDNIGHT, "DayShareSpent")
    requests = instances.table.requests
    for _ in range(100):
        await instances.until_refused(0)
    assert instances.table.requests == requests  # nobody is asked while it is closed
    await asyncio.sleep((MIDNIGHT - instances.time.now()).total_seconds() - 1)
    await instances.until_refused(0)
    await asyncio.sleep(1)
    await instances.call(0)
    usage = instances.budgets[0].usage
    assert (usage.used_today, usage.closed) == (1, None)
    assert usage.elapsed < 0.001


@in_virtual_time
async def test_what_is_left_of_a_block_goes_back(time: Time) -> None:
    instances = Instances(2, time=time)
    for _ in range(9):  # blocks of 2, 4 and 8 calls
        await instances.call(0)
    assert (await instances.budgets[1].refresh()).used_today == 14
    await asyncio.sleep(11)
    assert instances.budgets[0].usage.used_today == 9
    assert (await instances.budgets[0].refresh()).used_today == 9
    assert (await instances.budgets[1].refresh()).used_today == 9


@in_virtual_time
async def test_what_runs_use_is_told_to_all_with_the_next_block_and_starts_again_at_midnight(time: Time) -> None:
    instances = Instances(2, time=time)
    for _ in range(3):
        await instances.call(0)
    instances.budgets[0].charge_run(1.5)
    assert instances.budgets[0].usage.used_by_runs == 1.5
    await asyncio.sleep(11)
    await instances.budgets[0].refresh()
    assert (await instances.budgets[1].refresh()).used_by_runs == 1.5
    await instances.call(0)
    assert instances.budgets[0].usage.used_by_runs == 1.5
    await asyncio.sleep(86_400)
    assert (await instances.budgets[1].refresh()).used_by_runs == 0


@in_virtual_time
async def test_calls_that_a_killed_instance_held_count_as_made(time: Time) -> None:
    instances = Instances(2, time=time)
    await instances.call(0)
    await asyncio.sleep(70)
    await instances.call(1)
    usage = await instances.budgets[1].refresh()
    assert usage.used_today == 3
