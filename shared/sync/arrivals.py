"""Which records of a burst or run are in Marketo, told by the function that stored them to those with their children.

Each such invocation leaves a short-lived row for up to `MAX_KEYS` stored parents. It is a cache as `Known` is:
where storage fails, or a row is not seen, Marketo is asked; an entry that is not true any more costs one refused call.

A row is `arrivals` / `<entity>|<moment>|<unique>` with, for each key, 16 bytes of its GUID and 8 of its Marketo id.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import struct
from collections.abc import Callable, Collection, Iterable
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from ..azure.errors import best_effort
from ..azure.shared_state import State, Value
from ..model.entities import COMPANY, SALES_PERSON, Entity
from ..model.outcome import Outcome, Synced
from ..model.record import Record, timestamp
from .marketo_cache import Known
from .routing import chunked

log = logging.getLogger(__name__)

KIND = "arrivals"
#: Keys in a row: a text of Table Storage takes 32,768 characters, and a key is 32 of them.
MAX_KEYS = 900
#: How long rows count: longer than any record waits for its turn in a burst, and than a run takes for half a million
#: accounts before their contacts.
KEPT, KEPT_LONGEST = timedelta(minutes=10), timedelta(hours=1)
#: Of a run, only what is few beside its children: a process reads all of it.
OF_A_RUN = frozenset({SALES_PERSON.name, COMPANY.name})
#: Rows are looked for again so far back: the clocks of instances differ.
OVERLAP = timedelta(minutes=1)
#: Seconds that an invocation spends on telling or learning.
PATIENCE_SECONDS = 3.0

_ENTRY = struct.Struct(">16sq")


@dataclass
class Arrivals:
    """What this process tells, and what it has learned. Raises nothing: it only spares calls."""

    state: State
    known: Known
    _: KW_ONLY
    now: Callable[[], datetime]
    _looked: dict[tuple[str, timedelta], datetime] = field(default_factory=dict, init=False)
    _seen: dict[str, datetime] = field(default_factory=dict, init=False)
    _pruned: dict[str, datetime] = field(default_factory=dict, init=False)

    async def tell(self, entity: Entity, outcomes: Iterable[tuple[Record, Outcome]]) -> None:
        """Leave word of what has just been stored, where others may wait for it."""
        keys = [record.id for record, outcome in outcomes if isinstance(outcome, Synced)]
        found = [(key, id_) for key in keys if (id_ := self.known.id_of(entity.name, key)) is not None]
        if not (entity.is_parent and found):
            return
        async with best_effort(PATIENCE_SECONDS, log, "arrivals_not_shared"):
            for part in chunked(found, MAX_KEYS):
                name = f"{entity.name}|{timestamp(self.now())}|{uuid4().hex[:12]}"
                self._seen[name] = self.now()
                packed = b"".join(_ENTRY.pack(UUID(key).bytes, id_) for key, id_ in part)
                await self.state.put(KIND, name, {"keys": base64.b64encode(packed).decode()})
            await self._prune(entity.name)

    async def learn(self, entities: Collection[str], *, since: timedelta = KEPT) -> None:
        """Know what other processes have stored of these entities lately: not longer than `since` ago."""
        now = self.now()
        async with best_effort(PATIENCE_SECONDS, log, "arrivals_not_shared"):
            for entity in sorted(entities):
                # Who has looked for a burst has not looked as far back as a run wants to.
                first = max(now - since, self._looked.get((entity, since), now - since) - OVERLAP)
                rows = self.state.all(KIND, first=f"{entity}|{timestamp(first)}", last=f"{entity}|~")
                async for name, value in rows:
                    if name not in self._seen:
                        self._seen[name] = now
                        for key, id_ in _unpacked(value):
                            self.known.add(entity, key, id_)
                self._looked[entity, since] = now
            self._seen = {name: at for name, at in self._seen.items() if now - at < 2 * KEPT_LONGEST}

    async def _prune(self, entity: str) -> None:
        """Take away what an earlier burst has left."""
        now = self.now()
        if now - self._pruned.get(entity, now - KEPT) >= KEPT:
            self._pruned[entity] = now
            old = self.state.all(KIND, first=f"{entity}|", last=f"{entity}|{timestamp(now - KEPT_LONGEST)}")
            await asyncio.gather(*[self.state.remove(KIND, name) async for name, _ in old])


def _unpacked(value: Value) -> list[tuple[str, int]]:
    """The keys and Marketo ids of a row; none of one that is damaged."""
    try:
        return [(str(UUID(bytes=key)), id_) for key, id_ in _ENTRY.iter_unpack(base64.b64decode(value["keys"]))]
    except (ValueError, TypeError, KeyError, struct.error):
        return []
