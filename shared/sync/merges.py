"""What becomes of the record in Marketo when its row is merged into another one, as [lifecycle] of sync.toml says.

The row that goes on is synced in its place, with what refers to it (shared/sync/handlers.py). Whether it is synced is
for its own filter to say, whatever the other row's was (native-sync-features.md 56).

Marketo's own merge moves activities and roles, and cannot be undone. So it is only asked for where sync.toml says
"merge", where both persons are there, and where the filter keeps neither of their rows out. Done twice it does nothing:
the first time, the loser is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..config.sync_toml import LifecyclePolicy
from ..dataverse.client import DataverseClient
from ..marketo.client import MAX_LOSERS, MarketoClient
from ..model.entities import ALL_TABLES, COMPANY, PERSON, TABLES
from ..model.outcome import Deferred, Merged, Outcome, Parent, Removed, Skipped
from ..model.record import Record
from ..telemetry import metrics
from .batch import Batch, Candidate
from .deletes import Deletes
from .links import ORIGIN, origin_of
from .marketo_cache import Known
from .routing import chunked
from .schema import Schema

log = logging.getLogger(__name__)

#: Why a row that was merged away is not synced.
MERGED = "Merged"


@dataclass(slots=True)
class Merges:
    """Deals with the rows of one process that others have taken the place of."""

    dataverse: DataverseClient
    marketo: MarketoClient
    schema: Schema
    known: Known
    deletes: Deletes
    policy: LifecyclePolicy

    async def take(self, batch: Batch, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Decide those that were merged away; gives the others, which are sent as usual."""
        losers = [c for c in candidates if c.winner and (not c.is_history or self.policy.merged != "keep")]
        if not losers:
            return list(candidates)
        records = [record for candidate in losers for record in candidate.records]
        apart = await batch.guard(records, replaced(self.dataverse, losers, batch.deadline))
        gone = {id(candidate) for candidate in apart or ()}
        by_action: dict[str, list[Candidate]] = {}
        for candidate in apart or ():
            batch.merged.update((record.key, candidate.winner) for record in candidate.records if candidate.winner)
            by_action.setdefault(self._action(batch), []).append(candidate)
        for action, those in by_action.items():
            await self._act(batch, action, those)
        return [candidate for candidate in candidates if id(candidate) not in gone]

    def _action(self, batch: Batch) -> str:
        if batch.entity is PERSON:
            return self.policy.merged
        return self.policy.of(batch.entity.name) if batch.entity is COMPANY else "keep"

    async def _act(self, batch: Batch, action: str, losers: list[Candidate]) -> None:
        records = [record for candidate in losers for record in candidate.records]
        if action == "merge":
            await batch.guard(records, self._merge(batch, losers))
        elif action != "keep":
            await self.deletes.remove(batch, records, action)
        batch.decide(records, Skipped(MERGED))

    async def _merge(self, batch: Batch, losers: list[Candidate]) -> None:
        """Merge the persons of these rows into those of the rows that go on."""
        winners = {candidate.winner for candidate in losers if candidate.winner}
        let_in = await synced(self.dataverse, self.schema, winners, batch.deadline)
        going = [(c, c.winner) for c in losers if c.winner in let_in and c.winner]
        keys = {c.records[0].id for c, _ in going} | {winner.id for _, winner in going}
        ids = await self.marketo.find(PERSON, sorted(keys))
        pairs: dict[Parent, list[Candidate]] = {}
        for candidate, winner in going:
            if candidate.records[0].id not in ids:
                continue  # there is nothing to be merged
            if winner.id in ids:
                pairs.setdefault(winner, []).append(candidate)
            else:
                batch.decide(candidate.records, Deferred((winner,)))
        for winner, those in pairs.items():
            for part in chunked(those, MAX_LOSERS):
                await self._merge_into(batch, winner, part, ids)

    async def _merge_into(self, batch: Batch, winner: Parent, losers: list[Candidate], ids: Mapping[str, int]) -> None:
        keys = [candidate.records[0].id for candidate in losers]
        persons = [ids[key] for key in keys]
        request = await self.marketo.merge(
            ids[winner.id], persons, deadline=batch.deadline, begin=partial(batch.sending.begin, keys)
        )
        batch.sending.ended(keys)
        for key, person in zip(keys, persons, strict=True):
            self.known.forget(PERSON.name, key)
            log.info("merged id=%s marketo_id=%d into=%s marketo_id=%d", key, person, winner.id, ids[winner.id])
        metrics.record(metrics.REMOVED, len(keys), PERSON.name, "merged")
        for candidate, person in zip(losers, persons, strict=True):
            gone = Removed("merged", MERGED, str(person), ids[winner.id], request)
            batch.decide(candidate.records, gone)


async def replaced(dataverse: DataverseClient, losers: list[Candidate], deadline: float) -> list[Candidate]:
    """Those of them that another row has really taken the place of. Raises as DataverseClient does.

    A lead names its contact after Qualify in any case. Where the contact was made from it, nothing is merged: the
    contact goes on as its person (shared/sync/newcomers.py).
    """
    qualified = {c.winner.id: c for c in losers if c.is_history and c.winner}
    rows = await dataverse.rows(ALL_TABLES["contact"], sorted(qualified), [ORIGIN], deadline=deadline)
    made = {id_ for id_, c in qualified.items() if id_ not in rows or origin_of(rows[id_]) == c.records[0].id}
    return [c for c in losers if not (c.is_history and c.winner and c.winner.id in made)]


async def synced(
    dataverse: DataverseClient, schema: Schema, winners: Collection[Parent], deadline: float
) -> set[Parent]:
    """Those of these rows that the filter lets in. Raises as DataverseClient does."""
    found: set[Parent] = set()
    for table in sorted({winner.table for winner in winners}):
        chosen, source = await schema.filter_of(table), TABLES[table][1]
        of_table = [winner for winner in winners if winner.table == table]
        ids = [winner.id for winner in of_table]
        rows = await dataverse.rows(source, ids, chosen.columns, deadline=deadline)
        found.update(w for w in of_table if w.id in rows and not chosen.excludes(rows[w.id]))
    return found


def named(
    outcomes: Sequence[tuple[Record, Outcome]], merged: Mapping[tuple[str, str], Parent]
) -> list[tuple[Record, Outcome]]:
    """The outcomes; those of rows that were merged away say which row goes on in their place."""
    return [
        (record, _named(outcome, merged[record.key]))
        if record.key in merged and isinstance(outcome, Skipped | Removed)
        else (record, outcome)
        for record, outcome in outcomes
    ]


def _named(outcome: Skipped | Removed, winner: Parent) -> Merged:
    if isinstance(outcome, Skipped):
        return Merged(MERGED, winner)
    return Merged(MERGED, winner, outcome.action, outcome.marketo_id, outcome.into_marketo_id, outcome.request_id)
