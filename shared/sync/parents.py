"""Which parents of a batch's records are in Marketo, which of the others will not come, and what goes without them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping

from ..dataverse.client import MAX_IDS, DataverseClient
from ..marketo.client import MAX_FILTER_VALUES, MarketoClient
from ..model.entities import ENTITIES, TABLES, Entity
from ..model.errors import DataverseError, MsiSyncError
from ..model.outcome import Parent, Skipped, WillNotCome, of_error
from .batch import Batch, Candidate
from .marketo_cache import Known
from .routing import chunked
from .schema import Schema

#: What is forgotten before an invocation has used it is looked up again.
STILL_SECONDS = 300.0

#: What becomes of a user whose address our user may not read, and whom Marketo does not have.
MAIL_HIDDEN = Skipped("MailHidden")

Causes = Callable[[Collection[Parent]], Awaitable[Mapping[Parent, WillNotCome]]]


async def no_causes(_: Collection[Parent]) -> Mapping[Parent, WillNotCome]:
    """Where nobody notes which parents will not come."""
    return {}


class Parents:
    """Finds the parents of candidates, and takes the links away that lead nowhere."""

    def __init__(
        self,
        dataverse: DataverseClient,
        marketo: MarketoClient,
        schema: Schema,
        known: Known,
        *,
        tables: Collection[str],
        causes: Causes = no_causes,
    ) -> None:
        """`causes`: which of these parents will not come, as was noted when their own sync ended."""
        self._dataverse = dataverse
        self._marketo = marketo
        self._schema = schema
        self._known = known
        self._tables = tables
        self._causes = causes

    async def find(self, batch: Batch, candidates: list[Candidate]) -> None:
        """Ask Marketo for the parents that nobody knows of: one call per 300 of an entity, none on a warm cache.

        In a burst the parent is most likely part of it: then Marketo is asked only for records that have waited a
        cycle. That a parent was absent a moment ago does not count for a record that has just been released, because
        another instance may have synced the parent. A record that was refused may have been so for a parent that is
        gone from Marketo: what this process remembers of its parents does not count.
        """
        unknown: dict[str, set[str]] = {}
        for candidate in candidates:
            record = candidate.records[0]
            if _meets_its_parents(batch, candidate):
                continue
            if record.attempt or record.replays:
                for parent in filter(None, candidate.parents.values()):
                    self._known.forget(parent.entity, parent.id)
            for parent in candidate.missing(self._known, still=STILL_SECONDS):
                if record.released or not self._known.is_absent(parent.entity, parent.id):
                    unknown.setdefault(parent.entity, set()).add(parent.id)
        for name, keys in unknown.items():
            asked = sorted(keys)
            for start in range(0, len(asked), MAX_FILTER_VALUES):
                part = asked[start : start + MAX_FILTER_VALUES]
                try:
                    await self._ask(ENTITIES[name], part)
                except MsiSyncError as error:
                    lost = set(part)
                    batch.decide((r for c in candidates if _needs(c, name, lost) for r in c.records), of_error(error))

    async def unlink_filtered(self, batch: Batch, candidates: list[Candidate]) -> None:
        """A parent that the filter keeps out, or whose table is not mapped, never comes: its children go without it.

        Where it is in Marketo already, from before, the link stays. In a burst nobody has asked Marketo yet.
        """
        missing: dict[Parent, list[Candidate]] = {}
        for candidate in candidates:
            for parent in self._missing(batch, candidate):
                missing.setdefault(parent, []).append(candidate)
        for table in sorted({parent.table for parent in missing}):
            parents = [parent for parent in missing if parent.table == table]
            waiting = [record for parent in parents for c in missing[parent] for record in c.records]
            kept_out = await batch.guard(waiting, self._kept_out(table, parents, batch.deadline))
            for parent in kept_out or ():
                for candidate in missing[parent]:
                    if batch.entity.key:
                        candidate.unlink(parent)
                    else:  # a role is nothing but its links
                        batch.decide(candidate.records, Skipped("ParentFiltered"))

    async def go_without(self, batch: Batch, candidates: list[Candidate]) -> None:
        """What does not wait for its missing parents goes without the links, which are added when the parents come.

        That is all that refers to a parent that will not come, and what Marketo has already: a changed link must not
        hold the other changes of the row. Costs one call per 300 of those that would have to wait otherwise. A role is
        nothing but its links: it waits, or is skipped with a parent that is nothing to sync.
        """
        missing = {candidate.records[0].key: self._missing(batch, candidate) for candidate in candidates}
        waiting = [candidate for candidate in candidates if missing[candidate.records[0].key]]
        if not waiting:
            return
        batch.causes |= await self._causes({p for parents in missing.values() for p in parents})
        for candidate in waiting:
            lost = [parent for parent in missing[candidate.records[0].key] if parent in batch.causes]
            if batch.entity.key:
                candidate.go_without(lost)
            elif any(batch.causes[parent].skipped for parent in lost):
                batch.decide(candidate.records, Skipped("ParentNotSynced"))
        if batch.entity.key:
            await self._send_what_is_there(batch, [c for c in waiting if self._missing(batch, c)])

    async def _send_what_is_there(self, batch: Batch, candidates: list[Candidate]) -> None:
        for part in chunked(candidates, MAX_FILTER_VALUES):
            records = [record for candidate in part for record in candidate.records]
            keys = sorted({candidate.records[0].id for candidate in part})
            there = await batch.guard(records, self._marketo.find(batch.entity, keys)) or {}
            for candidate in part:
                if candidate.records[0].id in there:
                    candidate.go_without(candidate.missing(self._known))

    async def only_there(self, batch: Batch, candidates: list[Candidate]) -> None:
        """Skip users whose address is hidden from ours, unless Marketo has them: those keep their address there.

        Without one, a sales person is of no use (guide). Costs one call per 300 of them.
        """
        doubtful = [c for c in candidates if c.only_if_there and c.records[0].key in batch.open]
        for part in chunked(doubtful, MAX_FILTER_VALUES):
            records = [record for candidate in part for record in candidate.records]
            keys = sorted({candidate.records[0].id for candidate in part})
            there = await batch.guard(records, self._marketo.find(batch.entity, keys)) or {}
            batch.decide((r for c in part if c.records[0].id not in there for r in c.records), MAIL_HIDDEN)

    def _missing(self, batch: Batch, candidate: Candidate) -> list[Parent]:
        """The parents that an open record needs and Marketo does not have, as far as anybody has asked."""
        if candidate.records[0].key not in batch.open or _meets_its_parents(batch, candidate):
            return []
        return candidate.missing(self._known)

    async def _kept_out(self, table: str, parents: list[Parent], deadline: float) -> list[Parent]:
        """Those of these rows of one table that are not to be synced."""
        if table not in self._tables:
            return parents
        chosen = await self._schema.filter_of(table)
        if not chosen.columns:
            return []
        source = TABLES[table][1]
        kept_out: list[Parent] = []
        for part in chunked(parents, MAX_IDS):
            ids = [parent.id for parent in part]
            try:
                rows = await self._dataverse.rows(source.entity_set, source.key, ids, chosen.columns, deadline=deadline)
            except DataverseError as error:
                if error.is_unknown_column:
                    self._schema.forget()  # the next try finds out which columns are left
                raise
            kept_out += [parent for parent in part if parent.id in rows and chosen.excludes(rows[parent.id])]
        return kept_out

    async def _ask(self, entity: Entity, keys: list[str]) -> None:
        """One call; what it has room for is asked again before it is forgotten, which spares calls for one parent."""
        keys = list(dict.fromkeys([*keys, *self._known.expiring(entity.name, MAX_FILTER_VALUES)]))[:MAX_FILTER_VALUES]
        found = await self._marketo.find(entity, keys)
        for key in keys:
            if key in found:
                self._known.add(entity.name, key, found[key])
            else:
                self._known.forget(entity.name, key)
                self._known.add_absent(entity.name, key)


def _meets_its_parents(batch: Batch, candidate: Candidate) -> bool:
    """Whether a record waits a cycle of a burst for its parents, which are most likely part of it."""
    return batch.windows.is_burst and candidate.records[0].parked_since is None


def _needs(candidate: Candidate, entity: str, keys: set[str]) -> bool:
    return any(p and p.entity == entity and p.id in keys for p in candidate.parents.values())
