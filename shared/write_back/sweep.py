"""Where the sweep over all leads and contacts stands: one row of the state, so that it goes on after any interruption.

Tiers are calculated anew every night without an activity (marketo.md 6.1), so once a day all rows are compared.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from ..azure.shared_state import State, parsed
from ..dataverse.client import Row
from ..marketo.day import day_of
from ..model.codes import Kind
from ..model.errors import DataverseError
from .drift import Drift
from .plan import KIND

log = logging.getLogger(__name__)

ROW = "sweep"
#: A page that Dataverse will never give by the link that was kept.
_LINK_REFUSED = frozenset({Kind.PERMANENT, Kind.CONFIGURATION, Kind.GONE, Kind.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Cursor:
    """`of`: the night whose sweep is the last one that began. `tables`: those still to do, the first is under way from
    `link` on (empty: from its beginning). `asked`: one is wanted before the next night. `missing`: rows without a
    person are synced. `used`: calls on `day`. `plan`: the identity of the plan whose columns the link gives. `drift`:
    what this sweep has found so far, by table.
    """

    of: str = ""
    tables: list[str] = field(default_factory=list)
    link: str = ""
    asked: bool = False
    missing: bool = False
    day: str = ""
    used: int = 0
    plan: str = ""
    drift: dict[str, Drift] = field(default_factory=dict)

    def of_plan(self, identity: str) -> Cursor:
        """With a plan: a link of another one gives other columns, so its table begins anew."""
        return self if self.plan == identity else replace(self, plan=identity, link="")

    @property
    def under_way(self) -> bool:
        """Whether there is something left to do."""
        return bool(self.tables)

    @property
    def account(self) -> dict[str, Any]:
        """The calls of a day, and what was found."""
        return {"day": self.day, "used": self.used, "drift": self.drift}

    def with_drift(self, page: Cursor, found: Drift) -> Cursor:
        """With what was found on this page: a table that begins, or begins anew, has none before."""
        table = page.tables[0]
        before = self.drift.get(table, Drift()) if page.link else Drift()
        return replace(self, drift={**self.drift, table: before + found})

    def after(self, link: str) -> Cursor:
        """After a page: with the next one's link, or in the next table."""
        tables = self.tables if link else self.tables[1:]
        return replace(self, link=link, tables=tables, missing=self.missing and bool(tables or self.asked))


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one table by id, read with the cursor `of`; `following` is the cursor of the next page."""

    of: Cursor
    following: Cursor
    rows: dict[str, Row]

    @property
    def table(self) -> str:
        """Whose rows these are."""
        return self.of.tables[0]

    @property
    def is_last(self) -> bool:
        """Whether it is the last one of its table."""
        return not self.following.link


async def pages(
    cursor: Cursor, read: Callable[[str, str], Awaitable[tuple[dict[str, Row], str]]]
) -> AsyncIterator[Page]:
    """The pages from the cursor on. `read` gives the rows of a table's page by its link, and the link of the next one.

    A kept link that Dataverse refuses for good has its table begin anew, once.
    """
    again = True
    while cursor.under_way:
        try:
            rows, link = await read(cursor.tables[0], cursor.link)
        except DataverseError as error:
            if not (again and cursor.link and error.kind in _LINK_REFUSED):
                raise
            log.warning("sweep_link_refused table=%s %s", cursor.tables[0], error)
            again, cursor = False, replace(cursor, link="")
            continue
        yield Page(cursor, cursor.after(link), rows)
        cursor = cursor.after(link)


@dataclass(frozen=True)
class Sweeps:
    """The row, and what the settings say of it.

    `hour`: of US Central, when the night's calculations are done. `calls`: of Marketo, on one of its days.
    """

    state: State
    _: KW_ONLY
    hour: int
    calls: int
    now: Callable[[], datetime]

    @property
    def tonight(self) -> str:
        """The night whose sweep is due by now."""
        return day_of(self.now() - timedelta(hours=self.hour)).date.isoformat()

    @property
    def _today(self) -> str:
        return day_of(self.now()).date.isoformat()

    async def due(self, tables: list[str]) -> Cursor:
        """The sweep to go on with, perhaps from its beginning; none under way when none is due.

        The first night is the next one: who cannot wait asks for a sweep with the command.
        """
        value = await self.state.read(KIND, ROW)
        cursor = self._cursor(value)
        if not value:
            await self.store(cursor)
        due = not cursor.under_way and (cursor.asked or cursor.of < self.tonight)
        return self._begun(cursor, tables) if due else cursor

    async def whole(self, tables: list[str]) -> Cursor:
        """A sweep from its beginning."""
        return self._begun(self._cursor(await self.state.read(KIND, ROW)), tables)

    def charged(self, cursor: Cursor, calls: int) -> Cursor:
        """With so many more calls on today's account."""
        used = cursor.used if cursor.day == self._today else 0
        return replace(cursor, day=self._today, used=used + calls)

    async def store(self, cursor: Cursor) -> None:
        """What is before the cursor is written."""
        await self.state.put(KIND, ROW, asdict(cursor))

    async def ask(self, *, missing: bool = False) -> None:
        """Changes may have been missed: sweep soon. `missing`: and have rows without a person synced."""

        def asked(value: dict[str, Any]) -> dict[str, Any]:
            cursor = self._cursor(value)
            return asdict(replace(cursor, asked=True, missing=cursor.missing or missing))

        await self.state.change(KIND, ROW, asked)

    def may_call(self, cursor: Cursor) -> bool:
        """Whether the day's share leaves calls."""
        return cursor.day != self._today or cursor.used < self.calls

    def _begun(self, cursor: Cursor, tables: list[str]) -> Cursor:
        return replace(cursor, of=self.tonight, tables=tables, link="", asked=False, drift={})

    def _cursor(self, value: dict[str, Any]) -> Cursor:
        """The cursor of a row; of another version's, nothing is known."""
        return (parsed(Cursor, value) or Cursor()) if value else Cursor(of=self.tonight)
