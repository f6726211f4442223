"""What becomes of a record in Marketo when its row is gone from Dynamics, as [lifecycle] of sync.toml says.

    is it in Marketo? ▸ may so many go? ▸ delete, flag or unlink, 300 a call ▸ outcomes

A row is gone when Dataverse itself says so (shared/sync/reader.py). Everything happens within the turn and under the
lease of the entity's upserts, and the calls are theirs (shared/sync/upserts.py): an answer that did not come says
nothing, and a record that spoils a call does not keep the others. Each step may be done twice: what is gone already is
done. So after a crash at any point, the record's message brings the rest.

The order is that of Adobe's CRM white paper: an opportunity's roles go before it. Companies and sales persons go when
nothing refers to them any more: Marketo refuses them until then (1022), and they wait.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime
from typing import Any

from ..config.sync_toml import LifecyclePolicy
from ..marketo.answers import Result
from ..marketo.client import MAX_FILTER_VALUES, MarketoClient, Write
from ..model.codes import Kind
from ..model.entities import ENTITIES, OPPORTUNITY, Entity
from ..model.errors import MarketoError, MsiSyncError
from ..model.outcome import Failed, Outcome, Removed, Retry, Skipped, of_skip
from ..model.record import Record, timestamp
from ..telemetry import metrics
from .batch import Batch, Candidate
from .circuit_breaker import Circuits
from .delete_brake import DeleteBrake
from .marketo_cache import Known
from .old_roles import OldRoles
from .routing import chunked
from .schema import Schema
from .upsert_results import NOT_THERE
from .upserts import Upserts

log = logging.getLogger(__name__)

#: Marketo's code for a record that others refer to.
IN_USE = "1022"
#: Seconds until a record that is in use is tried again: a quarter of the time for which it has waited, within these.
SOONEST, LATEST = 60.0, 3600.0
#: Records that refer to one are named up to so many.
NAMED = 3
NO_FLAG = Retry(
    300,
    "DeletedFlagMissing",
    "Marketo has no boolean field of the name that deleted_flag in sync.toml gives, so a deleted person cannot be "
    "flagged; add it in Marketo, or correct the name: msisync fields check",
)
WRITES = {"delete": Write.DELETE, "flag": Write.UPDATE, "unlink": Write.BY_ID}
DONE = {"delete": "deleted", "flag": "flagged", "unlink": "unlinked"}


@dataclass(slots=True)
class Going(Candidate):
    """A record without a row, on its way out of Marketo. `ids`: Marketo's own; several, where several have the key.

    `flagged`: Marketo has the flag already. `hanging`: what refers to it, in words, as far as is known.
    """

    action: str = ""
    ids: tuple[str, ...] = ()
    flagged: bool = False
    hanging: str = ""

    @property
    def record(self) -> Record:
        """The record itself."""
        return self.records[0]


@dataclass(slots=True)
class Deletes:
    """Deals with the records of one process whose rows are gone. `wait`: for what is in use, in seconds."""

    marketo: MarketoClient
    schema: Schema
    known: Known
    circuits: Circuits
    _: KW_ONLY
    policy: LifecyclePolicy
    brake: DeleteBrake | None
    old_roles: OldRoles
    wait: float
    clock: Callable[[], float]
    now: Callable[[], datetime]
    _removals: Removals = field(init=False)

    def __post_init__(self) -> None:
        parts = self.marketo, self.schema, self.known, self.circuits, self.clock
        self._removals = Removals(*parts, policy=self.policy, wait=self.wait, now=self.now)

    async def send(self, batch: Batch) -> None:
        """Decide the records of this batch whose rows are gone (`Batch.gone`)."""
        gone, batch.gone = [record for record in batch.gone if record.key in batch.open], []
        action = action_of(self.policy, batch.entity)
        if action == "keep":
            for record in gone:
                batch.decide([record], Skipped(reason_of(record)))
            return
        await self.remove(batch, gone, action)

    async def remove(self, batch: Batch, records: Sequence[Record], action: str) -> None:
        """Delete, flag or unlink these records of the batch's entity, and decide them."""
        for part in chunked(records, MAX_FILTER_VALUES):
            await batch.guard(part, self._send(batch, part, action))

    async def _send(self, batch: Batch, gone: list[Record], action: str) -> None:
        """At most 300 of them."""
        flag = (await self.schema.of(gone[0].table)).deleted_flag if action == "flag" else ""
        if action == "flag" and not flag:
            log.error("cannot_flag %s: %s", NO_FLAG.code, NO_FLAG.message)
            batch.decide(gone, NO_FLAG)
            return
        found = await self._find(batch.entity, gone, action, flag)
        for record in gone:
            self.known.forget(batch.entity.name, record.id)
            if record.id not in found or found[record.id].flagged:
                batch.decide([record], Skipped(reason_of(record)))
        wanted = [found[record.id] for record in gone if record.key in batch.open]
        counted = [each for each in wanted if not each.record.confirmed]
        going = await self._admitted(batch, counted)
        try:
            await self._remove(batch, [*(each for each in wanted if each.record.confirmed), *going], flag)
        finally:
            await self._give_back(batch, going)

    async def _find(self, entity: Entity, gone: Sequence[Record], action: str, flag: str) -> dict[str, Going]:
        """What Marketo has of these records, by key. Raises MarketoError."""
        key, own = self.marketo.key_of(entity), _id_field(entity)
        ids = sorted({record.id for record in gone})
        found: dict[str, list[dict[str, Any]]] = {}
        for row in await self.marketo.read(entity, key, ids, [name for name in (own, key, flag) if name]):
            if entity.is_lead and not row.get(own):
                raise MarketoError("UnknownAnswer", "a person without Marketo's id", kind=Kind.TRANSIENT)
            found.setdefault(str(row.get(key) or "").lower(), []).append(row)
        return {
            record.id: Going(
                [record],
                {},
                {},
                key=record.id,
                write=WRITES[action],
                action=action,
                ids=tuple(str(row.get(own, "")) for row in found[record.id]),
                flagged=bool(flag) and all(row.get(flag) is True for row in found[record.id]),
            )
            for record in gone
            if record.id in found
        }

    async def _admitted(self, batch: Batch, wanted: list[Going]) -> Sequence[Going]:
        """Those that the brake lets go; the others are decided."""
        if self.brake is None:
            return wanted
        granted, stopped = await self.brake.let_go(batch.entity, wanted)
        if stopped:
            batch.decide((each.record for each in wanted[len(granted) :]), stopped)
        return granted

    async def _give_back(self, batch: Batch, going: Sequence[Going]) -> None:
        """What was counted and comes again is counted then."""
        if self.brake:
            done = {record.key for record, outcome in batch.outcomes if isinstance(outcome, Removed | Failed)}
            await self.brake.give_back(batch.entity, sum(each.record.key not in done for each in going))

    async def _remove(self, batch: Batch, going: list[Going], flag: str) -> None:
        if batch.entity is OPPORTUNITY and going:
            await self.old_roles.go_before(batch, [each.record.id for each in going])
        waited = [each.record for each in going if self._removals.has_waited(each.record)]
        hanging = await self._what_hangs_on(batch.entity, waited) if waited else {}
        for each in going:
            body = body_of(batch.entity, each, key=self.marketo.key_of(batch.entity), flag=flag)
            each.id_fields, each.body = tuple(body), json.dumps(body).encode()
            each.marketo_id = int(each.ids[0]) if each.action == "unlink" else 0
            each.hanging = hanging.get(each.key, "")
        await self._removals.send(batch, {each.key: each for each in going}, 1)

    async def _what_hangs_on(self, entity: Entity, records: Sequence[Record]) -> dict[str, str]:
        """What Marketo has that refers to these records, in words, by id: as far as it can be asked for that."""
        found: dict[str, list[str]] = {record.id: [] for record in records}
        for child in ENTITIES.values():
            for link in (link for link in child.links if link.parent == entity.name and not link.by_id):
                for id_, keys in (await self._referring(child, link.field, sorted(found))).items():
                    if id_ in found:
                        found[id_].append(_named(child, keys))
        return {id_: " and ".join(texts) for id_, texts in found.items()}

    async def _referring(self, child: Entity, link: str, ids: Sequence[str]) -> dict[str, list[str]]:
        """The keys of records with this link, by what they refer to. Nothing where Marketo cannot be asked."""
        key = self.marketo.key_of(child) or "role"
        try:
            described = await self.marketo.describe(child)
            if link not in described or not described[link].searchable:
                return {}
            rows = await self.marketo.read(child, link, ids, [link, key])
        except MsiSyncError as error:
            log.warning("not_asked entity=%s field=%s %s", child.name, link, error)
            return {}
        found: dict[str, list[str]] = {}
        for row in rows:
            found.setdefault(str(row.get(link) or "").lower(), []).append(str(row.get(key) or "one without a key"))
        return found


