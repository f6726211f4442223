"""Whether the app is alive: each function notes now and then that it runs, in a row that all instances share.

The minute timer notes itself at each run, with the version that is deployed. The others do when they have work, at
most once a minute in each process: what never has work never runs, so only the timer's silence is a sign by itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ..azure.errors import best_effort
from ..azure.shared_state import State
from ..config.version import deployed
from ..model.clock import AHEAD
from ..model.ids_and_times import moment
from ..model.record import timestamp

log = logging.getLogger(__name__)

KIND = "heartbeat"
#: The function that runs whether there is work or not.
TIMER = "release_deferred"
#: The timer that asks what notifications have missed (shared/sync/missed_changes.py).
RECONCILE = "reconcile_changes"
#: The function that takes each queue, by the queue's setting.
FUNCTIONS: dict[str, str] = {
    "changes": "route_changes",
    "sales_person": "sync_sales_persons",
    "company": "sync_companies",
    "person": "sync_persons",
    "opportunity": "sync_opportunities",
    "opportunity_role": "sync_opportunity_roles",
}
#: Seconds between two notes of a function in one process, and how long one may take: the function has other work.
EVERY_SECONDS = 60.0
PATIENCE_SECONDS = 2.0
#: A timer is late after so many of its intervals, and not before this.
LATE_INTERVALS = 3
LATE_LEAST = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Beat:
    """The last note of a function."""

    at: datetime
    instance: str = ""
    version: str = ""


@dataclass
class Heartbeat:
    """Notes of one process. `version` is asked once, in a thread, by the timer alone."""

    state: State
    _: KW_ONLY
    now: Callable[[], datetime]
    clock: Callable[[], float]
    version: Callable[[], str] = deployed
    _known_version: str = field(default="", init=False)
    _noted: dict[str, float] = field(default_factory=dict, init=False)

    async def beat(self, function: str) -> None:
        """Note that this function runs. Raises nothing: a note that cannot be written is missing for a minute."""
        clock = self.clock()
        if function != TIMER and clock - self._noted.get(function, -EVERY_SECONDS) < EVERY_SECONDS:
            return
        self._noted[function] = clock
        note = {"at": timestamp(self.now()), "instance": instance()}
        async with best_effort(PATIENCE_SECONDS, log, "heartbeat_not_written function=%s", function):
            if function == TIMER:
                self._known_version = self._known_version or await asyncio.to_thread(self.version)
                note["version"] = self._known_version
            await self.state.put(KIND, function, note)


def instance(environment: Mapping[str, str] = os.environ) -> str:
    """What tells this instance of the app from others."""
    named = environment.get("WEBSITE_INSTANCE_ID") or environment.get("CONTAINER_NAME") or socket.gethostname()
    return named[:12]


def beat_of(row: Mapping[str, Any]) -> Beat | None:
    """A row, if it can be read."""
    at = moment(row.get("at"))
    return Beat(at, str(row.get("instance", "")), str(row.get("version", ""))) if at else None


def interval(schedule: str) -> timedelta | None:
    """How often a timer with this NCRONTAB schedule runs; None for less than once an hour, or for none at all."""
    fields = schedule.split()
    if len(fields) != 6 or any(field != "*" for field in fields[2:]):
        return None
    minutes = fields[1]
    if minutes == "*":
        return timedelta(minutes=1)
    step = minutes.removeprefix("*/")
    return timedelta(minutes=int(step)) if step != minutes and step.isdecimal() and int(step) else timedelta(hours=1)


def silence(beat: Beat | None, schedule: str, now: datetime) -> timedelta | None:
    """How long the timer has been silent for too long; None while it is on time, or nobody can tell."""
    every = interval(schedule)
    if beat is None or every is None or beat.at > now + AHEAD:
        return None
    silent = now - beat.at
    return silent if silent > max(LATE_LEAST, LATE_INTERVALS * every) else None


#: What a function calls at the begin of each invocation.
Note = Callable[[str], Awaitable[None]]


async def unnoted(_: str) -> None:
    """For who runs without the app's storage."""
