"""The brake on deletions: when too many records of an entity are taken out of Marketo within an hour, the rest waits.

All instances count together, in the shared state (`delete_brake`, entity)::

    {"slots": {"2026-03-04T12:35:00.000Z": 300}, "on": "2026-03-04T12:37:10.120Z", "limit": 500, "stopped": 41}

`slots`: records by the five minutes in which they were dealt with; those of the last hour count. `on`: since when the
brake is on; it stays on until an operator releases it (`msisync lifecycle release`). `stopped`: records since then.

The limit is `delete_brake` of sync.toml, or a twentieth of the rows that Dynamics has, if that is more. Each process
asks Dynamics for their number before it deletes, at most once an hour. Where it cannot be asked, the first one stands.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from ..azure.shared_state import State, Value
from ..model.entities import Entity
from ..model.errors import MsiSyncError, StorageUnavailableError
from ..model.outcome import Failed, Outcome, Retry
from ..model.record import timestamp

log = logging.getLogger(__name__)

T = TypeVar("T")

KIND = "delete_brake"
#: The code of a dead letter that the brake has stopped.
CODE = "DeleteBrake"
#: What counts, and in which steps it is counted.
WINDOW, SLOT = timedelta(hours=1), timedelta(minutes=5)
#: The share of Dynamics' rows that may go within an hour, if that is more than sync.toml says.
SHARE = 0.05
#: How long the number of rows counts: Dynamics' own is up to a day old.
KEEP = timedelta(hours=1)
STORAGE_AWAY = Retry(60, "StorageAway", "Table Storage did not answer, so deletions cannot be counted")


def brake_text(entity: Entity, limit: int) -> str:
    """What the operator reads of a record that the brake has stopped."""
    return (
        f"its row is gone from Dynamics, but more than {limit} records of this kind would have been deleted, unlinked "
        f"or flagged in Marketo within an hour. If that is right: msisync lifecycle release {entity.name} --apply. "
        "If not: restore the rows in Dynamics, or discard these dead letters, and then release"
    )


@dataclass
class DeleteBrake:
    """The brake as one process sees it: what cannot be counted is not carried out.

    `count_rows`: how many rows Dynamics has that feed an entity; raises as DataverseClient does.
    """

    state: State
    _: KW_ONLY
    limit: int
    count_rows: Callable[[Entity], Awaitable[int]]
    now: Callable[[], datetime]
    _limits: dict[str, tuple[int, datetime]] = field(default_factory=dict, init=False)

    async def let_go(
        self, entity: Entity, wanted: Sequence[T], text: Callable[[Entity, int], str] = brake_text
    ) -> tuple[Sequence[T], Outcome | None]:
        """The first of these, as many as may be dealt with now, and what becomes of the others: they stop, or wait.

        `text`: what an operator reads of those that stop.
        """
        if not wanted:
            return (), None
        try:
            granted, limit = await self._take(entity, len(wanted), await self._limit(entity))
        except StorageUnavailableError as error:
            log.warning("deletions_wait error=%s", error.cause)
            return (), STORAGE_AWAY
        return wanted[:granted], None if granted == len(wanted) else Failed(CODE, text(entity, limit))

    async def give_back(self, entity: Entity, count: int) -> None:
        """So many of those that were admitted were not dealt with: they come again, and are counted then."""

        def change(value: Value) -> Mapping[str, object]:
            slots, left = dict(value.get("slots", {})), count
            for slot in sorted(slots, reverse=True):
                taken = min(left, slots[slot])
                slots[slot], left = slots[slot] - taken, left - taken
            return {**value, "slots": {slot: number for slot, number in slots.items() if number}}

        try:
            if count:
                await self.state.change(KIND, entity.name, change)
        except StorageUnavailableError as error:  # then the brake is a little stricter
            log.warning("deletions_not_uncounted error=%s", error.cause)

    async def _take(self, entity: Entity, wanted: int, limit: int) -> tuple[int, int]:
        """How many of so many are granted and counted, and by which limit: the others stop."""
        now, granted, turns_on, applied = self.now(), 0, False, limit

        def change(value: Value) -> Mapping[str, object]:
            nonlocal granted, turns_on, applied
            slots = within_the_hour(value, now)
            granted, turns_on, applied = 0, False, int(value.get("limit", limit))
            if value.get("on"):
                return {**value, "slots": slots, "stopped": int(value.get("stopped", 0)) + wanted}
            granted, applied = max(0, min(wanted, limit - sum(slots.values()))), limit
            turns_on = granted < wanted
            slot = _slot(now)
            slots[slot] = slots.get(slot, 0) + granted
            found: dict[str, object] = {"slots": {name: number for name, number in slots.items() if number}}
            return found | ({"on": timestamp(now), "limit": limit, "stopped": wanted - granted} if turns_on else {})

        await self.state.change(KIND, entity.name, change)
        if turns_on:
            log.error("delete_brake_on entity=%s limit=%d stopped=%d", entity.name, limit, wanted - granted)
        return granted, applied

    async def _limit(self, entity: Entity) -> int:
        now = self.now()
        limit, until = self._limits.get(entity.name, (self.limit, now))
        if now < until:
            return limit
        try:
            rows = await self.count_rows(entity)
        except MsiSyncError as error:
            log.warning("rows_not_counted entity=%s %s", entity.name, error)
            return self.limit
        limit = max(self.limit, int(rows * SHARE))
        self._limits[entity.name] = limit, now + KEEP
        return limit


def within_the_hour(value: Value, now: datetime) -> dict[str, int]:
    """The slots of a row that count."""
    first = timestamp(now - WINDOW)
    return {name: int(number) for name, number in value.get("slots", {}).items() if name > first}


def _slot(now: datetime) -> str:
    since = datetime.min.replace(tzinfo=UTC)
    return timestamp(now - (now - since) % SLOT)
