"""What the first sync would do with rows of leads and contacts, found out without writing anything.

It asks what the sync asks, in the same order, and the decisions are the sync's own (shared/sync/newcomers.py and
merges.py). What one row would adopt is no longer free for the next one, as it would be in Marketo. Rows that are gone
from Dynamics are not among those that are looked at.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from enum import StrEnum

from ..config.conditions import Row
from ..config.sync_toml import LifecyclePolicy
from ..dataverse.client import DataverseClient
from ..marketo.client import MAX_FILTER_VALUES, MarketoClient, Write
from ..model.entities import PERSON, TABLES
from ..model.errors import MsiSyncError
from ..model.outcome import Failed, Outcome, Retry, Skipped
from ..model.record import Record
from .batch import Batch, Candidate
from .lease import Sending
from .links import is_qualified, origin_of, winner_of
from .matches import AMBIGUOUS, free, normal
from .merges import replaced, synced
from .newcomers import Newcomers
from .routing import chunked
from .schema import Schema
from .table_schema import TableSchema


class Fate(StrEnum):
    """What would become of a row."""

    UPDATED = "updated"  # Marketo has its key
    CONTINUED = "continued"  # a contact that goes on as its lead's person
    ADOPTED = "adopted"  # the person with its address gets its key
    AMBIGUOUS = "ambiguous"  # a dead letter: several persons have its address
    CREATED = "created"
    CREATED_WITHOUT_EMAIL = "created_without_email"
    FILTERED = "filtered"  # the sync filter excludes it
    QUALIFIED = "qualified"  # a lead for which nothing is created any more
    MERGED = "merged"  # another row goes on in its place
    MERGED_PERSON = "merged_person"  # so it does, and [lifecycle] merged has something done with its person


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What would become of one row. `persons`: Marketo's ids of the one that it gets, or of those that it may be."""

    id: str
    fate: Fate
    persons: tuple[int, ...] = ()


@dataclass
class Preview:
    """Foresees the first sync of rows. Raises as the two clients do.

    `sending`: of persons, not held, so that nothing can be sent.
    """

    dataverse: DataverseClient
    marketo: MarketoClient
    schema: Schema
    newcomers: Newcomers
    sending: Sending
    _: KW_ONLY
    policy: LifecyclePolicy
    now: Callable[[], datetime]
    _taken: set[int] = field(default_factory=set, init=False)
    _left: set[str] = field(default_factory=set, init=False)

    async def of(
        self, table: str, rows: Sequence[Row], on_progress: Callable[[int], object] = lambda _: None
    ) -> list[Foreseen]:
        """What would become of these rows, which have the columns of their schema. `on_progress`: so many are done.

        Costs a Marketo call for each 300 rows, as many for those whose keys Marketo does not have, and as many for rows
        that were merged away, unless their persons are kept.
        """
        schema = await self.schema.of(table)
        key = TABLES[table][1].key
        by_id = {str(row[key]).lower(): row for row in rows}
        found = {id_: Foreseen(id_, Fate.FILTERED) for id_, row in by_id.items() if schema.filter.excludes(row)}
        others = {id_: row for id_, row in by_id.items() if id_ not in found and winner_of(table, row)}
        found |= await self._merged([self._candidate(table, id_, row, schema) for id_, row in others.items()])
        on_progress(len(found))
        absent: list[Candidate] = []
        for part in chunked([id_ for id_ in by_id if id_ not in found], MAX_FILTER_VALUES):
            there = await self.marketo.find(PERSON, part)
            found |= {id_: Foreseen(id_, Fate.UPDATED, (there[id_],)) for id_ in part if id_ in there}
            absent += [self._candidate(table, id_, by_id[id_], schema) for id_ in part if id_ not in there]
            on_progress(len(there))
        found |= {candidate.key: _foreseen(candidate, outcome) for candidate, outcome in await self._place(absent)}
        on_progress(len(absent))
        return [found[id_] for id_ in by_id]

    async def _merged(self, candidates: list[Candidate]) -> dict[str, Foreseen]:
        """Those of these rows, which name a winner, that it has taken the place of."""
        keeps = self.policy.merged == "keep"
        losers = await replaced(self.dataverse, [c for c in candidates if not (c.is_history and keeps)], math.inf)
        found = {candidate.key: Foreseen(candidate.key, Fate.MERGED) for candidate in losers}
        going = [] if keeps else losers
        if self.policy.merged == "merge":
            winners = {candidate.winner for candidate in losers if candidate.winner}
            let_in = await synced(self.dataverse, self.schema, winners, math.inf)
            going = [candidate for candidate in losers if candidate.winner in let_in]
        for part in chunked([candidate.key for candidate in going], MAX_FILTER_VALUES):
            there = await self.marketo.find(PERSON, part)
            found |= {key: Foreseen(key, Fate.MERGED_PERSON, (person,)) for key, person in there.items()}
        return found

    def _candidate(self, table: str, id_: str, row: Row, schema: TableSchema) -> Candidate:
        """A person that Marketo does not have by its key, as far as that is about who it is."""
        record, _ = schema.fields.map(row, schema.labels)
        origin = "" if origin_of(row) in self._left else origin_of(row)
        return Candidate(
            [Record(table, id_, self.now())], {}, {}, key=id_, write=None, is_absent=True, origin=origin,
            body=json.dumps({"email": record.get("email")}).encode(), is_history=is_qualified(table, row),
            winner=winner_of(table, row),
        )  # fmt: skip

    async def _place(self, candidates: list[Candidate]) -> list[tuple[Candidate, Outcome | None]]:
        """Each with what it ends with, unless it would be sent."""
        if not candidates:
            return []
        records = {record.key: record for candidate in candidates for record in candidate.records}
        batch = Batch(PERSON, math.inf, dict(records), self.sending, taken=self._taken)
        await self.newcomers.place(batch, candidates)
        adopted = [candidate for candidate in candidates if candidate.marketo_id]
        self._left |= {candidate.origin for candidate in adopted if _continues(candidate)}
        outcomes = {record.key: outcome for record, outcome in batch.outcomes}
        return [(candidate, outcomes.get(candidate.records[0].key)) for candidate in candidates]


def _continues(candidate: Candidate) -> bool:
    """Whether it adopts its lead's person, for which nobody has been looked for by e-mail."""
    return candidate.matches is None


def _foreseen(candidate: Candidate, outcome: Outcome | None) -> Foreseen:
    """Raises MsiSyncError with what a vendor refused: then nobody knows what would become of the row."""
    if isinstance(outcome, Skipped):
        return Foreseen(candidate.key, Fate.QUALIFIED)
    if isinstance(outcome, Failed) and outcome.code == AMBIGUOUS:
        persons = sorted(match.id for match in free(candidate.matches or ()))
        return Foreseen(candidate.key, Fate.AMBIGUOUS, tuple(persons))
    if isinstance(outcome, Failed | Retry):
        raise MsiSyncError(outcome.code, outcome.message)
    if candidate.write is Write.BY_ID:
        fate = Fate.CONTINUED if _continues(candidate) else Fate.ADOPTED
        return Foreseen(candidate.key, fate, (candidate.marketo_id,))
    has_email = bool(normal(json.loads(candidate.body)["email"]))
    return Foreseen(candidate.key, Fate.CREATED if has_email else Fate.CREATED_WITHOUT_EMAIL)
