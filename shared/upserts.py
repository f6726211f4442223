"""Sends candidates to Marketo in chunks, and turns its answers into outcomes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from shared.batch import Batch, Candidate
from shared.circuit import Circuits
from shared.codes import Kind, marketo_record
from shared.entities import Entity
from shared.errors import MarketoError, MsiSyncError, VendorError
from shared.known import Known
from shared.marketo.answers import Result
from shared.marketo.chunks import MAX_RECORDS, chunks
from shared.marketo.client import TRANSIENT_TRIES, MarketoClient
from shared.outcomes import RETRY_SECONDS, Failed, Outcome, Retry, Synced, of_error, of_skip
from shared.schema import Schema

log = logging.getLogger(__name__)

#: Kinds of refusals of a whole call that a single record may have caused: reasons of records come at that level as
#: well (marketo.md 3), even one that is no error of a record.
ISOLATED = frozenset({Kind.SPLIT, Kind.MISSING_PARENT, Kind.PERMANENT, Kind.AMBIGUOUS, Kind.FIELD, Kind.OK})
#: Codes of calls that are too large.
TOO_LARGE = frozenset({"HTTP 413", "HTTP 414", "1036", "1080"})
#: Marketo's own limit of time: after tries of the same size, smaller calls may go through (marketo.md 3.2).
TIMED_OUT = "604"
#: Refusals that tell nothing: where they hit everything, Marketo is as good as away.
UNEXPLAINED = frozenset({Kind.SPLIT, Kind.UNKNOWN})
#: The code of a field that is not there (any more).
GONE_FIELD = "1006"
#: The code of company fields on a person that is linked to a company.
COMPANY_UPDATE = "1021"
#: So many suspects are tried one by one.
FEW = 8
#: How often records are sent again in one invocation, without a culprit or a refused field.
ROUNDS = 3


class Upserts:
    """Upserts of one process."""

    def __init__(
        self,
        marketo: MarketoClient,
        schema: Schema,
        known: Known,
        circuits: Circuits,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._circuits = circuits
        self._limits: dict[str, int] = {}
        self._marketo = marketo
        self._schema = schema
        self._known = known
        self._clock = clock

    async def send(self, batch: Batch, ready: dict[str, Candidate], at_least: int, *, calls: int | None = None) -> None:
        """Send what fills calls of `at_least` records, the oldest first, and take it out of `ready`.

        Chunks run concurrently: they hold different records, and the pacer bounds how many calls there are; `calls`
        is how many of them are sent at most.
        """
        count = len(ready) if at_least == 1 else len(ready) - len(ready) % at_least
        oldest = sorted(ready.values(), key=lambda candidate: candidate.since)[:count]
        going = list(chunks(oldest, self._limits.get(batch.entity.name, MAX_RECORDS)))[:calls]
        for candidate in (c for chunk in going for c in chunk):
            del ready[candidate.key]
        await asyncio.gather(*(self._send_chunk(batch, chunk) for chunk in going))

    async def _send_chunk(self, batch: Batch, chunk: list[Candidate], rounds: int = ROUNDS) -> None:
        """One call, and more of them where a part of the records spoils it for the others."""
        if self._clock() >= batch.deadline:
            return
        try:
            again = await self._call(batch, chunk)
        except MsiSyncError as error:
            await self._refused(batch, chunk, error, rounds)
            return
        if again and rounds:
            await self._send_chunk(batch, again, rounds - 1)
        else:
            refused = Failed(
                "FieldsRefused", "Marketo refuses field after field of this record; see the log", "marketo"
            )
            batch.decide([r for c in again for r in c.records], refused)

    async def _call(self, batch: Batch, chunk: list[Candidate], tries: int = TRANSIENT_TRIES) -> list[Candidate]:
        """Upsert and decide; gives the candidates that are to be sent again, without a field that Marketo refuses."""
        bodies = [candidate.body for candidate in chunk]
        keys = [candidate.key for candidate in chunk]
        try:
            results = await self._marketo.upsert(
                batch.entity, bodies, deadline=batch.deadline, tries=tries, begin=partial(batch.sending.begin, keys)
            )
        except MsiSyncError as error:
            if not (isinstance(error, MarketoError) and error.at_work):
                batch.sending.ended(keys)
            raise
        batch.sending.ended(keys)
        self._grow(batch.entity, len(chunk))
        again: list[Candidate] = []
        for candidate, result in zip(chunk, results, strict=True):
            refused = candidate.company_fields if result.code == COMPANY_UPDATE else result.refused_fields
            if refused and candidate.without(refused, batch.entity):
                log.warning("left_out entity=%s key=%s %s", batch.entity.name, candidate.key, result.message)
                again.append(candidate)
                self._schema.doubt(batch.entity.name)
                if result.code == GONE_FIELD:
                    self._schema.forget()
            else:
                batch.decide(candidate.records, self._outcome(batch.entity, candidate, result))
        return again

    async def _refused(self, batch: Batch, chunk: list[Candidate], error: MsiSyncError, rounds: int) -> None:
        """Marketo refused a whole call. Where that may be the fault of one record, the others are sent all the same."""
        kind = error.kind if isinstance(error, VendorError) else Kind.CONFIGURATION
        if isinstance(error, MarketoError) and error.at_work:
            log.warning("answer_lost entity=%s records=%d %s", batch.entity.name, len(chunk), error)
            self._halve(batch, chunk, error)
            await self._open(batch, error)
            for candidate in chunk:
                batch.decide(candidate.records, of_error(error, at_least=batch.sending.in_flight(candidate.key)))
            return
        if kind is Kind.CONFIGURATION:
            self._schema.forget()  # a field may have disappeared: describe again before the next try
        if kind in UNEXPLAINED and error.code not in TOO_LARGE and self._circuits.is_probe(batch.entity.name):
            await self._open(batch, error)
            batch.decide([r for c in chunk for r in c.records], of_error(error))
            return
        first_try = all(record.attempt == 0 for candidate in chunk for record in candidate.records)
        if kind is Kind.MISSING_PARENT and first_try:
            self._forget_parents(chunk)  # the next try looks them up again
        elif len(chunk) > 1 and rounds and error.code in TOO_LARGE:
            middle = len(chunk) // 2
            await self._send_chunk(batch, chunk[:middle], rounds)
            await self._send_chunk(batch, chunk[middle:], rounds)
            return
        elif (
            isinstance(error, VendorError)
            and len(chunk) > 1
            and rounds
            and (kind in ISOLATED or (kind is Kind.UNKNOWN and not first_try))
        ):
            await self._isolate(batch, chunk, error, rounds)
            return
        batch.decide([r for c in chunk for r in c.records], of_error(error))

    async def _isolate(
        self, batch: Batch, chunk: list[Candidate], error: VendorError, rounds: int, *, works: bool = False
    ) -> bool:
        """Find the record that spoils a call by halving; what is stored on the way is done. Gives whether any was
        (`works`: before as well).

        Of two halves only the first is sent: the other one holds the culprit if that goes well. So one culprit among
        300 costs nine calls, and a tenth for the records that were never sent. Another culprit may have another reason:
        each is told its own. Where nothing can be stored, nobody can tell: all of them try again some times, for hours.
        """
        culprits, suspects, unsent = list[tuple[Candidate, VendorError]](), chunk, list[Candidate]()
        try:
            if len(chunk) <= FEW:
                tried = [(c, await self._refusal(batch, [c])) for c in chunk]
                culprits = [(c, refusal) for c, refusal in tried if refusal]
                suspects, works = [], works or len(culprits) < len(chunk)
            while len(suspects) > 1 and self._clock() < batch.deadline:
                middle = len(suspects) // 2
                refusal = await self._refusal(batch, suspects[:middle])
                if refusal:
                    error, suspects, unsent = refusal, suspects[:middle], unsent + suspects[middle:]
                else:
                    suspects, works = suspects[middle:], True
            if self._clock() >= batch.deadline:
                return works  # what is not decided is sent again
            refusal = await self._refusal(batch, unsent) if unsent else None
            works |= bool(unsent) and refusal is None
            if refusal and rounds > 1 and (works or rounds == ROUNDS):
                works = await self._isolate(batch, unsent, refusal, rounds - 1, works=works)
        except MsiSyncError as other:  # something else has happened: that is the next try's business
            batch.decide([r for c in chunk for r in c.records], of_error(other))
        if not works and len(chunk) > FEW:
            await self._open(batch, error)
        later = Retry(RETRY_SECONDS[Kind.TRANSIENT], error.code, error.message, counted=not works)
        for candidate, reason in [*culprits, *((suspect, error) for suspect in suspects)]:
            if reason.kind is Kind.MISSING_PARENT:
                self._forget_parents([candidate])
            batch.decide(candidate.records, _of_culprit(candidate, reason) if works else later)
        batch.decide([r for c in unsent for r in c.records], later)
        return works

    async def _open(self, batch: Batch, error: MsiSyncError) -> None:
        """A refusal without a reason hits everything: Marketo is as good as away."""
        if isinstance(error, VendorError) and error.kind in UNEXPLAINED:
            await self._circuits.open(batch.entity.name, error)

    async def _refusal(self, batch: Batch, chunk: list[Candidate]) -> VendorError | None:
        """Why Marketo refuses this part of a call as well, for what a record of it is; any other error is raised."""
        try:
            again = await self._call(batch, chunk, tries=1)
        except VendorError as error:
            if error.kind in ISOLATED or error.kind is Kind.UNKNOWN:
                return error
            raise
        if again:
            await self._send_chunk(batch, again, 1)
        return None

    def _outcome(self, entity: Entity, candidate: Candidate, result: Result) -> Outcome:
        """What Marketo's result for one record means, and what it teaches."""
        kind = marketo_record(result.code) if result.code else Kind.OK
        if kind is Kind.OK:
            self._known.add(entity.name, candidate.key, result.id)
            return Synced(result.status, candidate.unlinked)
        if kind is Kind.MISSING_PARENT:
            self._forget_parents([candidate])
        if result.code == GONE_FIELD:
            self._schema.forget()
        return of_skip(result.code, result.message)

    def _halve(self, batch: Batch, chunk: list[Candidate], error: MarketoError) -> None:
        if error.code == TIMED_OUT and len(chunk) > FEW:
            self._limits[batch.entity.name] = len(chunk) // 2

    def _grow(self, entity: Entity, size: int) -> None:
        """Calls that timed out were halved; each that goes well lets the next be a little larger."""
        limit = self._limits.get(entity.name)
        if limit and size >= limit:
            self._limits[entity.name] = min(MAX_RECORDS, limit + limit // 10 + 1)

    def _forget_parents(self, candidates: list[Candidate]) -> None:
        for candidate in candidates:
            for parent in candidate.parents.values():
                if parent:
                    self._known.forget(parent.entity, parent.id)


def _of_culprit(candidate: Candidate, error: VendorError) -> Outcome:
    """A record that spoils a call while others are stored gets one more chance, unless its fault is final."""
    outcome = of_error(error)
    first_try = all(record.attempt == 0 for record in candidate.records)
    if isinstance(outcome, Failed) or first_try or error.kind is Kind.MISSING_PARENT:
        return outcome
    return Failed(error.code, f"{error.message}; it spoils every call that it is in", "marketo")
