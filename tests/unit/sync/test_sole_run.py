"""One run at a time: a lease that is kept up while the run goes on."""

import asyncio

import pytest

from local.virtual import MemoryState, MemoryTable
from shared.sync import sole_run
from shared.sync.sole_run import LeaseLostError, SoleRun


async def test_the_lease_of_a_process_that_has_died_ends_by_itself() -> None:
    """Storage's clock tells: a process whose own is a day ahead does not take it early."""
    now = 0.0
    table = MemoryTable(seconds=0, clock=lambda: now)
    dead = SoleRun(MemoryState(table), instance_id="a", clock=lambda: now, kind="write_back")
    assert await dead._row.take() == 0
    other = SoleRun(MemoryState(table), instance_id="b", clock=lambda: now + 86_400, kind="write_back")
    async with other.held() as mine:
        assert not mine
    now += sole_run.LASTS_SECONDS
    async with other.held() as mine:
        assert mine
    async with dead.held() as mine:
        assert mine


async def test_a_run_that_has_lost_its_lease_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sole_run, "RENEW_SECONDS", 0.0)
    table = MemoryTable(seconds=0)
    state = MemoryState(table)

    async def run() -> None:
        async with SoleRun(MemoryState(table), instance_id="a", clock=lambda: 0.0, kind="write_back").held():
            thief = {"owner": "b", "lasts": 60.0}
            await state.change("write_back", "lease", lambda _: thief)
            await asyncio.Event().wait()

    with pytest.raises(LeaseLostError):  # no CancelledError: an invocation would never be answered
        await asyncio.create_task(run())
    assert (await state.read("write_back", "lease"))["owner"] == "b"


async def test_a_run_that_somebody_else_cancels_is_cancelled_and_gives_the_lease_back() -> None:
    table = MemoryTable(seconds=0)
    lease = SoleRun(MemoryState(table), instance_id="a", clock=lambda: 0.0, kind="write_back")
    begun = asyncio.Event()

    async def run() -> None:
        async with lease.held():
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await begun.wait()
    async with lease.held() as mine:
        assert not mine  # nor does the same process begin a second one
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await MemoryState(table).read("write_back", "lease"))["owner"] == ""
