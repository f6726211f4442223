"""The check of rows that decide about others and that the sync user cannot see: the app notes them as it meets them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.operations.doctor.runner import Check, Finding, Subject, attention, ok
from shared.operations.status.look import rows_of
from shared.reference_state import HIDDEN

GROUP = "Dynamics"
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
    from azure.core.exceptions import AzureError  # noqa: PLC0415  (slow to import)

    try:
        rows = await rows_of(subject.context, HIDDEN)
    except AzureError as error:
        return attention(f"the app's notes cannot be read ({type(error).__name__})", "see the check storage")
    return finding(rows, datetime.fromtimestamp(subject.clock(), UTC))


def finding(rows: Mapping[str, Mapping[str, Any]], now: datetime) -> Finding:
    """What the app's notes say at this moment: by entity set, see shared/reference_state.py."""
    lines = [
        f"{name}: {row.get('rows')} in one read, such as {row.get('first')}: {_EFFECTS.get(name, '')}"
        for name, row in sorted(rows.items())
        if _is_recent(row, now)
    ]
    if lines:
        return attention(
            "rows that others refer to could not be seen within the last day",
            "give the sync user's security role Read on these tables for the whole organisation, then msisync resync",
            lines,
        )
    return ok("every row that others refer to could be seen")


def _is_recent(row: Mapping[str, Any], now: datetime) -> bool:
    try:
        return now - datetime.fromisoformat(str(row.get("at"))) < RECENT
    except (ValueError, TypeError):
        return False


CHECKS = (Check("hidden-rows", GROUP, "Role: hidden rows", _hidden, needs=("dynamics-read",), after=("storage",)),)
