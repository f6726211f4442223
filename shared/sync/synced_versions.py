"""What the sync has read and stored lately: what change tracking tells of that is no news, and nobody asks for it.

A row that the sync has read in a version is in Marketo as it was then, or is on its way durably (parked, tried again, a
dead letter), or was left out on purpose. So is a row that it has found to be gone. Each invocation writes them down
after its work, hundreds of records in a row of the shared state::

    synced_<entity>   <time>|<random>    {"contact": <base64 of 16 bytes id and 8 bytes version for each row>,
                                          "stored": <the same with Marketo ids>,
                                          "opportunities": {"<id of a connection>": ["<id>", …]}}

The version is the number of the row's etag, 0 where the row is gone. Of the rows that are opportunity roles, the
opportunities are kept as well: of a deleted connection nobody else knows them. Rows of the state are dropped after a
day. Nothing here is needed to sync: what is missing is sent once more, which costs a part of a call and does no harm.

`stored` has the parents that a burst or a run has stored, for the functions that sync their children. It is a cache as
`Known` is: where a note is not seen, Marketo is asked; an entry that is not true any more costs one refused call.
"""

from __future__ import annotations

import base64
import logging
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from ..azure.errors import best_effort
from ..azure.shared_state import State, Value
from ..model.entities import ENTITIES
from .marketo_cache import Known
from .routing import chunked

log = logging.getLogger(__name__)

KEPT = timedelta(hours=26)
#: How often what is older is dropped, and how many seconds that may take.
PRUNED_EVERY, PRUNING_SECONDS = timedelta(hours=1), 15.0
#: The version of a row that is gone.
GONE = 0
OPPORTUNITIES, STORED = "opportunities", "stored"
#: Records in one row of the state. A value takes 32,000 characters: 32 for a record, as many for a parent that was
#: stored, or up to 120 for a role.
IN_A_ROW = 200
#: Seconds that an invocation spends on notes, and on what others have stored; how long it writes none after a failure.
PATIENCE_SECONDS = 3.0
AGAIN_AFTER = timedelta(seconds=60)
#: Notes that were begun before the time from which on they are read, and clocks that differ.
MARGIN = timedelta(minutes=10)
#: How far back what was stored counts: longer than any record waits for its turn in a burst, and than a run takes for
#: half a million accounts before their contacts.
OF_A_BURST, OF_A_RUN = timedelta(minutes=10), timedelta(hours=1)
#: It is looked for again so far back: the clocks of instances differ.
OVERLAP = timedelta(minutes=1)
_ROW = struct.Struct(">16sQ")
_NEVER = datetime.min.replace(tzinfo=UTC)

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Noted:
    """What is known of some rows of a table, by id: the version read last, and of a role its opportunities."""

    versions: dict[str, int] = field(default_factory=dict)
    opportunities: dict[str, list[str]] = field(default_factory=dict)

    def covers(self, id_: str, version: int | None) -> bool:
        """Whether the sync has read the row in this version or a later one; None: in an unknown one."""
        read = self.versions.get(id_, GONE)
        return version is not None and read >= version and read != GONE

    def knows_gone(self, id_: str) -> bool:
        """Whether the sync has found last that the row is gone."""
        return self.versions.get(id_) == GONE


