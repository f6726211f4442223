"""Knows the app's own writes again: a notification of one is no change, and costs no call of Marketo.

The steps that `msisync register` makes do not name the written columns, so mostly none comes at all. Where it does:
by the tag that every write carries, or by the user and the columns together. Never by the user alone, who may be a
person that edits rows as well (dataverse.md 4.8).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from shared.changes import Notification
from shared.errors import MsiSyncError
from shared.write_back.plan import TABLES, Plans
from shared.write_back.rows import TAG

log = logging.getLogger(__name__)

_UPDATES = frozenset({"update", "updatemultiple"})
#: What Dataverse adds to every update by itself.
_BOOKKEEPING = frozenset({"modifiedon", "modifiedby", "modifiedonbehalfby"})


class Echoes:
    """Tells echoes from changes."""

    def __init__(self, plans: Plans, user_id: Callable[[], Awaitable[str]]) -> None:
        """`user_id`: the user that the app signs in as."""
        self._plans = plans
        self._user_id = user_id
        self._user = ""

    async def is_echo(self, notification: Notification) -> bool:
        """Whether this tells of nothing but a write of our own. When it cannot be found out, it is a change."""
        tables = {change.table for change in notification.changes}
        if notification.message.lower() not in _UPDATES or not tables <= TABLES.keys():
            return False
        if notification.tag == TAG:
            return True
        return notification.columns is not None and await self._looks_like_one(notification, tables)

    async def _looks_like_one(self, notification: Notification, tables: set[str]) -> bool:
        from azure.core.exceptions import AzureError  # noqa: PLC0415  (cold start)

        try:
            plan = await self._plans.known()
            written = frozenset[str]().union(*(plan.columns(table) for table in tables)) if plan else frozenset()
            columns = (notification.columns or frozenset()) - _BOOKKEEPING - {TABLES[table].key for table in tables}
            if not columns or not columns <= written:
                return False
            self._user = self._user or await self._user_id()
        except (AzureError, MsiSyncError) as error:
            log.warning("echo_unknown error=%s", type(error).__name__)
            return False
        return self._user in (notification.initiating_user_id, notification.user_id)
