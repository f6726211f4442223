"""Asks again for rows that others refer to and that the sync user could not see, until it can.

No notification tells of a privilege that is given. So what was sent without knowing its owner (or its team's
administrator, its role, a contact in between) would keep the old link until its own next change. The ids are noted in
the shared state before anything is sent without them; the timer asks for them, and sends what depends on those that
have appeared. A crash in between has them asked for again.

Rows of the shared state: see shared/sync/reference_state.py.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from zlib import crc32

from ..azure.errors import storage_within
from ..azure.shared_state import State, Value
from ..dataverse.client import MAX_IDS
from ..model.errors import MsiSyncError, cause_of
from ..model.ids_and_times import moment
from ..model.record import Record, timestamp
from .reference_state import HIDDEN, KIND, STORAGE_SECONDS
from .routing import chunked

if TYPE_CHECKING:
    from .dependants import Dependants

log = logging.getLogger(__name__)

UNSEEN = "unseen"
#: The row of kind `reference` that says when they were asked for last.
ASKED = "unseen"
#: How often they are asked for: 300 of them in one request.
ASK_SECONDS = 900.0
#: Rows of the shared state for each entity set, and the ids in one: of more than these, the rest is found at its next
#: use, or not at all.
BUCKETS, BUCKET_IDS = 16, 400
TABLE_OF = {
    "systemusers": "systemuser",
    "teams": "team",
    "connectionroles": "connectionrole",
    "relationshiproles": "relationshiprole",
    "contacts": "contact",
}

Send = Callable[[Sequence[Record]], Awaitable[None]]


class UnseenRows:
    """Notes ids that could not be seen."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def note(self, entity_set: str, ids: Collection[str]) -> None:
        """Note these. Raises StorageUnavailableError: then nothing may be sent without them."""
        buckets: dict[str, set[str]] = {}
        for id_ in ids:
            buckets.setdefault(_bucket(entity_set, id_), set()).add(id_)
        async with storage_within(STORAGE_SECONDS * len(buckets)):
            for name, added in buckets.items():
                await self._state.change(UNSEEN, name, partial(_with, added))

    async def all(self) -> dict[str, set[str]]:
        """The ids by entity set. Raises StorageUnavailableError."""
        found: dict[str, set[str]] = {}
        async for name, value in self._state.all(UNSEEN):
            found.setdefault(name.partition("|")[0], set()).update(_ids(value))
        return found

    async def forget(self, entity_set: str, ids: Collection[str]) -> None:
        """They can be seen. Raises StorageUnavailableError."""
        for name in sorted({_bucket(entity_set, id_) for id_ in ids}):
            await self._state.change(UNSEEN, name, partial(_without, ids))

    async def all_seen(self, entity_set: str) -> None:
        """None of them is left: `msisync doctor` need not warn any more. Raises StorageUnavailableError."""
        await self._state.remove(HIDDEN, entity_set)

    async def is_due(self, now: datetime) -> bool:
        """Whether they are to be asked for now; if so, that is noted. Raises StorageUnavailableError."""
        last = moment((await self._state.read(KIND, ASKED)).get("at"))
        if last and last <= now < last + timedelta(seconds=ASK_SECONDS):
            return False
        await self._state.put(KIND, ASKED, {"at": timestamp(now)})
        return True


class LookAgain:
    """Asks for rows that could not be seen, and has synced again what depends on those that can be now."""

    def __init__(self, rows: UnseenRows, dependants: Dependants, *, now: Callable[[], datetime]) -> None:
        self._rows = rows
        self._dependants = dependants
        self._now = now

    async def run(self, send: Send) -> int:
        """Ask, if it is time. Gives how many have appeared. Raises nothing that is about a vendor or storage."""
        count = 0
        try:
            if await self._rows.is_due(self._now()):
                for entity_set, ids in sorted((await self._rows.all()).items()):
                    appeared = [await self._ask(entity_set, part, send) for part in chunked(sorted(ids), MAX_IDS)]
                    count += sum(appeared)
                    if sum(appeared) == len(ids):
                        await self._rows.all_seen(entity_set)
        except MsiSyncError as error:
            log.warning("looking_again_waits error=%s", cause_of(error))
        return count

    async def _ask(self, entity_set: str, ids: list[str], send: Send) -> int:
        table = TABLE_OF[entity_set]
        visible = await self._dependants.visible(table, ids)
        if visible:
            log.info("rows_appeared table=%s rows=%d first=%s", table, len(visible), visible[0])
            # Of a contact, what is below it follows. A user's own sync need not send what is sent here again.
            records = [Record(table, id_, self._now(), deciding=table == "contact") for id_ in visible]
            async for page in self._dependants.of_appeared(table, records):
                await send(page)
            await self._rows.forget(entity_set, visible)
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