@dataclass(slots=True, kw_only=True)
class Removals(Upserts):
    """Calls that delete, flag or unlink. `wait`: how long for what is in use, in seconds."""

    policy: LifecyclePolicy
    wait: float
    now: Callable[[], datetime]

    def has_waited(self, record: Record) -> bool:
        """Whether a record has been in use for so long that the next refusal is the last."""
        since = record.parked_since
        return since is not None and (self.now() - since).total_seconds() >= self.wait

    def _outcome(self, entity: Entity, candidate: Candidate, result: Result) -> Outcome:
        assert isinstance(candidate, Going)  # noqa: S101  (nothing else is sent here)
        gone, action = candidate.record, DONE[candidate.action]
        self.known.forget(entity.name, gone.id)
        if result.code == IN_USE:
            return self._in_use(entity, candidate, result)
        if result.code and result.code not in NOT_THERE:
            return of_skip(result.code, result.message, result.request_id)
        if not result.code:
            log.info(
                "removed entity=%s action=%s table=%s id=%s marketo=%s correlation=%s",
                entity.name, action, gone.table, gone.id, candidate.ids[0], gone.correlation_id,
            )  # fmt: skip
            metrics.record(metrics.REMOVED, 1, entity.name, action)
        if len(candidate.ids) > 1:
            return Retry(1, "SeveralWithTheKey", "Marketo has more records with this key; they follow one by one")
        gone_already = result.code and action != "deleted"
        if gone_already:
            return Skipped(reason_of(gone))
        return Removed(action, reason_of(gone), candidate.ids[0], request_id=result.request_id)

    def _in_use(self, entity: Entity, candidate: Going, result: Result) -> Outcome:
        gone = candidate.record
        if self.has_waited(gone):
            return Failed(result.code, in_use_text(entity, gone, candidate.hanging), "marketo", result.request_id)
        since = gone.parked_since or self.now()
        candidate.records[:] = [replace(gone, parked_since=since)]
        after = min(max((self.now() - since).total_seconds() / 4, SOONEST), LATEST)
        text = f"{result.message}; it is deleted as soon as nothing refers to it"
        return Retry(after, result.code, text, request_id=result.request_id)


