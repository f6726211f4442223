"""Finds changes that no notification told of, and sends their rows to the usual queues, like any change.

    what change tracking tells ▸ less what the sync has read in that version ▸ queues ▸ the place is stored

Bulk tools, bypass flags, times without registration and lost posts hide changes from the registered steps, but not from
Dataverse's change tracking (dataverse.md 4.6). A timer asks it for each table. The place where a table's pass goes on
is stored only after what lies before it is in the queues: a process that dies does a page twice, and that is all.

The first pass of a table reads every row to learn the delta link, and sends nothing: to send what is there is for the
initial sync. A link that is too old, or refused, starts another pass of the whole table, which sends what has a later
version than any that was told before. It cannot tell what was deleted in between.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ..azure.shared_state import State
from ..config.sync_toml import SyncConfig
from ..dataverse.change_tracking import Changes, changes, first_link, version_of
from ..dataverse.client import DataverseClient, Row
from ..dataverse.metadata import Metadata
from ..model.codes import Kind
from ..model.entities import (
    ALL_TABLES,
    DECIDING_COLUMNS,
    OPPORTUNITY,
    OPPORTUNITY_COLUMNS,
    PERSON_TABLES,
    TABLES,
    Table,
)
from ..model.errors import BrokerUnavailableError, DataverseError, MsiSyncError
from ..model.record import Record
from ..telemetry import spans
from . import measures
from .dependants import deciding_tables
from .heartbeat import RECONCILE, Note, unnoted
from .links import opportunities_of
from .missed_changes_place import Place, TurnOfTable
from .role_memory import RoleMemory
from .synced_versions import Noted, SyncedVersions

log = logging.getLogger(__name__)

#: Rows that one run of the timer sends: 100 full calls. More would keep live changes waiting behind them.
MOST_ROWS = 30_000
#: Refusals of a link that come again: the table is read anew.
_REFUSED = frozenset({Kind.CONFIGURATION, Kind.PERMANENT, Kind.GONE, Kind.UNKNOWN})
#: What concerns all tables: the next run of the timer tries again.
_OF_ALL = frozenset({Kind.TRANSIENT, Kind.THROTTLED, Kind.TOKEN})
#: Who has written a row last.
_WRITER = "_modifiedby_value"
_NEVER = datetime.min.replace(tzinfo=UTC)

#: Has these records synced, and the roles of these opportunities compared: durably, when it returns.
TakeUp = Callable[[Sequence[Record], Sequence[Record]], Awaitable[None]]


def sources_of(config: SyncConfig) -> list[Table]:
    """The tables that matter under sync.toml: those that decide about others first, then parents before children."""
    mapped = sorted(config.tables, key=lambda table: TABLES[table][0].tier)
    return [ALL_TABLES[name] for name in (*deciding_tables(config), *mapped)]


def _columns(table: str) -> tuple[str, ...]:
    """Read beside the key: the opportunities of rows that are roles, the last writer of persons."""
    if table in PERSON_TABLES:
        return (_WRITER,)
    return tuple(f"_{column}_value" for column in OPPORTUNITY_COLUMNS.get(table, ()))


@dataclass(kw_only=True)
class MissedChanges:
    """Looks for missed changes in one process. `time_budget`: of one run, in seconds."""

    state: State
    dataverse: DataverseClient
    metadata: Metadata
    versions: SyncedVersions
    sources: Sequence[Table]
    take_up: TakeUp
    clock: Callable[[], float]
    now: Callable[[], datetime]
    time_budget: float
    most_rows: int = MOST_ROWS
    note: Note = unnoted
    _deadline: float = field(default=0.0, init=False)

    @property
    def _memory(self) -> RoleMemory:
        return RoleMemory(self.state)

    async def tick(self) -> None:
        """The timer's run. Raises BrokerUnavailableError, and nothing of a vendor or of storage."""
        with spans.invocation(RECONCILE):
            await self.note(RECONCILE)
            self._deadline = self.clock() + self.time_budget
            left = self.most_rows
            try:
                for source in self.sources:
                    left -= await self._table(source, left)
            except BrokerUnavailableError:  # the host shall report a failed run
                raise
            except MsiSyncError as error:
                log.warning("missed_changes_wait %s", error)

    async def _table(self, source: Table, most: int) -> int:
        """Go on with a table as long as there is time, and rows may be sent. Gives how many were."""
        turn = await TurnOfTable.open(self.state, source.name)
        sent, again = 0, False
        try:
            if turn.place.is_new and not await self.metadata.is_tracked(source.name):
                await turn.off()
                return 0
            while self.clock() < self._deadline and sent < most:
                place = turn.place.begun(self.now())
                try:
                    page = await self._page(source, place)
                except DataverseError as error:
                    if again or not place.link or error.kind not in _REFUSED or error.is_missing_privilege:
                        raise
                    again = True
                    log.warning("delta_link_refused table=%s %s: the whole table is read", source.name, error)
                    await turn.store(place.anew())
                    continue
                counted = await self._take(source, place, page)
                sent += counted.sent - place.sent
                await turn.store(counted.after(page, self.now()))
                if page.is_last:
                    self._tell(source, turn.place)
                    break
        except DataverseError as error:
            if error.kind in _OF_ALL:
                raise
            log.error("change_tracking_refused table=%s %s", source.name, error)
            await turn.refused(error)
        return sent

    async def _page(self, source: Table, place: Place) -> Changes:
        link = place.link or first_link(source.entity_set, (source.key, *_columns(source.name)))
        return await changes(self.dataverse, link, deadline=self._deadline)

    async def _take(self, source: Table, place: Place, page: Changes) -> Place:
        """Have the rows of a page synced that the sync has not read. Gives the place with its totals."""
        rows = {str(row[source.key]).lower(): row for row in page.rows}
        if place.is_first:
            await self._memory.keep(source.name, _roles(source, rows))
            return replace(place, read=place.read + len(rows))
        new = [id_ for id_, row in rows.items() if place.delta or (version_of(row) or place.seen + 1) > place.seen]
        # A table that decides about rows of others is not synced itself.
        entity, noted = TABLES[source.name][0].name if source.name in TABLES else "", Noted()
        if entity and (new or page.deleted):
            ids = [*new, *page.deleted]
            noted = await self.versions.of(entity, source.name, ids, place.since or _NEVER)
        changed = [id_ for id_ in new if not noted.covers(id_, version_of(rows[id_]))]
        deleted = [id_ for id_ in page.deleted if entity and not noted.knows_gone(id_)]
        before = await self._before(source, noted, changed, page.deleted)
        unseen = {*changed, *deleted}
        moved = [o for id_, ids in before.items() if id_ in unseen for o in ids]
        seen, is_deciding = self.now(), source.name in DECIDING_COLUMNS
        await self.take_up(
            [
                *(Record(source.name, id_, seen, deciding=is_deciding) for id_ in changed),
                *(Record(source.name, id_, seen, "delete") for id_ in deleted),
            ],
            [Record(OPPORTUNITY.name, id_, seen) for id_ in dict.fromkeys(moved)],
        )
        await self._memory.forget(source.name, [id_ for id_ in before if id_ not in rows])
        await self._memory.keep(source.name, _roles(source, rows))
        own = await self._own([rows[id_] for id_ in changed])
        measures.missed(source.name, changed=len(changed) - own, written_back=own, deleted=len(deleted))
        return replace(
            place,
            read=place.read + len(rows) + len(page.deleted),
            changed=place.changed + len(changed),
            deleted=place.deleted + len(deleted),
            own=place.own + own,
        )

    async def _own(self, rows: Sequence[Row]) -> int:
        """How many of these rows were last written by the sync user, most likely by the write-back."""
        writers = [str(row[_WRITER]).lower() for row in rows if row.get(_WRITER)]
        return writers.count(await self.dataverse.user_id()) if writers else 0

    async def _before(
        self, source: Table, noted: Noted, changed: Sequence[str], deleted: Sequence[str]
    ) -> dict[str, list[str]]:
        """The opportunities that these roles belonged to: a role that has moved, or is gone, is an old one there."""
        if source.name not in OPPORTUNITY_COLUMNS:
            return {}
        return {**noted.opportunities, **await self._memory.of(source.name, [*changed, *deleted])}

    def _tell(self, source: Table, place: Place) -> None:
        log.info(
            "missed_changes table=%s read=%d changed=%d deleted=%d",
            source.name,
            place.read,
            place.changed,
            place.deleted,
        )


def _roles(source: Table, rows: dict[str, Row]) -> dict[str, list[str]]:
    """The opportunities of rows that are roles; nothing of other tables."""
    if source.name not in OPPORTUNITY_COLUMNS:
        return {}
    return {id_: opportunities_of(source.name, row) for id_, row in rows.items()}
