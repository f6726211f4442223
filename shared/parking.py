"""Records that wait for their parents: parked durably, the parent requested once, released when it is in Marketo.

The order of steps makes it safe without locks, whatever process does them and wherever it is killed:

* A child first parks, then looks whether its parent is requested, then requests it, then notes the request.
* A parent first takes its note away, then looks for children, then sends them on, then takes their rows away.

So a child that found a note parked before the parent looked for children, and a child that found none requests the
parent again. What a crash leaves over, the timer finds (`check`): it asks Marketo for the parents that are waited for,
less and less often, and gives children that have waited too long their last look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shared.bus import Bus, Outgoing
from shared.entities import ENTITIES, Entity
from shared.known import Known
from shared.marketo.client import MAX_FILTER_VALUES, MarketoClient
from shared.outcomes import Parent
from shared.records import MAX_RECORDS, Record, encode
from shared.routing import chunked
from shared.settings import QueueSettings
from shared.store import Parked, Request, Store

log = logging.getLogger(__name__)

#: A parent that does not come is requested again at the first checks only; after that it has its own dead letter.
REQUESTS = 3
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

    async def park(self, entity: Entity, deferred: Sequence[tuple[Record, tuple[Parent, ...]]]) -> None:
        """Keep these records until their last parent comes, and request all parents that nobody has requested."""
        now = self._now()
        await self._store.park(
            Parked(parents[-1], entity.name, replace(record, parked_since=record.parked_since or now))
            for record, parents in deferred
        )
        since: dict[Parent, datetime] = {}
        first_seen: dict[Parent, datetime] = {}
        for record, parents in deferred:
            for parent in parents:
                since[parent] = min(since.get(parent, now), record.parked_since or now)
                first_seen[parent] = min(first_seen.get(parent, now), record.first_seen)
        requested = await self._store.requested(list(since))
        new = [parent for parent in since if parent not in requested]
        await self._request({parent: first_seen[parent] for parent in new})
        await self._store.mark(Request(parent, since[parent], now + self._check_after) for parent in new)

    async def release(self, parents: Iterable[Parent]) -> int:
        """Send on everything that waits for these parents, page by page. Gives the number of records."""
        parents = list(parents)
        await self._store.unmark(parents)
        return sum(await asyncio.gather(*(self._release(parent) for parent in parents)))

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
                    counts["checked"] += len(part)
                    counts["released"] += await self.release(r.parent for r in part if r.parent.id in found)
                    absent = [r for r in part if r.parent.id not in found]
                    counts["expired"] += sum([await self._expire(r) for r in absent if self._is_old(r.since)])
                    await self._look_again_later(absent)
        return counts

    async def _release(self, parent: Parent, *, only_old: bool = False) -> int:
        count = 0
        async with self._releases:
            async for page in self._store.children(parent):
                leaving = [p for p in page if not only_old or self._is_old(p.record.parked_since)]
                await self._send({p.entity: [q.record for q in leaving if q.entity == p.entity] for p in leaving})
                await self._store.remove(leaving)
                count += len(leaving)
        return count

    async def _expire(self, request: Request) -> int:
        """Let the old children go: the engine reads them once more and fails those that still need this parent."""
        count = await self._release(request.parent, only_old=True)
        if count:
            log.warning("parent_missing entity=%s id=%s children=%d", request.parent.entity, request.parent.id, count)
        return count

    async def _look_again_later(self, requests: list[Request]) -> None:
        """Every check doubles the time to the next one. A parent for which nobody waits any more is forgotten."""
        waiting = []
        for request in requests:
            oldest = await self._oldest(request.parent) if self._is_old(request.since) else request.since
            if oldest is None:
                await self._store.unmark([request.parent])
            else:
                pause = min(self._check_after * (1 << min(request.checks + 1, 16)), MAX_CHECK)
                waiting.append(
                    replace(request, since=oldest, checks=request.checks + 1, next_check=self._now() + pause)
                )
        await self._request({r.parent: r.since for r in waiting if r.checks <= REQUESTS})
        await self._store.mark(waiting)

    async def _oldest(self, parent: Parent) -> datetime | None:
        times = [p.record.parked_since async for page in self._store.children(parent) for p in page]
        return min((time for time in times if time), default=None)

    def _is_old(self, since: datetime | None) -> bool:
        return since is not None and self._now() - since >= self._max_wait

    async def _request(self, parents: dict[Parent, datetime]) -> None:
        """Ask for the sync of these parents: they may never change by themselves."""
        wanted: dict[str, list[Record]] = {}
        for parent, first_seen in parents.items():
            wanted.setdefault(parent.entity, []).append(Record(parent.table, parent.id, first_seen, requested=True))
        await self._send(wanted)

    async def _send(self, records: dict[str, list[Record]]) -> None:
        await self._bus.send(
            [
                Outgoing(self._queues.of(entity), encode(entity, group), session=entity)
                for entity, all_of_it in records.items()
                for group in chunked(all_of_it, MAX_RECORDS)
            ]
        )
