"""Sends candidates to Marketo in chunks, and turns its answers into outcomes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from shared.batch import Batch, Candidate
from shared.codes import Kind, marketo_record
from shared.entities import Entity
from shared.errors import MsiSyncError, VendorError
from shared.known import Known
from shared.marketo.chunks import chunks
from shared.marketo.client import MarketoClient, Result
from shared.outcomes import Outcome, Synced, of_error, of_skip
from shared.schema import Schema

log = logging.getLogger(__name__)


class Upserts:
    """Upserts of one process."""

    def __init__(self, marketo: MarketoClient, schema: Schema, known: Known, *, clock: Callable[[], float]) -> None:
        self._marketo = marketo
        self._schema = schema
        self._known = known
        self._clock = clock

    async def send(self, batch: Batch, ready: dict[str, Candidate], at_least: int) -> None:
        """Send what fills calls of `at_least` records, the oldest first, and take it out of `ready`.

        Chunks run concurrently: they hold different records, and the pacer bounds how many calls there are.
        """
        count = len(ready) if at_least == 1 else len(ready) - len(ready) % at_least
        going = sorted(ready.values(), key=lambda candidate: candidate.since)[:count]
        for candidate in going:
            del ready[candidate.key]
        await asyncio.gather(*(self._send_chunk(batch, chunk) for chunk in chunks(going)))

    async def _send_chunk(self, batch: Batch, chunk: list[Candidate]) -> None:
        """One call; in halves when Marketo refuses the whole for what may be the fault of one record."""
        if self._clock() >= batch.deadline:
            return
        try:
            results = await self._marketo.upsert(batch.entity, [c.body for c in chunk], deadline=batch.deadline)
        except MsiSyncError as error:
            await self._refused(batch, chunk, error)
            return
        again: list[Candidate] = []
        for candidate, result in zip(chunk, results, strict=True):
            if result.refused_field and candidate.without(result.refused_field):
                log.warning("left_out entity=%s key=%s %s", batch.entity.name, candidate.key, result.message)
                again.append(candidate)
            else:
                batch.decide(candidate.records, self._outcome(batch.entity, candidate, result))
        if again:
            self._schema.forget()
            await self._send_chunk(batch, again)

    async def _refused(self, batch: Batch, chunk: list[Candidate], error: MsiSyncError) -> None:
        kind = error.kind if isinstance(error, VendorError) else Kind.CONFIGURATION
        if kind is Kind.CONFIGURATION:
            self._schema.forget()  # a field may have disappeared: describe again before the next try
        first_try = all(record.attempt == 0 for candidate in chunk for record in candidate.records)
        if kind is Kind.MISSING_PARENT and first_try:
            self._forget_parents(chunk)  # the next try looks them up again
        elif kind in (Kind.SPLIT, Kind.MISSING_PARENT) and len(chunk) > 1:
            middle = len(chunk) // 2
            await self._send_chunk(batch, chunk[:middle])
            await self._send_chunk(batch, chunk[middle:])
            return
        batch.decide([r for c in chunk for r in c.records], of_error(error))

    def _outcome(self, entity: Entity, candidate: Candidate, result: Result) -> Outcome:
        """What Marketo's result for one record means, and what it teaches."""
        kind = marketo_record(result.code) if result.code else Kind.OK
        if kind is Kind.OK:
            self._known.add(entity.name, candidate.key, result.id, candidate.digest)
            return Synced(result.status)
        if kind is Kind.MISSING_PARENT:
            self._forget_parents([candidate])
        if kind is Kind.CONFIGURATION:
            self._schema.forget()  # a field may have disappeared: describe again before the next try
        return of_skip(result.code, result.message)

    def _forget_parents(self, candidates: list[Candidate]) -> None:
        for candidate in candidates:
            for parent in candidate.parents.values():
                if parent:
                    self._known.forget(parent.entity, parent.id)
