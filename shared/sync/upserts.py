"""Sends candidates to Marketo in chunks, and turns its answers into outcomes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from ..marketo.answers import Result
from ..marketo.client import MarketoClient, Write
from ..model.codes import Kind, marketo_record
from ..model.entities import Entity
from ..model.errors import MarketoError, MsiSyncError, VendorError
from ..model.outcome import RETRY_SECONDS, Failed, Outcome, Retry, of_error
from ..transport.client import TRANSIENT_TRIES
from .batch import Batch, Candidate
from .call_sizes import CallSizes
from .circuit import ANSWERS
from .circuit_breaker import Circuits
from .isolation import FEW, search
from .marketo_cache import Known
from .newcomers import Newcomers
from .routing import chunked
from .schema import Schema
from .upsert_results import COMPANY_UPDATE, GONE_FIELD, NO_PERSON, at_work, forget_parents, of_culprit, outcome_of

log = logging.getLogger(__name__)

#: Kinds of refusals of a whole call that a single record may have caused: reasons of records come at that level as
#: well (marketo.md 3), even one that is no error of a record.
ISOLATED = frozenset({Kind.SPLIT, Kind.MISSING_PARENT, Kind.PERMANENT, Kind.AMBIGUOUS, Kind.FIELD, Kind.OK})
#: Kinds that concern all calls, or the records of this one, be it for a gateway that dislikes a body: a call without
#: any of them tells.
OF_ALL_OR_THESE = frozenset({Kind.TRANSIENT, Kind.CONFIGURATION})
#: Codes of calls that are too large.
TOO_LARGE = frozenset({"HTTP 413", "HTTP 414", "1036", "1080"})
#: Marketo's own limit of time: after tries of the same size, smaller calls may go through (marketo.md 3.2).
TIMED_OUT = "604"
#: Refusals that tell nothing: where they hit everything, Marketo is as good as away.
UNEXPLAINED = frozenset({Kind.SPLIT, Kind.UNKNOWN})
#: A record that is refused again, alone, while others were stored so short a while ago, is the reason itself.
JUST_NOW_SECONDS = 60.0
#: What becomes of these decides how they are written next; the first one first.
TELLING = (Write.UPDATE, None)
#: How often records are sent again in one invocation, without a refused field.
ROUNDS = 3

_Answers = list[tuple[Candidate, Result]]


@dataclass(slots=True)
class Upserts:
    """Upserts of one process."""

    marketo: MarketoClient
    schema: Schema
    known: Known
    circuits: Circuits
    clock: Callable[[], float]
    newcomers: Newcomers | None = field(default=None, kw_only=True)
    _sizes: CallSizes = field(init=False)
    _stored: dict[str, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._sizes = CallSizes(clock=self.clock)

    async def send(self, batch: Batch, ready: dict[str, Candidate], at_least: int, *, calls: int | None = None) -> None:
        """Send what fills calls of `at_least` records, the oldest first, and take it out of `ready`.

        Chunks run concurrently: they hold different records, and the pacer bounds how many calls there are; `calls`
        is how many of them are sent at most. Persons that Marketo turns out not to have, and those that have been
        looked for, come back into `ready`, and go on with those that are written alike.
        """
        going = self._calls(batch, ready, at_least)[:calls]
        while going and self.clock() < batch.deadline:
            for candidate in (c for chunk in going for c in chunk):
                del ready[candidate.key]
            newcomers = [c for chunk in going for c in chunk if c.write is None]
            await asyncio.gather(*(self._send_chunk(batch, chunk) for chunk in going if chunk[0].write))
            absent, batch.newcomers = batch.newcomers, []
            ready |= {candidate.key: candidate for candidate in absent if candidate.matches is None}
            newcomers += [candidate for candidate in absent if candidate.matches is not None]
            if self.newcomers and newcomers:
                ready |= {candidate.key: candidate for candidate in await self.newcomers.place(batch, newcomers)}
            going = self._calls(batch, ready, at_least) if calls is None else []

    def _calls(self, batch: Batch, ready: dict[str, Candidate], at_least: int) -> list[list[Candidate]]:
        """Calls of candidates that are written alike, without what fills none.

        Where all shall go, those go first that may show how others are written: these share their calls then.
        """
        alike: dict[Write | None, list[Candidate]] = {}
        for candidate in sorted(ready.values(), key=lambda candidate: candidate.since):
            alike.setdefault(candidate.write, []).append(candidate)
        for first in TELLING if at_least == 1 else ():
            if first in alike:
                alike = {first: alike[first]}
        full = [those[: len(those) - len(those) % at_least] for those in alike.values()]
        return [chunk for those in full for chunk in self._sizes.chunks(batch.entity.name, those)]

    async def _send_chunk(self, batch: Batch, chunk: list[Candidate], rounds: int = ROUNDS) -> None:
        """One call, and more of them where a part of the records spoils it for the others."""
        if self.clock() >= batch.deadline:
            return
        try:
            again = await self._call(batch, chunk)
        except MsiSyncError as error:
            await self._refused(batch, chunk, error, rounds)
            return
        if again and rounds:
            await self._send_chunk(batch, again, rounds - 1)
        else:
            why = Failed("FieldsRefused", "Marketo refuses field after field of this record; see the log", "marketo")
            batch.decide([r for c in again for r in c.records], why)

    async def _call(self, batch: Batch, chunk: list[Candidate], tries: int = TRANSIENT_TRIES) -> list[Candidate]:
        """Upsert and decide; gives the candidates that are to be sent again, without a field that Marketo refuses."""
        bodies, write = [candidate.content for candidate in chunk], chunk[0].write or Write.UPSERT
        keys = [candidate.key for candidate in chunk]
        try:
            results = await self.marketo.write(
                batch.entity, bodies, write, deadline=batch.deadline, tries=tries,
                begin=partial(batch.sending.begin, keys),
            )  # fmt: skip
        except MsiSyncError as error:
            if not at_work(error):
                batch.sending.ended(keys)
            raise
        batch.sending.ended(keys)
        self._sizes.answered(batch.entity.name, chunk)
        return await self._answered(batch, list(zip(chunk, results, strict=True)))

    async def _answered(self, batch: Batch, answers: _Answers) -> list[Candidate]:
        """Decide what Marketo's results mean; gives the candidates to be sent again, without a refused field."""
        entity = batch.entity
        again: list[Candidate] = []
        misconfigured: list[tuple[Candidate, VendorError]] = []
        there = self._without_newcomers(batch, answers)
        for candidate, result in there:
            refused = candidate.company_fields if result.code == COMPANY_UPDATE else result.refused_fields
            if refused and candidate.without(refused, entity, result.code, result.message):
                log.warning("left_out entity=%s key=%s %s", entity.name, candidate.key, result.message)
                again.append(candidate)
                self.schema.doubt(entity.name)
                if result.code == GONE_FIELD:
                    self.schema.forget()
            elif result.code == GONE_FIELD or marketo_record(result.code) is Kind.CONFIGURATION:
                self.schema.forget()
                error = MarketoError(result.code, result.message, kind=Kind.CONFIGURATION, request_id=result.request_id)
                misconfigured.append((candidate, error))
            else:
                batch.decide(candidate.records, self._outcome(entity, candidate, result))
        works = len(there) < len(answers) or any(not result.code for _, result in there)
        if works:
            self._stored[entity.name] = self.clock()
        await self._blame(batch, misconfigured, works=works)
        return again

    def _without_newcomers(self, batch: Batch, answers: _Answers) -> _Answers:
        """The answers without those about persons that are not there: these are newcomers now."""
        if self.newcomers is None or answers[0][0].write is not Write.UPDATE:
            return answers
        absent = [c for c, result in answers if result.code == NO_PERSON and not c.is_part]
        self.newcomers.learn(len(absent), len(answers))
        for candidate in absent:
            candidate.write, candidate.is_absent = None, True
        batch.newcomers += absent
        return [(c, result) for c, result in answers if result.code != NO_PERSON or c.is_part]

    async def _refused(self, batch: Batch, chunk: list[Candidate], error: MsiSyncError, rounds: int) -> None:
        """Marketo refused a whole call. Where that may be the fault of one record, the others are sent all the same."""
        if not isinstance(error, VendorError):
            self._decide(batch, chunk, error)
            return
        if error.kind in OF_ALL_OR_THESE or at_work(error):
            await self._of_all_or_these(batch, chunk, error)
            return
        first_try = all(record.attempt == 0 for candidate in chunk for record in candidate.records)
        may_part = len(chunk) > 1 and rounds > 0
        if error.kind is Kind.MISSING_PARENT and first_try:
            forget_parents(self.known, chunk)  # the next try looks them up again
        elif may_part and error.code in TOO_LARGE:
            for half in chunked(chunk, (len(chunk) + 1) // 2):
                await self._send_chunk(batch, half, rounds)
            return
        elif may_part and (error.kind in ISOLATED or (error.kind is Kind.UNKNOWN and not first_try)):
            await self._isolate(batch, chunk, error)
            return
        if len(chunk) == 1 and error.kind in UNEXPLAINED and self._others_are_stored(batch, chunk[0]):
            await self._blame(batch, [(chunk[0], error)], works=True)
        self._decide(batch, chunk, error)

    async def _of_all_or_these(self, batch: Batch, chunk: list[Candidate], error: VendorError) -> None:
        """A call failed as others would, or for what is in it."""
        if at_work(error):
            log.warning("answer_lost entity=%s records=%d %s", batch.entity.name, len(chunk), error)
        if error.code == TIMED_OUT:
            self._sizes.timed_out(batch.entity.name, len(chunk))
        if error.kind is Kind.CONFIGURATION:
            self.schema.forget()  # a field may have disappeared: describe again before the next try
        if await self.elsewhere(batch):
            self._decide(batch, chunk, error)
        elif error.kind is not Kind.CONFIGURATION:  # the next tries find out which record it is
            self._sizes.suspect(chunk)
            self._decide(batch, chunk, error, counted=True)
        elif len(chunk) > 1:
            await self._isolate(batch, chunk, error)
        else:
            await self._blame(batch, [(chunk[0], error)], works=self._others_are_stored(batch, chunk[0]))

    def _others_are_stored(self, batch: Batch, candidate: Candidate) -> bool:
        """Whether Marketo has stored others of the entity just now, while this one is refused again."""
        again = all(record.attempt for record in candidate.records)
        return again and self.clock() - self._stored.get(batch.entity.name, float("-inf")) <= JUST_NOW_SECONDS

    async def elsewhere(self, batch: Batch) -> MsiSyncError | None:
        """What Marketo says to a call without any of these records: None when all is well, else the circuit opens.

        Asked once per invocation.
        """
        async with batch.asking:
            if not batch.asked:
                batch.asked = True
                try:
                    await self.marketo.probe_write(batch.entity)
                except VendorError as error:
                    if error.kind not in ANSWERS["marketo"]:
                        batch.elsewhere = error
                        if error.kind is not Kind.THROTTLED:
                            await self.circuits.open(batch.entity.name, error)
                except MsiSyncError as error:
                    batch.elsewhere = error
        return batch.elsewhere

    async def _isolate(self, batch: Batch, chunk: list[Candidate], error: VendorError) -> None:
        """Find the records that spoil a call; what is stored on the way is done.

        Where nothing can be stored, nobody can tell: all of them try again some times, for hours.
        """

        def in_time() -> bool:
            return self.clock() < batch.deadline

        confirm = error.kind in {Kind.CONFIGURATION, Kind.UNKNOWN}  # what passes meanwhile leaves no culprit
        try:
            found = await search(chunk, error, partial(self._refusal, batch), goes_on=in_time, confirm=confirm)
        except MsiSyncError as other:  # something else has happened
            left = [c for c in chunk if any(record.key in batch.open for record in c.records)]
            if isinstance(other, VendorError) and (other.kind in OF_ALL_OR_THESE or at_work(other)):
                await self._of_all_or_these(batch, left, other)
            self._decide(batch, left, other)
            return
        works = bool(found.stored)
        if not works and len(chunk) > FEW and error.kind in UNEXPLAINED:
            await self.circuits.open(batch.entity.name, error)  # it hits everything: Marketo is as good as away
        after = RETRY_SECONDS[Kind.TRANSIENT]
        later = Retry(after, error.code, error.message, counted=not works, request_id=error.request_id)
        if works:
            await self._blame(batch, found.culprits, works=True)
        batch.decide((r for c, _ in found.culprits for r in c.records), later)
        if in_time():  # else it is sent again at once
            batch.decide((r for c in found.unsent for r in c.records), later)

    async def _refusal(self, batch: Batch, chunk: list[Candidate]) -> VendorError | None:
        """Why Marketo refuses this part of a call as well, for what a record of it is; any other error is raised."""
        try:
            again = await self._call(batch, chunk, tries=1)
        except VendorError as error:
            if error.kind in ISOLATED | {Kind.UNKNOWN, Kind.CONFIGURATION} and not at_work(error):
                return error
            raise
        if again:
            await self._send_chunk(batch, again, 1)
        return None

    async def _blame(self, batch: Batch, culprits: list[tuple[Candidate, VendorError]], *, works: bool) -> None:
        """Each of these records was refused for what it is, while others were stored (`works`), or all alike were."""
        for candidate, error in culprits:
            if error.kind is Kind.MISSING_PARENT:
                forget_parents(self.known, [candidate])
            if error.kind is Kind.CONFIGURATION and not works and await self.elsewhere(batch):
                self._decide(batch, [candidate], error)
            else:
                batch.decide(candidate.records, of_culprit(candidate, error, works=works))

    @staticmethod
    def _decide(batch: Batch, chunk: list[Candidate], error: MsiSyncError, *, counted: bool = False) -> None:
        """The same for all of them; those that Marketo may be at work on wait for its end."""
        for candidate in chunk:
            outcome = of_error(error, at_least=batch.sending.in_flight(candidate.key))
            if counted and isinstance(outcome, Retry):
                outcome = replace(outcome, counted=True)
            batch.decide(candidate.records, outcome)

    def _outcome(self, entity: Entity, candidate: Candidate, result: Result) -> Outcome:
        return outcome_of(entity, candidate, result, self.known)
