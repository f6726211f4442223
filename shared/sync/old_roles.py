"""Deletes opportunity roles that are no more: in calls of 300, counted by the brake, under the lease of the batch.

The calls are those of other deletions (shared/sync/deletes.py): an answer that did not come says nothing, and a role
that spoils a call does not keep the others. What is gone already is done, so everything may be done twice.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..marketo.answers import Result
from ..model.entities import OPPORTUNITY, OPPORTUNITY_ROLE, Entity
from ..model.errors import StorageUnavailableError
from ..model.outcome import Failed, Outcome, Removed, Retry, of_skip
from ..model.record import Record
from .batch import Batch, Candidate
from .delete_brake import CODE as BRAKE
from .delete_brake import DeleteBrake
from .deletes import GONE, STORAGE_AWAY, RoleRemovals

log = logging.getLogger(__name__)

#: The age of what stands for a role while it is sent: all alike.
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Triple:
    """A role as Marketo has it, by its key: opportunity (id of the row), Marketo's id of the person, name."""

    opportunity: str
    lead: int
    role: str

    @property
    def key(self) -> str:
        """As candidates have it (shared/sync/batch.py)."""
        return f"{self.opportunity}|{self.lead}|{self.role}"

    def candidate(self) -> Candidate:
        """Itself on its way out."""
        names = OPPORTUNITY_ROLE.dedupe_fields
        values = dict(zip(names, (self.opportunity, self.lead, self.role), strict=True))
        body = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
        return Candidate([self.record()], {}, {}, names, self.key, body)

    def record(self) -> Record:
        """What stands for it while it is sent."""
        return Record(OPPORTUNITY_ROLE.name, self.key, _NEVER)


@dataclass(slots=True)
class OldRoles(RoleRemovals):
    """Deletes roles one by one. `brake`: None never stops."""

    brake: DeleteBrake | None = field(default=None, kw_only=True)

    async def delete(
        self, batch: Batch, triples: Collection[Triple], counted: Collection[Triple], deadline: float
    ) -> dict[Triple, Outcome]:
        """Delete these roles, of which the brake counts some; gives what has become of those that were not deleted."""
        failed: dict[Triple, Outcome] = {}
        for triple in sorted(triples):
            if seconds := batch.sending.in_flight(triple.key):
                failed[triple] = Retry(seconds, "InFlight", "Marketo may still be at work on this role")
        counting = [triple for triple in sorted(counted) if triple not in failed]
        granted, stopped = await self._admitted(counting)
        failed |= stopped
        going = {triple.key: triple for triple in triples if triple not in failed}
        records = [triple.record() for triple in going.values()]
        own = Batch(batch.entity, deadline, {record.key: record for record in records}, batch.sending)
        await self.send(own, {key: triple.candidate() for key, triple in going.items()}, 1)
        own.decide(list(own.open.values()), Retry(0, "OutOfTime", "the invocation's time was over"))
        failed |= {going[r.id]: outcome for r, outcome in own.outcomes if not isinstance(outcome, Removed)}
        await self._give_back(sum(triple in failed for triple in granted))
        return failed

    async def _admitted(self, counted: Sequence[Triple]) -> tuple[Sequence[Triple], dict[Triple, Outcome]]:
        """Those that the brake lets go, and what becomes of the others."""
        if self.brake is None or not counted:
            return [], {}
        try:
            granted, limit = await self.brake.admit(OPPORTUNITY_ROLE, len(counted))
        except StorageUnavailableError as error:
            log.warning("deletions_wait error=%s", error.cause)
            return [], dict.fromkeys(counted, STORAGE_AWAY)
        return counted[:granted], dict.fromkeys(counted[granted:], Failed(BRAKE, brake_text(limit)))

    async def _give_back(self, count: int) -> None:
        """What was counted and comes again is counted then."""
        try:
            if self.brake and count:
                await self.brake.give_back(OPPORTUNITY_ROLE, count)
        except StorageUnavailableError as error:  # then the brake is a little stricter
            log.warning("deletions_not_uncounted error=%s", error.cause)

    def _outcome(self, entity: Entity, candidate: Candidate, result: Result) -> Outcome:
        if result.code and result.code not in GONE:
            return of_skip(result.code, f"an old role was not deleted: {result.message}")
        self.known.forget(entity.name, candidate.key)
        if not result.code:
            opportunity = candidate.key.partition("|")[0]
            log.info("removed entity=%s action=deleted table=%s id=%s", entity.name, OPPORTUNITY.name, opportunity)
            self.note(candidate, result)
        return Removed("deleted", "RoleEnded")


def brake_text(limit: int) -> str:
    """What the operator reads of an opportunity whose old roles the brake has stopped."""
    return (
        f"roles that have ended in Dynamics are still in Marketo, because more than {limit} would have been deleted "
        f"within an hour. If that is right: msisync lifecycle release {OPPORTUNITY_ROLE.name} --apply. If not: restore "
        "the connections in Dynamics, or discard these dead letters, and then release"
    )
