"""The check of rows that decide about others and that the sync user cannot see: the app notes them as it meets them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from ...azure.table import Table
from ...model.errors import StorageUnavailableError
from ...model.ids_and_times import moment
from ...sync.reference_state import HIDDEN
from ..finding import Finding, attention, ok
from ..status.look import rows_of
from .runner import Check, Subject

GROUP = "Dynamics"
#: So many notes are counted.
MOST = 1000
#: What the app has not met for so long may have been put right.
RECENT = timedelta(days=1)
_EFFECTS = {
    "systemusers": "their records keep the owner that Marketo has",
    "teams": "their records keep the owner that Marketo has",
    "connectionroles": "connections with these roles are tried again, then dead letters (RoleHidden)",
    "relationshiproles": "legacy roles of these kinds are tried again, then dead letters (RoleHidden)",
    "contacts": "what is linked to its company through them goes without it",
}


async def _hidden(subject: Subject) -> Finding:
    try:
        rows = await rows_of(subject.context, HIDDEN)
        refused = await _refused(subject.context.parked_table)
    except StorageUnavailableError as error:
        return attention(f"the app's notes cannot be read ({error.cause})", "see the check storage")
    return finding(rows, datetime.fromtimestamp(subject.clock(), UTC), refused)


async def _refused(table: Table) -> Counter[str]:
    """Rows whose own sync has found them hidden, by table, as far as they are noted (shared/azure/parked_rows.py)."""
    found: Counter[str] = Counter()
    async for page in table.pages("RowKey lt '0' and Code eq @code", {"code": "RowHidden"}, select=["Table"]):
        found.update(str(note["Table"]) for note in page)
        if found.total() >= MOST:
            break
    return found


def finding(
    rows: Mapping[str, Mapping[str, Any]], now: datetime, refused: Mapping[str, int] = MappingProxyType({})
) -> Finding:
    """What the app's notes say at this moment: by entity set, see shared/sync/reference_state.py.

    `refused`: how many rows are dead letters because they are hidden, by table.
    """
    lines = [
        f"{name}: {row.get('rows')} in one read, such as {row.get('first')}: {_EFFECTS.get(name, '')}"
        for name, row in sorted(rows.items())
        if _is_recent(row, now)
    ]
    lines += [
        f"{table}: {count}{' or more' if sum(refused.values()) >= MOST else ''} not synced (RowHidden); what refers to "
        "them goes without the link"
        for table, count in sorted(refused.items())
    ]
    if lines:
        return attention(
            "rows could not be seen that are to be synced, or that others refer to",
            "give the sync user's security role Read on these tables for the whole organisation: what refers to them "
            "is synced again within a quarter of an hour; replay the dead letters (RowHidden, RoleHidden)",
            lines,
        )
    return ok("every row that is to be synced, or that others refer to, could be seen")


def _is_recent(row: Mapping[str, Any], now: datetime) -> bool:
    at = moment(row.get("at"), zoned=True)
    return at is not None and now - at < RECENT


CHECKS = (Check("hidden-rows", GROUP, "Role: hidden rows", _hidden, needs=("dynamics-read",), after=("storage",)),)