def action_of(policy: LifecyclePolicy, entity: Entity) -> str:
    """What is done with a record of this entity whose row is gone: keep, flag, unlink or delete.

    A role has no key of its own: without its row, nobody knows which one it was.
    """
    return policy.of(entity.name) if entity.key else "keep"


def reason_of(gone: Record) -> str:
    """Why a record without a row is not synced."""
    return "Deleted" if gone.operation == "delete" else "RowGone"


def body_of(entity: Entity, gone: Going, *, key: str, flag: str) -> dict[str, Any]:
    """What Marketo gets: a person is deleted and unlinked by Marketo's id, everything else is done by its key.

    A person cannot leave its company, only move to another one (marketo.md 5.3).
    """
    if gone.action == "flag":
        return {key: gone.key, flag: True}
    if not entity.is_lead:
        return {key: gone.key}
    emptied = [key, *(link.field for link in entity.links if link.clears)] if gone.action == "unlink" else []
    return dict.fromkeys(emptied) if emptied else {"id": int(gone.ids[0])}


def in_use_text(entity: Entity, gone: Record, hanging: str) -> str:
    """What the operator reads of a record that could not be deleted, for others refer to it."""
    since = f" since {timestamp(gone.parked_since)}" if gone.parked_since else ""
    what = hanging or "what Marketo cannot be asked for, persons most likely"
    return (
        f"its row is gone from Dynamics, but Marketo keeps the record{since}, for it is used by {what}. Move or "
        f'delete them in Marketo and replay this record, or set {entity.name} = "keep" in [lifecycle] of sync.toml'
    )


def _id_field(entity: Entity) -> str:
    return "marketoGUID" if entity is OPPORTUNITY else "id"


def _named(child: Entity, keys: list[str]) -> str:
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return f"{child.path} {', '.join(keys[:NAMED])}{more}"
