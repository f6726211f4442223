"""Deletes opportunity roles: those of an opportunity that is deleted, and those that are no more.

In calls of 300, under the lease of the batch. The calls are those of upserts (shared/sync/upserts.py): an answer that
did not come says nothing, and a role that spoils a call does not keep the others. What is gone already is done, so
everything may be done twice.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ..marketo.answers import Result
from ..marketo.client import MAX_FILTER_VALUES, Write
from ..model.entities import OPPORTUNITY, OPPORTUNITY_ROLE, Entity
from ..model.outcome import Outcome, Removed, Retry, of_skip
from ..model.record import Record
from ..telemetry import metrics
from ..transport.client import Begin
from .batch import Batch, Candidate
from .delete_brake import DeleteBrake
from .history import What
from .history_log import History, nothing_kept
from .routing import chunked
from .upserts import NOT_THERE, Upserts

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
class RoleRemovals(Upserts):
    """Deletes the roles of opportunities. What fails shows when the opportunity itself is refused: it is in use."""

    history: History = field(default_factory=nothing_kept, kw_only=True)

    async def go_before(self, batch: Batch, opportunities: Sequence[str]) -> None:
        """Delete all roles of these opportunities. Raises MsiSyncError when Marketo cannot be asked for them."""
        names = OPPORTUNITY_ROLE.dedupe_fields
        rows = await self.marketo.read(OPPORTUNITY_ROLE, names[0], opportunities, names, deadline=batch.deadline)
        roles = [
            Candidate([], {}, {}, names, key=str(row[names[0]]).lower(), body=_as_body(row, names))
            for row in rows
            if all(row.get(name) is not None for name in names)
        ]
        for part in chunked(roles, MAX_FILTER_VALUES):
            await self._send_chunk(batch, part)

    async def _write(
        self, _: Entity, bodies: Sequence[bytes], __: Write, *, deadline: float, tries: int, begin: Begin
    ) -> list[Result]:
        return await self.marketo.delete(OPPORTUNITY_ROLE, bodies, deadline=deadline, tries=tries, begin=begin)

    def _outcome(self, _: Entity, candidate: Candidate, result: Result) -> Outcome:
        if result.code and result.code not in NOT_THERE:
            log.warning("role_not_deleted opportunity=%s code=%s", candidate.key, result.code)
        elif not result.code:
            log.info("removed entity=%s action=deleted opportunity=%s", OPPORTUNITY_ROLE.name, candidate.key)
            self.note(candidate, result)
        return Removed("deleted", "RowGone")

    def note(self, candidate: Candidate, result: Result) -> None:
        """Count a role that was deleted, and keep it in the history of its opportunity."""
        metrics.record(metrics.REMOVED, 1, OPPORTUNITY_ROLE.name, "deleted")
        opportunity = candidate.key.partition("|")[0]
        self.history.happened(
            What.ROLE_DELETED, [(OPPORTUNITY.name, opportunity)], request_id=result.request_id,
            marketo_id=json.loads(candidate.body)["leadId"],
        )  # fmt: skip


@dataclass(slots=True)
class OldRoles(RoleRemovals):
    """Deletes roles that are no more, counted by the brake. `brake`: None never stops."""

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
        granted: Sequence[Triple] = counting
        stopped: Outcome | None = None
        if self.brake:
            granted, stopped = await self.brake.let_go(OPPORTUNITY_ROLE, counting, brake_text)
        if stopped:
            failed |= dict.fromkeys(counting[len(granted) :], stopped)
        going = {triple.key: triple for triple in triples if triple not in failed}
        records = [triple.record() for triple in going.values()]
        own = Batch(batch.entity, deadline, {record.key: record for record in records}, batch.sending)
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
            self.note(candidate, result)
        return Removed("deleted", "RoleEnded")


def brake_text(entity: Entity, limit: int) -> str:
    """What the operator reads of an opportunity whose old roles the brake has stopped."""
    return (
        f"roles that have ended in Dynamics are still in Marketo, because more than {limit} would have been deleted "
        f"within an hour. If that is right: msisync lifecycle release {entity.name} --apply. If not: restore "
        "the connections in Dynamics, or discard these dead letters, and then release"
    )


def _as_body(row: dict[str, Any], names: Sequence[str]) -> bytes:
    return json.dumps({name: row[name] for name in names}, ensure_ascii=False).encode(errors="replace")
