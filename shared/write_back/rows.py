"""Dataverse's side: the rows as they are, found among leads and contacts, and the writing of what differs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from ..dataverse.batch import Answer, Part
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
#: Times that what was throttled within a batch is sent again.
TRIES = 4
THROTTLED_SECONDS = 5.0
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
    _: KW_ONLY
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    _table_of: OrderedDict[str, str] = field(default_factory=OrderedDict, init=False)
    _without_bulk: set[str] = field(default_factory=set, init=False)

    async def find(self, ids: Iterable[str], columns: Mapping[str, Iterable[str]], deadline: float) -> dict[Key, Row]:
        """These ids' rows: each is looked for in the table where it was last, else in the first, then in the other.

        `columns`: the tables, each with what is read of it. One request for each round.
        """
        tables = sorted(columns)
        found: dict[Key, Row] = {}
        asked: dict[str, set[str]] = {}
        left = list(ids)
        for _ in tables:
            wanted: dict[str, list[str]] = {}
            for id_ in left:
                table = self._next_table(id_, tables, asked.setdefault(id_, set()))
                asked[id_].add(table)
                wanted.setdefault(table, []).append(id_)
            found.update(await self._read(wanted, columns, deadline))
            left = [id_ for id_ in left if not any((table, id_) in found for table in asked[id_])]
            if not left:
                break
        for table, id_ in found:
            self._remember(id_, table)
        return found

    async def write(self, updates: Sequence[Update], deadline: float) -> Written:
        """Write them; never creates a row."""
        by_table: dict[str, list[Update]] = {}
        for update in updates:
            by_table.setdefault(update.table, []).append(update)
        writers = asyncio.Semaphore(WRITERS)

        async def write(part: list[Update]) -> Written:
            async with writers:
                return await self._write(part, deadline)

        parts = [part for group in by_table.values() for part in chunked(group, MANY)]
        together = Written()
        for outcome in await asyncio.gather(*map(write, parts), return_exceptions=True):
            if isinstance(outcome, Written):
                together.done += outcome.done
                together.gone += outcome.gone
                together.refused += outcome.refused
            elif isinstance(outcome, DataverseError):
                together.error = together.error or outcome
            else:
                raise outcome
        return together

    # -- reading ------------------------------------------------------------------------------------------------

    def _next_table(self, id_: str, tables: Sequence[str], asked: set[str]) -> str:
        known = self._table_of.get(id_, "")
        order = [known, *tables] if known in tables else tables
        return next(table for table in order if table not in asked)

    def _remember(self, id_: str, table: str) -> None:
        self._table_of[id_] = table
        self._table_of.move_to_end(id_)
        if len(self._table_of) > REMEMBERED:
            self._table_of.popitem(last=False)

    async def _read(
        self, wanted: Mapping[str, Sequence[str]], columns: Mapping[str, Iterable[str]], deadline: float
    ) -> dict[Key, Row]:
        asked = [(table, part) for table, ids in wanted.items() for part in chunked(ids, MAX_IDS)]
        parts = [
            Part("GET", rows_url(PERSON_TABLES[table].entity_set, PERSON_TABLES[table].key, ids, columns[table]))
            for table, ids in asked
        ]
        found: dict[Key, Row] = {}
        for (table, _), answer in zip(asked, await self._batch(parts, deadline), strict=True):
            if answer.status != 200:
                raise error_of(answer.status, answer.headers, answer.content, frozenset(columns[table]))
            for row in json.loads(answer.content)["value"]:
                found[table, str(row[PERSON_TABLES[table].key]).lower()] = row
        return found

    # -- writing ------------------------------------------------------------------------------------------------

    async def _write(self, updates: list[Update], deadline: float) -> Written:
        """Rows of one table: all at once, or, when that is refused for the sake of one, each by itself."""
        table = updates[0].table
        if table in self._without_bulk:
            return await self._write_each(updates, deadline)
        targets = [{PERSON_TABLES[table].key: update.id, **update.values} for update in updates]
        try:
            await self.dataverse.update_many(
                table, PERSON_TABLES[table].entity_set, targets, tag=TAG, deadline=deadline
            )
        except DataverseError as error:
            if error.kind in _VENDOR and error.code not in LOCKED:
                raise
            log.info("update_many_refused table=%s rows=%d %s", table, len(updates), error)
            written = await self._write_each(updates, deadline)
            if error.code in _NO_BULK and not written.refused:
                self._without_bulk.add(table)
            return written
        return Written(done=updates)

    async def _write_each(self, updates: list[Update], deadline: float) -> Written:
        written = Written()
        for group in chunked(updates, FEW):
            parts = [
                Part("PATCH", f"{API}/{PERSON_TABLES[u.table].entity_set}({u.id})?tag={TAG}", u.values) for u in group
            ]
            for update, answer in zip(group, await self._batch(parts, deadline), strict=True):
                if answer.status < 300:
                    written.done.append(update)
                    continue
                error = error_of(answer.status, answer.headers, answer.content, update.values.keys())
                if error.kind is Kind.TOKEN:
                    raise error
                if error.kind is Kind.GONE:
                    written.gone.append(update)
                else:
                    written.refused.append((update, error))
        if not written.done and len(written.refused) > 1 and all(_is_general(e) for _, e in written.refused):
            raise written.refused[0][1]  # nobody may write this table: no matter of rows
        return written

    async def _batch(self, parts: Sequence[Part], deadline: float) -> list[Answer]:
        """An answer for each part; what was throttled is sent again after the time that Dataverse asks for."""
        answers: dict[int, Answer] = {}
        waiting = list(range(len(parts)))
        for tried in range(TRIES):
            got = await self.dataverse.batch([parts[n] for n in waiting], deadline=deadline)
            answers.update(zip(waiting, got, strict=True))
            waiting = [n for n in waiting if answers[n].status in (429, 503)]
            if not waiting:
                break
            errors = [error_of(answers[n].status, answers[n].headers, b"") for n in waiting]
            wait = max(error.retry_after or THROTTLED_SECONDS for error in errors)
            if tried + 1 == TRIES or self.clock() + wait >= deadline:
                break
            log.info("batch_wait parts=%d seconds=%.1f", len(waiting), wait)
            await self.sleep(wait)
        return [answers[n] for n in range(len(parts))]


def _is_general(error: DataverseError) -> bool:
    """Whether it says something of the whole table: a privilege or a column that is missing."""
    return error.kind is Kind.CONFIGURATION and error.code in codes.DATAVERSE
