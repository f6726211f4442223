"""Check of change tracking in Dynamics, with which the app finds what no notification told of."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from ...azure.shared_state import parsed
from ...sync.missed_changes import sources_of
from ...sync.missed_changes_place import KIND, Place
from ..finding import Finding, attention, ok
from ..status.look import rows_of
from .runner import Check, Subject, listed


async def _tracking(subject: Subject) -> Finding:
    tables = [source.name for source in sources_of(subject.context.config)]
    tracked = await asyncio.gather(*map(subject.context.metadata.is_tracked, tables))
    rows = await rows_of(subject.context.state, KIND)
    return tracking(dict(zip(tables, tracked, strict=True)), rows)


def tracking(tracked: Mapping[str, bool], rows: Mapping[str, Mapping[str, Any]]) -> Finding:
    """What the metadata of the tables and the app's notes (shared/sync/missed_changes_place.py) say."""
    off = [table for table, is_on in tracked.items() if not is_on]
    if off:
        return attention(
            f"off for {listed(off, 10)}: changes of which no notification tells are never found there",
            "in make.powerapps.com, open Tables, the table, its Properties, Advanced options: Track changes (it cannot "
            "be switched off again); reconcile_changes begins with its next run",
        )
    errors = _errors(list(tracked), rows)
    if errors:
        return attention(
            "Dynamics does not tell the app what has changed",
            "give the sync user's security role Read on these tables for the whole organisation; see the codes",
            errors,
        )
    return ok(f"on for {len(tracked)} tables")


def _errors(tables: Sequence[str], rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    places = {table: parsed(Place, rows.get(table)) for table in tables}
    return [f"{table}: {place.error}" for table, place in places.items() if place and place.error]


CHECKS = (
    Check(
        "change-tracking", "Dynamics", "Change tracking", _tracking,
        needs=("dynamics-read", "sync-toml", "storage"),
    ),
)  # fmt: skip
