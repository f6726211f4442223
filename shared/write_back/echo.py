"""Knows the app's own writes again: a notification of one is no change, and costs no call of Marketo.

The steps that `msisync register` makes do not name the written columns, so mostly none comes at all. Where one does, an
echo is an update by our user, with the tag that every write carries, whose columns are known and all written by us. All
of that: the user may be a person that edits rows as well (dataverse.md 4.8), and a plug-in of the customer's may add a
column, such as the owner, to our write in the same transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from ..azure.errors import storage_within
from ..dataverse.notifications import Notification
from ..model.entities import PERSON_TABLES
from ..model.errors import MsiSyncError, StorageUnavailableError
from .plan import Plans
from .rows import TAG

log = logging.getLogger(__name__)

_UPDATES = frozenset({"update", "updatemultiple"})
#: The written columns are looked up so often at most, and no longer than this: routing must not wait for storage.
PLAN_SECONDS, STORAGE_SECONDS = 60.0, 3.0
#: What Dataverse adds to every update by itself.
_BOOKKEEPING = frozenset({"modifiedon", "modifiedby", "modifiedonbehalfby"})


class Echoes:
    """Tells echoes from changes."""

    def __init__(
        self,
        plans: Plans,
        user_id: Callable[[], Awaitable[str]],
        *,
        synced: Mapping[str, frozenset[str]],
        clock: Callable[[], float],
    ) -> None:
        """`user_id`: the user that the app signs in as. `synced`: by table, the columns whose change is a change."""
        self._plans = plans
        self._user_id = user_id
        self._synced = synced
        self._clock = clock
        self._user = ""
        self._written: dict[str, frozenset[str]] = {}
        self._looked_up = -PLAN_SECONDS

    async def is_echo(self, notification: Notification) -> bool:
        """Whether this tells of nothing but a write of our own. When it cannot be found out, it is a change."""
        tables = {change.table for change in notification.changes}
        if (
            notification.message.lower() not in _UPDATES
            or notification.tag != TAG
            or not tables <= PERSON_TABLES.keys()
        ):
            return False
        own = {PERSON_TABLES[table].key for table in tables}
        columns = (notification.columns or frozenset()) - _BOOKKEEPING - own
        if not columns or any(columns & self._synced.get(table, frozenset()) for table in tables):
            return False
        return await self._are_ours(columns, tables) and await self._is_me(notification)

    async def _are_ours(self, columns: frozenset[str], tables: set[str]) -> bool:
        """Whether the write-back writes all of these columns."""
        if self._clock() - self._looked_up >= PLAN_SECONDS:
            self._looked_up = self._clock()
            try:
                async with storage_within(STORAGE_SECONDS):
                    plan = await self._plans.known()
                self._written = {table: plan.columns(table) for table in plan.tables} if plan else {}
            except StorageUnavailableError as error:
                log.warning("echo_unknown error=%s", error.cause)
        return all(columns <= self._written.get(table, frozenset()) for table in tables)

    async def _is_me(self, notification: Notification) -> bool:
        try:
            self._user = self._user or await self._user_id()
        except MsiSyncError as error:
            log.warning("echo_unknown error=%s", type(error).__name__)
            return False
        return self._user in (notification.initiating_user_id, notification.user_id)
