"""Rows that a query does not give: not there yet, not there any more, or hidden from the sync user.

A query leaves all three out without a word (dataverse.md 5.3). A request for the one row tells them apart: 403 where a
security role hides it, 404 where there is none. A row may come after its notification: a step that is registered as
synchronous posts within the transaction, which is committed seconds later, or rolled back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from ..dataverse.client import DataverseClient
from ..model.entities import Table
from ..model.errors import MsiSyncError
from ..model.outcome import Failed, Later, Outcome, Skipped, of_error
from ..model.record import Record

log = logging.getLogger(__name__)

#: Seconds until a row that is not there is looked for again, look by look; then it is gone.
LOOKS = (5.0, 60.0)
#: Rows that are asked for one by one, in one request: of more than these, the rest waits for its next look.
MAX_ASKED = 100
FORBIDDEN, NOT_FOUND = 403, 404


async def look_for(
    dataverse: DataverseClient, table: Table, records: Sequence[Record], *, deadline: float | None = None
) -> list[tuple[Record, Outcome]]:
    """What becomes of records of one table whose rows a query did not give. Costs one request to Dataverse."""
    asked = records[:MAX_ASKED]
    if not asked:
        return []
    try:
        found = await dataverse.statuses(table.entity_set, table.key, [r.id for r in asked], deadline=deadline)
    except MsiSyncError as error:
        return [(record, of_error(error)) for record in records]
    statuses = {record.id: status for record, status in zip(asked, found, strict=True)}
    return [_decided(table, record, statuses.get(record.id)) for record in records]


def _decided(table: Table, record: Record, status: int | None) -> tuple[Record, Outcome]:
    if status == FORBIDDEN:
        return record, hidden(table.name)
    if record.absent < len(LOOKS):
        return replace(record, absent=record.absent + 1), Later("RowNotThere", after=LOOKS[record.absent])
    if status == NOT_FOUND:
        return record, Skipped("RowGone")
    return record, Later("RowNotThere", after=LOOKS[-1])  # it has come just now, or nobody could say


def hidden(table: str) -> Failed:
    """What becomes of a row that the sync user may not read."""
    return Failed(
        "RowHidden",
        f"the row is there, but the sync user may not read it: give one of its security roles Read on the table "
        f"{table} for the whole organisation, then replay this record",
        "dataverse",
    )
