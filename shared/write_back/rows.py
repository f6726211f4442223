"""Dataverse's side: the rows as they are, found among leads and contacts, and the writing of what differs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..dataverse.batch import Part
from ..dataverse.client import API, LOCKED, MAX_IDS, DataverseClient, Row, error_of, rows_url
from ..model import codes
from ..model.codes import Kind
from ..model.entities import PERSON_TABLES
from ..model.errors import DataverseError
from ..sync.routing import chunked

log = logging.getLogger(__name__)

#: What every write carries, so that its notification is known for what it is (dataverse.md 4.8).
TAG = "msisync"
#: Rows of one UpdateMultiple, and of one batch: each must be through well before the client gives up.
MANY, FEW = 250, 100
WRITERS = 4
#: Ids of which the table is remembered.
REMEMBERED = 50_000
#: A table without UpdateMultiple answers with one of these: 0x80060888 as it is bound to the table, others were seen.
_NO_BULK = frozenset({"0x80060888", "0x8006088a", "0x8006088d", "HTTP 404", "HTTP 405", "HTTP 501"})
_VENDOR = frozenset({Kind.THROTTLED, Kind.TRANSIENT, Kind.TOKEN})

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Update:
    """The columns of a row that are to have other values."""

    table: str
    id: str
    values: Mapping[str, Any] = field(repr=False)

    @property
    def key(self) -> Key:
        """Table and id."""
        return self.table, self.id


@dataclass(slots=True)
class Written:
    """What became of updates: rows written, rows that are gone, and refused ones with Dataverse's own words.

    `error`: why the others are in none of these: Dataverse cannot be written to.
    """

    done: list[Update] = field(default_factory=list)
    gone: list[Update] = field(default_factory=list)
    refused: list[tuple[Update, DataverseError]] = field(default_factory=list)
    error: DataverseError | None = None


@dataclass(slots=True)
class Rows:
    """Leads and contacts of one environment."""

    dataverse: DataverseClient
    _table_of: dict[str, str] = field(default_factory=dict, init=False)
    _without_bulk: set[str] = field(default_factory=set, init=False)

    async def find(self, ids: Iterable[str], columns: Mapping[str, Iterable[str]], deadline: float) -> dict[Key, Row]:
        """These ids' rows: each is looked for in the table where it was last, else in the first, then in the other.

        `columns`: the tables, each with what is read of it. One request for each round.
        """
        found: dict[Key, Row] = {}
        left = {id_: sorted(columns, key=lambda table: (table != self._table_of.get(id_), table)) for id_ in ids}
        for turn in range(len(columns)):
            wanted: dict[str, list[str]] = {}
            for id_, tables in left.items():
                wanted.setdefault(tables[turn], []).append(id_)
            found.update(await self._read(wanted, columns, deadline) if wanted else {})
            left = {id_: tables for id_, tables in left.items() if (tables[turn], id_) not in found}
        for table, id_ in found:
            self._table_of.pop(id_, None)
            self._table_of[id_] = table
        while len(self._table_of) > REMEMBERED:
            del self._table_of[next(iter(self._table_of))]
        return found

    async def page(
        self, table: str, link: str, columns: Iterable[str], *, size: int, deadline: float
    ) -> tuple[dict[str, Row], str]:
        """The rows of a page by id, and the link of the next one. `link`: of this page; empty: of the first one."""
        source = PERSON_TABLES[table]
        url = link or f"{API}/{source.entity_set}?$select={','.join(sorted({source.key, *columns}))}"
        rows, following = await self.dataverse.page(url, size, deadline=deadline)
        return {str(row[source.key]).lower(): row for row in rows}, following

    async def _read(
        self, wanted: Mapping[str, Sequence[str]], columns: Mapping[str, Iterable[str]], deadline: float
    ) -> dict[Key, Row]:
        asked = [(PERSON_TABLES[table], part) for table, ids in wanted.items() for part in chunked(ids, MAX_IDS)]
        parts = [Part("GET", rows_url(table, ids, columns[table.name])) for table, ids in asked]
        found: dict[Key, Row] = {}
        for (table, _), answer in zip(asked, await self.dataverse.batch(parts, deadline=deadline), strict=True):
            if answer.status != 200:
                raise error_of(answer.status, answer.headers, answer.content, frozenset(columns[table.name]))
            found |= {(table.name, str(row[table.key]).lower()): row for row in json.loads(answer.content)["value"]}
        return found

    async def write(self, updates: Sequence[Update], deadline: float) -> Written:
        """Write them; never creates a row."""
        written = Written()
        writers = asyncio.Semaphore(WRITERS)

        async def write(part: list[Update]) -> None:
            async with writers:
                try:
                    await self._write(part, deadline, written)
                except DataverseError as error:
                    written.error = written.error or error

        by_table = [[update for update in updates if update.table == table] for table in PERSON_TABLES]
        await asyncio.gather(*(write(part) for group in by_table for part in chunked(group, MANY)))
        return written

    async def _write(self, updates: list[Update], deadline: float, written: Written) -> None:
        """Rows of one table: all at once, or, when that is refused for the sake of one, each by itself."""
        table = PERSON_TABLES[updates[0].table]
        if table.name in self._without_bulk:
            await self._write_each(updates, deadline, written)
            return
        targets = [{table.key: update.id, **update.values} for update in updates]
        try:
            await self.dataverse.update_many(table.name, table.entity_set, targets, tag=TAG, deadline=deadline)
            written.done += updates
        except DataverseError as error:
            if error.kind in _VENDOR and error.code not in LOCKED:
                raise
            log.info("update_many_refused table=%s rows=%d %s", table.name, len(updates), error)
            all_taken = await self._write_each(updates, deadline, written)
            if error.code in _NO_BULK and all_taken:
                self._without_bulk.add(table.name)

    async def _write_each(self, updates: list[Update], deadline: float, written: Written) -> bool:
        """Whether none was refused. Raises the refusal of all of them that is no matter of rows."""
        set_url = f"{API}/{PERSON_TABLES[updates[0].table].entity_set}"
        done: list[Update] = []
        refused: list[tuple[Update, DataverseError]] = []
        for group in chunked(updates, FEW):
            parts = [Part("PATCH", f"{set_url}({update.id})?tag={TAG}", update.values) for update in group]
            for update, answer in zip(group, await self.dataverse.batch(parts, deadline=deadline), strict=True):
                if answer.status < 300:
                    done.append(update)
                    continue
                error = error_of(answer.status, answer.headers, answer.content, update.values.keys())
                if error.kind is Kind.TOKEN:
                    raise error
                if error.kind is Kind.GONE:
                    written.gone.append(update)
                else:
                    refused.append((update, error))
        if not done and len(refused) > 1 and all(_is_general(error) for _, error in refused):
            raise refused[0][1]
        written.done += done
        written.refused += refused
        return not refused


def _is_general(error: DataverseError) -> bool:
    """Whether it says something of the whole table: a privilege or a column that is missing."""
    known = codes.DATAVERSE.get(error.code)
    return known is not None and known.kind is Kind.CONFIGURATION
