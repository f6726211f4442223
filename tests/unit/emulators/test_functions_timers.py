import asyncio
import contextlib
import fcntl
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from emulators.functions.channel import FunctionError
from emulators.functions.schedule import Schedule
from emulators.functions.timers import TimerListener
from emulators.functions.triggers import TimerTrigger
from emulators.functions.wire import Invocation, Invoker

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Time that passes only by sleeping, until `end`."""

    def __init__(self, start: datetime = START, *, seconds: float) -> None:
        self.now = start
        self.end = start + timedelta(seconds=seconds)

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if self.now + timedelta(seconds=seconds) > self.end:
            raise asyncio.CancelledError
        self.now += timedelta(seconds=seconds)


class FakeWorker:
    """Remembers when it was called and whether past due; a call may take time or fail."""

    def __init__(self, clock: Clock, *, takes: float = 0, fails: bool = False) -> None:
        self.calls: list[tuple[float, bool]] = []
        self._clock = clock
        self._takes = takes
        self._fails = fails

    async def invoke(self, invocation: Invocation) -> None:
        past_due = json.loads(invocation.data.value)["IsPastDue"]
        self.calls.append(((self._clock.now - START).total_seconds(), past_due))
        self._clock.now += timedelta(seconds=self._takes)
        if self._fails:
            msg = "no"
            raise FunctionError(msg)


async def run(clock: Clock, worker: FakeWorker, lock_dir: Path | None = None, **trigger: Any) -> None:
    fields = {"run_on_startup": False, "monitor": True, **trigger}
    timer = TimerTrigger(function="tick", schedule=Schedule.parse("*/10 * * * * *"), **fields)
    listener = TimerListener(timer, cast("Invoker", worker), lock_dir, clock=clock, sleep=clock.sleep)
    with contextlib.suppress(asyncio.CancelledError):
        await listener.run()


RUNS: dict[str, tuple[float, dict[str, Any], dict[str, Any], list[tuple[float, bool]]]] = {
    "they come on schedule": (35, {}, {}, [(10, False), (20, False), (30, False)]),
    "a failed one does not end the schedule": (25, {"fails": True}, {}, [(10, False), (20, False)]),
    "they do not overlap": (65, {"takes": 25}, {}, [(10, False), (40, False)]),
    "one at the start": (5, {}, {"run_on_startup": True}, [(0, False)]),
}


@pytest.mark.parametrize(("seconds", "function", "trigger", "calls"), RUNS.values(), ids=RUNS)
async def test_runs(
    seconds: float, function: dict[str, Any], trigger: dict[str, Any], calls: list[tuple[float, bool]]
) -> None:
    clock = Clock(seconds=seconds)
    worker = FakeWorker(clock, **function)
    await run(clock, worker, **trigger)
    assert worker.calls == calls


@pytest.mark.parametrize(("monitor", "calls"), [(True, [(47, True), (50, False)]), (False, [(50, False)])])
async def test_the_monitor_has_a_run_that_was_missed_made_up_for_once_as_past_due(
    tmp_path: Path, monitor: bool, calls: list[tuple[float, bool]]
) -> None:
    await run(clock := Clock(seconds=15), FakeWorker(clock), tmp_path, monitor=monitor)
    clock = Clock(START + timedelta(seconds=47), seconds=8)
    worker = FakeWorker(clock)
    await run(clock, worker, tmp_path, monitor=monitor)
    assert worker.calls == calls


@contextlib.contextmanager
def someone_else_has(lock_dir: Path) -> Iterator[None]:
    with (lock_dir / "timer-tick.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def test_only_one_instance_runs_a_timer(tmp_path: Path) -> None:
    clock = Clock(seconds=35)
    worker = FakeWorker(clock)
    with someone_else_has(tmp_path):
        await run(clock, worker, tmp_path)
    assert worker.calls == []
