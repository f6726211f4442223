"""Deletes opportunity roles: those of an opportunity that is deleted, and those that are no more.

In calls of 300, under the lease of the batch. The calls are those of upserts (shared/sync/upserts.py): an answer that
did not come says nothing, and a role that spoils a call does not keep the others. What is gone already is done, so
everything may be done twice.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..marketo.answers import Result
from ..marketo.client import Write
from ..model.entities import OPPORTUNITY, OPPORTUNITY_ROLE, Entity
from ..model.outcome import Failed, Outcome, Removed, Retry, of_skip
from ..model.record import Record
from ..telemetry import metrics
from .batch import Batch, Candidate
from .delete_brake import DeleteBrake
from .history import What
from .history_log import History, nothing_kept
from .upsert_results import NOT_THERE
from .upserts import Upserts

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
        return Candidate([self.record()], {}, {}, names, self.key, body, write=Write.DELETE)

    def record(self) -> Record:
        """What stands for it while it is sent."""
        return Record(OPPORTUNITY_ROLE.name, self.key, _NEVER)


def triple_of(row: Mapping[str, object]) -> Triple | None:
    """A role as Marketo gives it; None: one without an opportunity, a person or a name."""
    opportunity, lead, role = (row.get(name) for name in OPPORTUNITY_ROLE.dedupe_fields)
    if type(lead) is not int or not isinstance(opportunity, str) or not isinstance(role, str):
        return None
    return Triple(opportunity.lower(), lead, role)


@dataclass(slots=True)
class OldRoles(Upserts):
    """Deletes roles. `brake`: counts those that are no more; None never stops."""

    brake: DeleteBrake | None = field(default=None, kw_only=True)
    history: History = field(default_factory=nothing_kept, kw_only=True)

    async def go_before(self, batch: Batch, opportunities: Sequence[str]) -> None:
        """Delete all roles of these opportunities. Raises MsiSyncError when Marketo cannot be asked for them.

        What fails shows when the opportunity itself is refused: it is in use.
        """
        names = OPPORTUNITY_ROLE.dedupe_fields
        rows = await self.marketo.read(OPPORTUNITY_ROLE, names[0], opportunities, names, deadline=batch.deadline)
        triples = frozenset(triple for row in rows if (triple := triple_of(row)))
        failed = await self.delete(batch, triples, (), batch.deadline) if triples else {}
        for triple, outcome in failed.items():
            code = outcome.code if isinstance(outcome, Failed | Retry) else ""
            log.warning("role_not_deleted opportunity=%s code=%s", triple.key, code)

    async def delete(
        self, batch: Batch, triples: Collection[Triple], counted: Collection[Triple], deadline: float
    ) -> dict[Triple, Outcome]:
        """Delete these roles, of which the brake counts some; gives what has become of those that were not deleted."""
        failed: dict[Triple, Outcome] = {}
        for triple in sorted(triples):
            if seconds := batch.sending.in_flight(triple.key):
                failed[triple] = Retry(seconds, "InFlight", "Marketo may still be at work on this role")
        counting = [triple for triple in sorted(counted) if triple not in failed]
        granted: Sequence[Triple] = counting
        stopped: Outcome | None = None
        if self.brake:
            granted, stopped = await self.brake.let_go(OPPORTUNITY_ROLE, counting, brake_text)
        if stopped:
            failed |= dict.fromkeys(counting[len(granted) :], stopped)
        going = {triple.key: triple for triple in triples if triple not in failed}
        records = [triple.record() for triple in going.values()]
        own = Batch(OPPORTUNITY_ROLE, deadline, {record.key: record for record in records}, batch.sending)
        await self.send(own, {key: triple.candidate() for key, triple in going.items()}, 1)
        own.decide(list(own.open.values()), Retry(0, "OutOfTime", "the invocation's time was over"))
        failed |= {going[r.id]: outcome for r, outcome in own.outcomes if not isinstance(outcome, Removed)}
        if self.brake:
            await self.brake.give_back(OPPORTUNITY_ROLE, sum(triple in failed for triple in granted))
        return failed

    def _outcome(self, entity: Entity, candidate: Candidate, result: Result) -> Outcome:
        if result.code and result.code not in NOT_THERE:
            return of_skip(result.code, f"an old role was not deleted: {result.message}")
        self.known.forget(entity.name, candidate.key)
        if not result.code:
            opportunity = candidate.key.partition("|")[0]
            log.info("removed entity=%s action=deleted table=%s id=%s", entity.name, OPPORTUNITY.name, opportunity)
            metrics.record(metrics.REMOVED, 1, entity.name, "deleted")
            self.history.happened(
                What.ROLE_DELETED, [(OPPORTUNITY.name, opportunity)], request_id=result.request_id,
                marketo_id=json.loads(candidate.body)["leadId"],
            )  # fmt: skip
        return Removed("deleted", "RoleEnded")


def brake_text(entity: Entity, limit: int) -> str:
    """What the operator reads of an opportunity whose old roles the brake has stopped."""
    return (
        f"roles that have ended in Dynamics are still in Marketo, because more than {limit} would have been deleted "
        f"within an hour. If that is right: msisync lifecycle release {entity.name} --apply. If not: restore "
        "the connections in Dynamics, or discard these dead letters, and then release"
    )
