"""Which version of its row the sync has read lately: what change tracking tells of it is no news.

A row that the sync has read in a version is in Marketo as it was then, or is on its way durably (parked, tried again, a
dead letter), or was left out on purpose. So is a row that it has found to be gone. Each invocation writes them down
after its work, hundreds of records in a row of the shared state::

    synced_<entity>   <time>|<random>    {"contact": <base64 of 16 bytes id and 8 bytes version for each row>,
                                          "opportunities": {"<id of a connection>": ["<id>", …]}}

The version is the number of the row's etag, 0 where the row is gone. Of the rows that are opportunity roles, the
opportunities are kept as well: of a deleted connection nobody else knows them. Rows of the state are dropped after a
day. Nothing here is needed to sync: what is missing is sent once more, which costs a part of a call and does no harm.
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
from .routing import chunked

log = logging.getLogger(__name__)

KEPT = timedelta(hours=26)
#: How often what is older is dropped, and how many seconds that may take.
PRUNED_EVERY, PRUNING_SECONDS = timedelta(hours=1), 15.0
#: The version of a row that is gone.
GONE = 0
OPPORTUNITIES = "opportunities"
#: Records in one row of the state. A value takes 32,000 characters: 32 for a record, and up to 120 more for a role.
IN_A_ROW = 200
#: Seconds that an invocation spends on this, and how long it is left alone after a failure.
PATIENCE_SECONDS = 3.0
AGAIN_AFTER = timedelta(seconds=60)
#: Notes that were begun before the time from which on they are read, and clocks that differ.
MARGIN = timedelta(minutes=10)
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

    async def note(self, entity: str, read: Mapping[Key, int], opportunities: Mapping[Key, list[str]]) -> None:
        """Write down in which versions these rows (table, id) were read. Raises nothing."""
        now = self.now()
        if not read or now < self._again:
            return
        async with best_effort(PATIENCE_SECONDS, log, "versions_not_noted entity=%s", entity):
            parts = chunked(list(read.items()), IN_A_ROW)
            await self.state.put_all(
                kind_of(entity), {f"{_stamp(now)}|{uuid4().hex[:8]}": _packed(part, opportunities) for part in parts}
            )
            return
        self._again = now + AGAIN_AFTER

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


def _packed(part: Sequence[tuple[Key, int]], opportunities: Mapping[Key, list[str]]) -> Value:
    tables: dict[str, bytearray] = {}
    for (table, id_), version in part:
        tables.setdefault(table, bytearray()).extend(_ROW.pack(UUID(id_).bytes, version))
    value: Value = {table: base64.b64encode(packed).decode() for table, packed in tables.items()}
    of_roles = {key[1]: opportunities[key] for key, _ in part if opportunities.get(key)}
    return {**value, OPPORTUNITIES: of_roles} if of_roles else value


def _unpacked(text: object) -> list[tuple[str, int]]:
    """(id, version) of each row; nothing of what another version of the app has written."""
    try:
        packed = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
        return [(str(UUID(bytes=id_)), version) for id_, version in _ROW.iter_unpack(packed)]
    except (ValueError, struct.error):
        return []
