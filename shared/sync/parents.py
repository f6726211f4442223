"""Which parents of a batch's records are in Marketo, which of the others will not come, and what goes without them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import KW_ONLY, dataclass

from ..dataverse.client import DataverseClient
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


@dataclass(slots=True)
class Parents:
    """Finds the parents of candidates, and takes the links away that lead nowhere.

    `tables`: those that are mapped. `causes`: which of these parents will not come, as was noted when their own sync
    ended.
    """

    dataverse: DataverseClient
    marketo: MarketoClient
    schema: Schema
    known: Known
    _: KW_ONLY
    tables: Collection[str]
    causes: Causes = no_causes

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
                    self.known.forget(parent.entity, parent.id)
            for parent in candidate.missing(self.known, still=STILL_SECONDS):
                if record.released or not self.known.is_absent(parent.entity, parent.id):
                    unknown.setdefault(parent.entity, set()).add(parent.id)
        for name, keys in unknown.items():
            for part in chunked(sorted(keys), MAX_FILTER_VALUES):
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
            kept_out = await batch.guard(waiting, self.kept_out(table, parents, batch.deadline))
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
        batch.causes |= await self.causes({p for parents in missing.values() for p in parents})
        for candidate in waiting:
            lost = [parent for parent in missing[candidate.records[0].key] if parent in batch.causes]
            if batch.entity.key:
                candidate.go_without(lost)
            elif any(batch.causes[parent].skipped for parent in lost):
                batch.decide(candidate.records, Skipped("ParentNotSynced"))
        if batch.entity.key:
            await self._send_what_is_there(batch, [c for c in waiting if self._missing(batch, c)])

    async def _send_what_is_there(self, batch: Batch, candidates: list[Candidate]) -> None:
        there = await self._there(batch, candidates)
        for candidate in candidates:
            if candidate.records[0].id in there:
                candidate.go_without(candidate.missing(self.known))

    async def only_there(self, batch: Batch, candidates: list[Candidate]) -> None:
        """Skip users whose address is hidden from ours, unless Marketo has them: those keep their address there.

        Without one, a sales person is of no use (guide). Costs one call per 300 of them.
        """
        doubtful = [c for c in candidates if c.only_if_there and c.records[0].key in batch.open]
        there = await self._there(batch, doubtful)
        batch.decide((r for c in doubtful if c.records[0].id not in there for r in c.records), MAIL_HIDDEN)

    async def _there(self, batch: Batch, candidates: list[Candidate]) -> set[str]:
        """The ids of those that Marketo has itself: one call per 300. Those that it cannot be asked for are decided."""
        there: set[str] = set()
        for part in chunked(candidates, MAX_FILTER_VALUES):
            records = [record for candidate in part for record in candidate.records]
            keys = sorted({candidate.records[0].id for candidate in part})
            there |= (await batch.guard(records, self.marketo.find(batch.entity, keys)) or {}).keys()
        return there

    def _missing(self, batch: Batch, candidate: Candidate) -> list[Parent]:
        """The parents that an open record needs and Marketo does not have, as far as anybody has asked."""
        if candidate.records[0].key not in batch.open or _meets_its_parents(batch, candidate):
            return []
        return candidate.missing(self.known)

    async def kept_out(self, table: str, parents: list[Parent], deadline: float) -> list[Parent]:
        """Those of these rows of one table that are not to be synced."""
        if table not in self.tables:
            return parents
        chosen = await self.schema.filter_of(table)
        if not chosen.columns:
            return []
        source, ids = TABLES[table][1], [parent.id for parent in parents]
        try:
            rows = await self.dataverse.rows(source, ids, chosen.columns, deadline=deadline)
        except DataverseError as error:
            if error.is_unknown_column:
                self.schema.forget()  # the next try finds out which columns are left
            raise
        return [parent for parent in parents if parent.id in rows and chosen.excludes(rows[parent.id])]

    async def _ask(self, entity: Entity, keys: list[str]) -> None:
        """One call; what it has room for is asked again before it is forgotten, which spares calls for one parent."""
        keys = list(dict.fromkeys([*keys, *self.known.expiring(entity.name, MAX_FILTER_VALUES)]))[:MAX_FILTER_VALUES]
        found = await self.marketo.find(entity, keys)
        for key in keys:
            if key in found:
                self.known.add(entity.name, key, found[key])
            else:
                self.known.forget(entity.name, key)
                self.known.add_absent(entity.name, key)


def _meets_its_parents(batch: Batch, candidate: Candidate) -> bool:
    """Whether a record waits a cycle of a burst for its parents, which are most likely part of it."""
    return batch.windows.is_burst and candidate.records[0].parked_since is None


def _needs(candidate: Candidate, entity: str, keys: set[str]) -> bool:
    return any(p and p.entity == entity and p.id in keys for p in candidate.parents.values())
