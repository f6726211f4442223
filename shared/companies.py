"""Company fields of persons without a company in Dynamics, who may still have one in Marketo.

A Marketo person cannot leave a company, only move to another one (marketo.md 5.3). What a lead that has left its
account says of its company would be refused (1021), or would overwrite the account's own values for everybody in it.
"""

from __future__ import annotations

from shared.batch import Batch, Candidate
from shared.entities import COMPANY
from shared.errors import MsiSyncError
from shared.marketo.client import MAX_FILTER_VALUES, MarketoClient
from shared.outcomes import of_error
from shared.routing import chunked


class Companies:
    """Keeps what persons say of a company away from companies that have records of their own."""

    def __init__(self, marketo: MarketoClient) -> None:
        self._marketo = marketo

    async def spare(self, batch: Batch, candidates: list[Candidate]) -> None:
        """Leave the company fields out of persons that Marketo has in a company: one call per 300 with such fields.

        Only Marketo knows: Dynamics does not remember the account that a lead has left. One that has not been changed
        since it was made has left none. Decides those that cannot be asked for.
        """
        if not batch.entity.is_lead:
            return
        doubtful = [
            candidate
            for candidate in candidates
            if candidate.records[0].key in batch.open and candidate.has_company_fields and not candidate.is_as_made
        ]
        for part in chunked(doubtful, MAX_FILTER_VALUES):
            try:
                linked = await self._linked(batch, [candidate.records[0].id for candidate in part])
            except MsiSyncError as error:
                batch.decide((record for candidate in part for record in candidate.records), of_error(error))
                continue
            for candidate in part:
                if candidate.records[0].id in linked:
                    candidate.leave_to_company()

    async def _linked(self, batch: Batch, ids: list[str]) -> set[str]:
        """Those of these persons that have a company in Marketo."""
        key = self._marketo.key_of(batch.entity)
        rows = await self._marketo.read(batch.entity, key, ids, (key, COMPANY.key), deadline=batch.deadline)
        return {str(row.get(key) or "").lower() for row in rows if row.get(COMPANY.key)}
