"""Which records of a burst are in Marketo, told by the function that stored them to those that sync their children.

Every function may run in a process of its own, so a child's function does not know what its parents' function has just
stored, and would ask Marketo for every parent. Instead, each invocation of a burst leaves one short-lived row in Table
Storage for up to `MAX_KEYS` stored parents. It is a cache as `Known` is: where storage fails, or a row is not seen,
Marketo is asked; an entry that is not true any more costs one refused call, after which it is forgotten.

A row is `arrivals` / `<entity>|<moment>|<unique>` with, for each key, 16 bytes of its GUID and 8 of its Marketo id.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import struct
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from ..azure.errors import storage_within
from ..azure.shared_state import State, Value
from ..model.entities import Entity
from ..model.errors import StorageUnavailableError, cause_of
from ..model.outcome import Outcome, Synced
from ..model.record import Record, timestamp
from .marketo_cache import Known
from .routing import chunked

log = logging.getLogger(__name__)

KIND = "arrivals"
#: Keys in a row: a text of Table Storage takes 32,768 characters, and a key is 32 of them.
MAX_KEYS = 900
#: How long rows count: longer than any record waits for its turn in a burst.
KEPT = timedelta(minutes=10)
#: Rows are looked for again so far back: the clocks of instances differ.
OVERLAP = timedelta(minutes=1)
#: Seconds that an invocation spends on telling or learning.
PATIENCE_SECONDS = 3.0

_ENTRY = struct.Struct(">16sq")


class Arrivals:
    """What this process tells, and what it has learned. Raises nothing: it only spares calls."""

    def __init__(self, state: State, known: Known, *, now: Callable[[], datetime]) -> None:
        self._state = state
        self._known = known
        self._now = now
        self._looked: dict[str, datetime] = {}
        self._seen: dict[str, datetime] = {}
        self._pruned: dict[str, datetime] = {}

    async def tell(self, entity: Entity, outcomes: Iterable[tuple[Record, Outcome]]) -> None:
        """Leave word of what has just been stored, where others may wait for it."""
        if not entity.is_parent:
            return
        keys = [record.id for record, outcome in outcomes if isinstance(outcome, Synced)]
        found = [(key, id_) for key in keys if (id_ := self._known.id_of(entity.name, key)) is not None]
        if found:
            await self._within(self._tell(entity, found))
            await self._within(self._prune(entity))

    async def learn(self, entities: Collection[str]) -> None:
        """Know what other processes have stored of these entities a short while ago."""
        if entities:
            await self._within(self._learn(entities))

    async def _within(self, work: Awaitable[None]) -> None:
        try:
            async with storage_within(PATIENCE_SECONDS):
                await work
        except (StorageUnavailableError, ValueError) as error:
            log.warning("arrivals_not_shared error=%s", cause_of(error))

    async def _tell(self, entity: Entity, found: list[tuple[str, int]]) -> None:
        for part in chunked(found, MAX_KEYS):
            name = f"{entity.name}|{timestamp(self._now())}|{uuid4().hex[:12]}"
            self._seen[name] = self._now()
            packed = b"".join(_ENTRY.pack(UUID(key).bytes, id_) for key, id_ in part)
            await self._state.add(KIND, name, {"keys": base64.b64encode(packed).decode()})

    async def _learn(self, entities: Collection[str]) -> None:
        now = self._now()
        for entity in sorted(entities):
            since = max(now - KEPT, self._looked.get(entity, now - KEPT) - OVERLAP)
            rows = self._state.all(KIND, first=f"{entity}|{timestamp(since)}", last=f"{entity}|~")
            async for name, value in rows:
                if name not in self._seen:
                    self._seen[name] = now
                    for key, id_ in _unpacked(value):
                        self._known.add(entity, key, id_)
            self._looked[entity] = now
        self._seen = {name: at for name, at in self._seen.items() if now - at < 2 * KEPT}

    async def _prune(self, entity: Entity) -> None:
        """Take away what an earlier burst has left."""
        now = self._now()
        if now - self._pruned.get(entity.name, now - KEPT) < KEPT:
            return
        self._pruned[entity.name] = now
        old = self._state.all(KIND, first=f"{entity.name}|", last=f"{entity.name}|{timestamp(now - KEPT)}")
        await asyncio.gather(*[self._state.remove(KIND, name) async for name, _ in old])


def _unpacked(value: Value) -> list[tuple[str, int]]:
    """The keys and Marketo ids of a row; none of one that is damaged."""
    try:
        return [(str(UUID(bytes=key)), id_) for key, id_ in _ENTRY.iter_unpack(base64.b64decode(value["keys"]))]
    except (ValueError, TypeError, KeyError, struct.error):
        return []
