"""Asks again for rows that others refer to and that the sync user could not see, until it can.

No notification tells of a privilege that is given. So the ids are noted in the shared state before anything is sent
without them (rows: see shared/sync/reference_state.py). The timer asks for them, and sends what depends on those that
have appeared. A crash in between has them asked for again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from functools import partial
from zlib import crc32

from ..azure.errors import storage_within
from ..azure.shared_state import State, Value
from ..dataverse.client import MAX_IDS
from ..model.entities import ALL_TABLES
from ..model.errors import MsiSyncError, cause_of
from ..model.ids_and_times import moment
from ..model.record import Record, timestamp
from .dependants import Dependants
from .reference_state import HIDDEN, KIND, STORAGE_SECONDS
from .routing import chunked

log = logging.getLogger(__name__)

UNSEEN = "unseen"
#: The row of kind `reference` that says when they were asked for last.
ASKED = "unseen"
#: How often they are asked for: 300 of them in one request.
ASK_SECONDS = 900.0
#: Rows of the shared state for each entity set, and the ids in one: of more than these, the rest is found at its next
#: use, or not at all.
BUCKETS, BUCKET_IDS = 16, 400
_TABLE_OF = {table.entity_set: name for name, table in ALL_TABLES.items()}

Send = Callable[[Sequence[Record]], Awaitable[None]]


@dataclass(frozen=True)
class Unseen:
    """Notes ids that could not be seen, asks again, and has synced again what depends on those that can be now."""

    state: State
    dependants: Dependants
    _: KW_ONLY
    now: Callable[[], datetime]

    async def note(self, entity_set: str, ids: Collection[str]) -> None:
        """Note these. Raises StorageUnavailableError: then nothing may be sent without them."""
        buckets: dict[str, set[str]] = {}
        for id_ in ids:
            buckets.setdefault(_bucket(entity_set, id_), set()).add(id_)
        async with storage_within(STORAGE_SECONDS * len(buckets)):
            for name, added in buckets.items():
                await self.state.change(UNSEEN, name, partial(_with, added))

    async def look_again(self, send: Send) -> int:
        """Ask, if it is time. Gives how many have appeared. Raises nothing that is about a vendor or storage."""
        count = 0
        try:
            if not await self._is_due():
                return 0
            noted: dict[str, set[str]] = {}
            async for name, value in self.state.all(UNSEEN):
                noted.setdefault(name.partition("|")[0], set()).update(_ids(value))
            for entity_set, ids in sorted(noted.items()):
                appeared = sum([await self._ask(entity_set, part, send) for part in chunked(sorted(ids), MAX_IDS)])
                count += appeared
                if appeared == len(ids):  # `msisync doctor` need not warn any more
                    await self.state.remove(HIDDEN, entity_set)
        except MsiSyncError as error:
            log.warning("looking_again_waits error=%s", cause_of(error))
        return count

    async def _is_due(self) -> bool:
        """Whether they are to be asked for now; if so, that is noted."""
        now = self.now()
        last = moment((await self.state.read(KIND, ASKED)).get("at"))
        if last and last <= now < last + timedelta(seconds=ASK_SECONDS):
            return False
        await self.state.put(KIND, ASKED, {"at": timestamp(now)})
        return True

    async def _ask(self, entity_set: str, ids: list[str], send: Send) -> int:
        table = _TABLE_OF[entity_set]
        visible = await self.dependants.visible(table, ids)
        if visible:
            log.info("rows_appeared table=%s rows=%d first=%s", table, len(visible), visible[0])
            # Of a contact, what is below it follows. A user's own sync need not send what is sent here again.
            records = [Record(table, id_, self.now(), deciding=table == "contact") for id_ in visible]
            async for page in self.dependants.of_appeared(table, records):
                await send(page)
            for name in sorted({_bucket(entity_set, id_) for id_ in visible}):
                await self.state.change(UNSEEN, name, partial(_without, visible))
        return len(visible)


def _bucket(entity_set: str, id_: str) -> str:
    return f"{entity_set}|{crc32(id_.encode()) % BUCKETS:02}"


def _ids(value: Value) -> set[str]:
    given = value.get("ids")
    return {str(id_) for id_ in given} if isinstance(given, list) else set()


def _with(added: Collection[str], value: Value) -> Value | None:
    before = _ids(value)
    new = sorted(set(added) - before)[: max(0, BUCKET_IDS - len(before))]
    return {"ids": sorted({*before, *new})} if new else None


def _without(gone: Collection[str], value: Value) -> Value | None:
    before = _ids(value)
    left = before - set(gone)
    return {"ids": sorted(left)} if left != before else None
