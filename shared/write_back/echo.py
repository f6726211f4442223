"""Knows the app's own writes again: a notification of one is no change, and costs no call of Marketo.

The steps that `msisync register` makes do not name the written columns, so mostly none comes at all. Where one does, an
echo is an update by our user, with the tag that every write carries, whose columns are known and all written by us. All
of that: the user may be a person that edits rows as well (dataverse.md 4.8), and a plug-in of the customer's may add a
column, such as the owner, to our write in the same transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field

from ..azure.errors import best_effort
from ..dataverse.notifications import Notification
from ..model.entities import PERSON_TABLES
from ..model.errors import MsiSyncError
from .plan import Plans
from .rows import TAG

log = logging.getLogger(__name__)

_UPDATES = frozenset({"update", "updatemultiple"})
#: The written columns are looked up so often at most, and no longer than this: routing must not wait for storage.
PLAN_SECONDS, STORAGE_SECONDS = 60.0, 3.0
#: What Dataverse adds to every update by itself.
_BOOKKEEPING = frozenset({"modifiedon", "modifiedby", "modifiedonbehalfby"})


@dataclass
class Echoes:
    """Tells echoes from changes.

    `user_id`: the user that the app signs in as. `synced`: by table, the columns whose change is a change.
    """

    plans: Plans
    user_id: Callable[[], Awaitable[str]]
    _: KW_ONLY
    synced: Mapping[str, frozenset[str]]
    clock: Callable[[], float]
    _written: dict[str, frozenset[str]] = field(default_factory=dict, init=False)
    _looked_up: float = field(default=-PLAN_SECONDS, init=False)

    async def is_echo(self, notification: Notification) -> bool:
        """Whether this tells of nothing but a write of our own. When it cannot be found out, it is a change."""
        tables = {change.table for change in notification.changes}
        is_tagged = notification.message.lower() in _UPDATES and notification.tag == TAG
        if not is_tagged or not tables <= PERSON_TABLES.keys():
            return False
        own = {PERSON_TABLES[table].key for table in tables}
        columns = (notification.columns or frozenset()) - _BOOKKEEPING - own
        if not columns or any(columns & self.synced.get(table, frozenset()) for table in tables):
            return False
        return await self._are_ours(columns, tables) and await self._is_me(notification)

    async def _are_ours(self, columns: frozenset[str], tables: set[str]) -> bool:
        """Whether the write-back writes all of these columns."""
        if self.clock() - self._looked_up >= PLAN_SECONDS:
            self._looked_up = self.clock()
            async with best_effort(STORAGE_SECONDS, log, "echo_unknown"):
                plan = await self.plans.known()
                self._written = {table: plan.columns(table) for table in plan.tables} if plan else {}
        return all(columns <= self._written.get(table, frozenset()) for table in tables)

    async def _is_me(self, notification: Notification) -> bool:
        try:
            user = await self.user_id()
        except MsiSyncError as error:
            log.warning("echo_unknown error=%s", type(error).__name__)
            return False
        return user in (notification.initiating_user_id, notification.user_id)