@dataclass
class SyncedVersions:
    """The notes as one process writes and reads them."""

    state: State
    _: KW_ONLY
    now: Callable[[], datetime]
    _again: datetime = field(default=_NEVER, init=False)
    _pruned: datetime = field(default=_NEVER, init=False)
    _looked: dict[tuple[str, timedelta], datetime] = field(default_factory=dict, init=False)
    _seen: dict[str, datetime] = field(default_factory=dict, init=False)

    async def note(
        self,
        entity: str,
        read: Mapping[Key, int],
        opportunities: Mapping[Key, list[str]],
        stored: Mapping[Key, int],
    ) -> None:
        """Write down in which versions these rows (table, id) were read. Raises nothing.

        `stored`: the Marketo ids of those that others may wait for.
        """
        now, keys = self.now(), list(dict.fromkeys([*read, *stored]))
        if not keys or now < self._again:
            return
        async with best_effort(PATIENCE_SECONDS, log, "versions_not_noted entity=%s", entity):
            notes = {
                f"{_stamp(now)}|{uuid4().hex[:8]}": _packed(part, read, opportunities, stored)
                for part in chunked(keys, IN_A_ROW)
            }
            self._seen |= dict.fromkeys(notes if stored else (), now)
            await self.state.put_all(kind_of(entity), notes)
            return
        self._again = now + AGAIN_AFTER

    async def learn(self, known: Known, entities: Collection[str], since: timedelta) -> None:
        """Know what other processes have stored of these entities: not longer than `since` ago. Raises nothing."""
        now = self.now()
        async with best_effort(PATIENCE_SECONDS, log, "stored_not_learned"):
            for entity in sorted(entities):
                # Who has looked for a burst has not looked as far back as a run wants to.
                first = max(now - since, self._looked.get((entity, since), now - since) - OVERLAP)
                async for name, value in self.state.all(kind_of(entity), first=_stamp(first)):
                    if name not in self._seen:
                        self._seen[name] = now
                        for id_, marketo_id in _unpacked(value.get(STORED)):
                            known.add(entity, id_, marketo_id)
                self._looked[entity, since] = now
            self._seen = {name: at for name, at in self._seen.items() if now - at < 2 * OF_A_RUN}

    async def of(self, entity: str, table: str, ids: Collection[str], since: datetime) -> Noted:
        """What was noted of these rows since then. No more than these are in memory, however much was synced.

        Raises StorageUnavailableError.
        """
        wanted, found = frozenset(ids), Noted()
        async for _, value in self.state.all(kind_of(entity), first=_stamp(since - MARGIN)):
            for id_, version in _unpacked(value.get(table)):
                if id_ in wanted:
                    found.versions[id_] = version
            noted = value.get(OPPORTUNITIES)
            if isinstance(noted, dict):
                found.opportunities.update((id_, of) for id_, of in noted.items() if id_ in wanted)
        return found

    async def tend(self) -> None:
        """The minute timer's part: drop what is too old, once an hour. Raises nothing."""
        now = self.now()
        if now - self._pruned < PRUNED_EVERY:
            return
        async with best_effort(PRUNING_SECONDS, log, "versions_not_pruned"):
            for kind in map(kind_of, ENTITIES):
                old = [name async for name, _ in self.state.all(kind, last=_stamp(now - KEPT))]
                await self.state.remove_all(kind, old)
            self._pruned = now


def kind_of(entity: str) -> str:
    """The kind of an entity's notes in the state."""
    return f"synced_{entity}"


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"


def _packed(
    part: Sequence[Key], read: Mapping[Key, int], opportunities: Mapping[Key, list[str]], stored: Mapping[Key, int]
) -> Value:
    packed: dict[str, bytearray] = {}
    for key in part:
        table, id_ = key
        for name, numbers in ((table, read), (STORED, stored)):
            if key in numbers:
                packed.setdefault(name, bytearray()).extend(_ROW.pack(UUID(id_).bytes, numbers[key]))
    value: Value = {name: base64.b64encode(rows).decode() for name, rows in packed.items()}
    of_roles = {key[1]: opportunities[key] for key in part if opportunities.get(key)}
    return {**value, OPPORTUNITIES: of_roles} if of_roles else value


def _unpacked(text: object) -> list[tuple[str, int]]:
    """(id, version or Marketo id) of each row; nothing of what another version of the app has written."""
    try:
        packed = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
        return [(str(UUID(bytes=id_)), version) for id_, version in _ROW.iter_unpack(packed)]
    except (ValueError, struct.error):
        return []
