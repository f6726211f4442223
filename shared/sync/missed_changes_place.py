"""Up to where each table was searched for missed changes: a row of the shared state, `missed_changes` / table.

The row is written with the version that was read: should two instances run at once, the slower one stops.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ..azure.shared_state import State, dumped, parsed
from ..dataverse.change_tracking import Changes, version_of
from ..model.errors import DataverseError, NotNowError
from ..model.record import Stamp

KIND = "missed_changes"
#: A table that was not searched for missed changes for so long needs attention.
LATE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table is.

    `delta`: the link with which the pass begins, or began; empty: with the whole table. `next`: the page to go on with;
    empty: at the beginning. `seen`: the highest version that passes which came to their end have told; `top`: that this
    one has. `began`: when this pass did; None: there is none under way. `since`: when the last one did that came to its
    end; `at`: when that was. `error`: why the last run has ended early. `off`: change tracking is not enabled.

    Totals of the pass under way, or the last one: `read`: rows and deletions; `changed`, `deleted`: those that the sync
    had not read; `own`: of the changed ones, those that the sync user has written last.
    """

    delta: str = ""
    next: str = ""
    seen: int = 0
    top: int = 0
    began: Stamp | None = None
    since: Stamp | None = None
    at: Stamp | None = None
    read: int = 0
    changed: int = 0
    deleted: int = 0
    own: int = 0
    error: str = ""
    off: bool = False

    @property
    def link(self) -> str:
        """Where to go on; empty: at the beginning of the table."""
        return self.next or self.delta

    @property
    def is_first(self) -> bool:
        """Whether no pass has come to its end: nobody knows yet what is new."""
        return self.at is None

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever read."""
        return self.is_first and not self.link

    def begun(self, now: datetime) -> Place:
        """The same, with a pass under way."""
        return self if self.began else replace(self, began=now, top=0, read=0, changed=0, deleted=0, own=0)

    def anew(self) -> Place:
        """The whole table from its beginning, for a link was refused."""
        return replace(self, delta="", next="")

    @property
    def sent(self) -> int:
        """Rows and deletions that the pass has had synced."""
        return self.changed + self.deleted

    def after(self, page: Changes, now: datetime) -> Place:
        """The place after a page, whose rows are in the totals."""
        place = replace(
            self,
            next=page.link,
            top=max([self.top, *(version_of(row) or 0 for row in page.rows)]),
            error="",
            off=False,
        )
        if not page.is_last:
            return place
        seen = max(place.seen, place.top)
        return replace(place, delta=page.link, next="", seen=seen, began=None, since=self.began, at=now)


@dataclass(slots=True)
class TurnOfTable:
    """One run's hold of a table's place. Raises StorageUnavailableError when storage does not answer."""

    state: State
    table: str
    place: Place
    etag: str

    @classmethod
    async def open(cls, state: State, table: str) -> TurnOfTable:
        """The place as it is stored; one that another version has written begins anew."""
        row = await state.look(KIND, table)
        return cls(state, table, parsed(Place, row.value) or Place(), row.etag)

    async def store(self, place: Place) -> None:
        """Go on there. Raises NotNowError when another instance has been faster."""
        self.etag = await self.state.swap(KIND, self.table, self.etag, dumped(place, exclude_defaults=True))
        if not self.etag:
            raise NotNowError("SearchedElsewhere", f"another instance goes on with {self.table}", after=0)
        self.place = place

    async def off(self) -> None:
        """The table is not tracked."""
        if not self.place.off:
            await self.store(replace(self.place, off=True, error=""))

    async def refused(self, error: DataverseError) -> None:
        """Dataverse refuses it: the next run tries again."""
        if self.place.error != str(error):
            await self.store(replace(self.place, error=str(error), off=False))
