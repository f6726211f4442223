"""Records that wait for their parents: parked durably, the parent requested once, released when it is in Marketo.

The order of steps makes it safe without locks, whatever process does them and wherever it is killed:

* A child first parks, which leaves a note of its parent as well; then it looks whether the note says that the parent
  is requested, then requests it, then notes that.
* A parent first takes its note away, then looks for children, then sends them on, then takes their rows away.

So a child that found a note parked before the parent looked for children, and a child that found none requests the
parent again. A crash in between leaves the broker's message, and so the whole again; should that find the parent there
and the child go at once, its row has a note still. What slips through, the timer finds (`check`): it asks Marketo for
the parents that are noted, less and less often, and gives children that have waited too long their last look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shared.bus import Bus, Outgoing, Properties
from shared.entities import ENTITIES, Entity
from shared.known import Known
from shared.marketo.client import MAX_FILTER_VALUES, MarketoClient
from shared.outcomes import Parent
from shared.records import MAX_RECORDS, Record, encode
from shared.routing import chunked
from shared.settings import QueueSettings
from shared.store import Parked, Request, Store
from shared.telemetry import spans
from shared.windows import AT_ONCE, Windows

log = logging.getLogger(__name__)

MAX_CHECK = timedelta(hours=1)
RELEASES = 8


class Parking:
    """Parks, requests and releases."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        queues: QueueSettings,
        *,
        now: Callable[[], datetime],
        check_after: float,
        max_wait: float,
    ) -> None:
        self._store = store
        self._bus = bus
        self._queues = queues
        self._now = now
        self._check_after = timedelta(seconds=check_after)
        self._max_wait = timedelta(seconds=max_wait)
        self._releases = asyncio.Semaphore(RELEASES)

    async def park(
        self,
        entity: Entity,
        deferred: Sequence[tuple[Record, tuple[Parent, ...]]],
        windows: Windows = AT_ONCE,
    ) -> None:
        """Keep these records until their last parent comes, and request all parents that nobody has requested."""
        now, here = self._now(), spans.here()
        parked = [
            Parked(parents[-1], entity.name, replace(record, parked_since=record.parked_since or now), trace=here)
            for record, parents in deferred
        ]
        await self._store.park(parked, now + self._check_after)
        since: dict[Parent, datetime] = {}
        first_seen: dict[Parent, datetime] = {}
        for record, parents in deferred:
            for parent in parents:
                since[parent] = min(since.get(parent, now), record.parked_since or now)
                first_seen[parent] = min(first_seen.get(parent, now), record.first_seen)
        requested = await self._store.requested(list(since))
        new = [parent for parent in since if parent not in requested]
        await self._request({parent: first_seen[parent] for parent in new}, windows)
        await self._store.mark(Request(parent, since[parent], now + self._check_after) for parent in new)

    async def release(self, entity: Entity, synced: Sequence[Record], windows: Windows = AT_ONCE) -> int:
        """Send on everything that waits for these records of `entity`, page by page. Gives the number sent.

        Records that were asked for say so themselves. Others are looked up among the first 1,000 that are waited for:
        so a parent that failed and was mended in Dynamics releases its children at once as well.
        """
        waited = await self._store.waited_for(entity.name)
        asked_for = [Parent(entity.name, record.table, record.id) for record in synced if record.requested]
        await self._store.unmark(asked_for)  # after a crash, their message comes again
        others = [waited[record.id] for record in synced if record.id in waited and not record.requested]
        released = await asyncio.gather(*(self._release(parent, windows) for parent in asked_for))
        let_go = await asyncio.gather(*(self._let_go(request, windows) for request in others))
        return sum(let_go) + sum(count for count, _ in released)

    async def check(self, marketo: MarketoClient, known: Known) -> dict[str, int]:
        """The timer's round: release children of parents that are there, and those that have waited too long.

        Costs one Marketo call per 300 parents whose next check has come. Gives counts for the log.
        """
        counts = {"checked": 0, "released": 0, "expired": 0}
        for name in ENTITIES:
            async for page in self._store.due(name, self._now()):
                for start in range(0, len(page), MAX_FILTER_VALUES):
                    part = page[start : start + MAX_FILTER_VALUES]
                    found = await marketo.find(ENTITIES[name], [request.parent.id for request in part])
                    for key, id_ in found.items():
                        known.add(name, key, id_)
                    present = [request for request in part if request.parent.id in found]
                    absent = [request for request in part if request.parent.id not in found]
                    counts["checked"] += len(part)
                    counts["released"] += sum([await self._let_go(request) for request in present])
                    old = [request for request in absent if self._is_old(request.since)]
                    counts["expired"] += sum([await self._let_go(request, only_old=True) for request in old])
                    await self._look_again_later([request for request in absent if not self._is_old(request.since)])
        return counts

    async def _let_go(self, request: Request, windows: Windows = AT_ONCE, *, only_old: bool = False) -> int:
        """Release the children of a parent that nobody announces, so that a crash leaves the note for the next round.

        Children that have waited too long are read once more by the engine, which fails those that still need the
        parent.
        """
        etag = await self._store.leave(request)
        count, oldest_left = await self._release(request.parent, windows, only_old=only_old)
        if oldest_left is None:
            await self._store.forget(request.parent, etag)
        else:
            await self._look_again_later([replace(request, since=oldest_left)])
        if only_old and count:
            log.warning("parent_missing entity=%s id=%s children=%d", request.parent.entity, request.parent.id, count)
        return count

    async def _release(
        self, parent: Parent, windows: Windows, *, only_old: bool = False
    ) -> tuple[int, datetime | None]:
        """Send on and remove, page by page. Gives how many, and since when the oldest of those that stay has waited."""
        count = 0
        oldest_left = None
        async with self._releases:
            async for page in self._store.children(parent):
                leaving: list[Parked] = []
                for child in page:
                    since = child.record.parked_since or self._now()
                    if only_old and not self._is_old(since):
                        oldest_left = min(oldest_left or since, since)
                    else:
                        leaving.append(child)
                by_entity: dict[str, list[Record]] = {}
                for child in leaving:
                    by_entity.setdefault(child.entity, []).append(replace(child.record, released=True))
                await self._send(by_entity, windows, spans.carried(*(child.trace for child in leaving)))
                await self._store.remove(leaving)
                count += len(leaving)
        return count, oldest_left

    async def _look_again_later(self, requests: list[Request]) -> None:
        """Every check doubles the time to the next one."""
        later = []
        for request in requests:
            pause = min(self._check_after * (1 << min(request.checks + 1, 16)), MAX_CHECK)
            later.append(replace(request, checks=request.checks + 1, next_check=self._now() + pause, leaving=False))
        await self._store.mark(later)

    def _is_old(self, since: datetime | None) -> bool:
        return since is not None and self._now() - since >= self._max_wait

    async def _request(self, parents: dict[Parent, datetime], windows: Windows) -> None:
        """Ask for the sync of these parents: they may never change by themselves."""
        wanted: dict[str, list[Record]] = {}
        for parent, first_seen in parents.items():
            wanted.setdefault(parent.entity, []).append(Record(parent.table, parent.id, first_seen, requested=True))
        await self._send(wanted, windows)

    async def _send(
        self, records: dict[str, list[Record]], windows: Windows, context: Properties | None = None
    ) -> None:
        """`context`: of the trace that these records go on with; else it is the one of whoever sends them."""
        await self._bus.send(
            [
                Outgoing(
                    self._queues.of(entity),
                    encode(entity, group, windows.burst),
                    session=entity,
                    at=windows.next_turn(entity),
                    properties=context or {},
                )
                for entity, all_of_it in records.items()
                for group in chunked(all_of_it, MAX_RECORDS)
            ]
        )
