"""Timer triggers: one run at a time over all instances, missed runs made up for once, as past due."""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from emulators.functions.channel import FunctionError
from emulators.functions.triggers import TimerTrigger
from emulators.functions.wire import Invocation, Invoker, Typed

logger = logging.getLogger("emulators.functions.timers")

#: How often an instance that is not the timer's looks whether it can become it.
TAKEOVER = 1.0
#: Longer sleeps are cut, so that a changed wall clock is noticed.
LONGEST_SLEEP = 30.0


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def timer_invocation(function: str, *, past_due: bool, last: datetime | None, following: datetime | None) -> Invocation:
    """Describe one call of a timer function, with TimerInfo as the real host serialises it."""
    info = {
        "Schedule": {"AdjustForDST": True},
        "ScheduleStatus": {"Last": _iso(last), "LastUpdated": _iso(last), "Next": _iso(following)},
        "IsPastDue": past_due,
    }
    return Invocation(function, Typed("json", json.dumps(info)))


class TimerListener:
    """Runs one timer function.

    The platform keeps one instance per timer with a blob lease, and the schedule's status in a blob. Here both are
    files in `lock_dir` (an exclusive file lock, which the kernel drops with the process); without one there is one
    instance, and no memory. `clock` and `sleep` are for tests.
    """

    def __init__(
        self,
        trigger: TimerTrigger,
        worker: Invoker,
        lock_dir: Path | None,
        *,
        clock: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._trigger = trigger
        self._worker = worker
        self._lock_dir = lock_dir
        self._clock = clock
        self._sleep = sleep
        self._running = asyncio.Lock()

    async def run(self) -> None:
        """Wait for this instance's turn, then run on schedule. Ends by cancellation, when no run is under way."""
        try:
            while True:
                with self._singleton() as mine:
                    if mine:
                        await self._keep_time()
                await self._sleep(TAKEOVER)
        finally:
            async with self._running:
                pass

    async def _keep_time(self) -> None:
        status = self._read_status()
        due = status.get("Next")
        missed = due is not None and datetime.fromisoformat(due) <= self._clock()
        if missed or self._trigger.run_on_startup:
            await self._run_once(past_due=missed)
        while True:
            following = self._trigger.schedule.next_after(self._clock())
            self._write_status(following)
            while (left := (following - self._clock()).total_seconds()) > 0:
                await self._sleep(min(left, LONGEST_SLEEP))
            await self._run_once(past_due=False)

    async def _run_once(self, *, past_due: bool) -> None:
        now = self._clock()
        following = self._trigger.schedule.next_after(now)
        invocation = timer_invocation(self._trigger.function, past_due=past_due, last=now, following=following)
        # A run that has begun is finished even when this listener is cancelled meanwhile.
        await asyncio.shield(self._invoke(invocation))

    async def _invoke(self, invocation: Invocation) -> None:
        async with self._running:
            try:
                await self._worker.invoke(invocation)
            except FunctionError as error:
                logger.warning("timer function %s failed: %s", self._trigger.function, error)

    @contextlib.contextmanager
    def _singleton(self) -> Iterator[bool]:
        if self._lock_dir is None:
            yield True
            return
        self._lock_dir.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._lock_dir / f"timer-{self._trigger.function}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(handle)

    def _status_path(self) -> Path | None:
        remembers = self._lock_dir is not None and self._trigger.monitor
        return self._lock_dir / f"timer-{self._trigger.function}.json" if remembers and self._lock_dir else None

    def _read_status(self) -> dict[str, str]:
        path = self._status_path()
        if path is None or not path.exists():
            return {}
        try:
            status: dict[str, str] = json.loads(path.read_text())
        except ValueError:
            return {}
        return status

    def _write_status(self, following: datetime) -> None:
        path = self._status_path()
        if path is not None:
            # Replaced in one step: a host killed here must not leave half a file.
            draft = path.with_suffix(".new")
            draft.write_text(json.dumps({"Next": following.isoformat()}))
            draft.replace(path)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
