"""The history in Table Storage: a table for each day, so that old days are dropped as whole tables.

A table is `<HISTORY_TABLES><yyyymmdd>` (of the day in UTC). Its rows have one PartitionKey, ``lines``, so that whatever
is written at a time fills transactions of 100. Table Storage takes 2,000 rows a second in a partition. There are two
kinds of rows, for Azure's SDK takes a third of a millisecond of CPU for each row of a transaction:

=====================================  ======================================================================
RowKey                                 columns
=====================================  ======================================================================
``<id>|<countdown>|<own>``             Line: JSON of shared/sync/history.py, of the row in Dynamics with this id
``~<bucket>|<countdown>|<own>``        Lines: of several records of one of 16 buckets, as in a burst; each is
                                       ``<id> <milliseconds> <own> <JSON>``, and ends with a line feed
=====================================  ======================================================================

`countdown` are milliseconds that count down, so the newest row of a range is the first. `own` tells a line from others
of the same millisecond. So the lines of a record on one day are two ranges: its own, and that of its bucket.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from secrets import token_hex
from typing import Any
from zlib import crc32

from .errors import storage_errors
from .table import Account, Table, some_at_a_time, transactions

PARTITION = "lines"
#: What is written at a time is packed by buckets if it is more than this.
FEW = 100
BUCKETS = 16
#: Lines, and characters, of one row: a text of Table Storage takes 32,768 of these.
PACK_LINES, PACK_LENGTH = 100, 30_000
#: Pages of a bucket that are looked through at most, of 1,000 rows each.
BUCKET_PAGES = 20
#: A number of milliseconds that is not reached: what is taken from it counts down.
_END = 10**13 - 1


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of one record and one moment, as JSON. `own`: tells it from others of the same millisecond."""

    id: str
    at: datetime
    text: str
    own: str = field(default_factory=lambda: token_hex(4))


class HistoryTables:
    """The tables. Raises StorageUnavailableError when storage does not answer, or refuses."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._prefix = account.settings.history_tables
        self._tables: dict[date, Table] = {}

    async def write(self, rows: Iterable[Row]) -> None:
        """Keep these rows. More than 100 of a day share rows of the table. Written twice, they are read once."""
        days: dict[date, list[Row]] = {}
        for row in rows:
            days.setdefault(row.at.astimezone(UTC).date(), []).append(row)
        entities = [
            (day, entity)
            for day, of_day in days.items()
            for entity in (map(_entity, of_day) if len(of_day) <= FEW else _packs(of_day))
        ]
        parts = transactions(entities, lambda each: each[0].isoformat())
        await some_at_a_time(self._write(part[0][0], [entity for _, entity in part]) for part in parts)

    async def read(self, id_: str, days: Collection[date]) -> list[Row]:
        """The rows of a record on these days, the newest first; of each day about the newest 1,000.

        Two requests for each day, and more for a day of large bursts.
        """
        work = [read(id_, day) for day in days for read in (self._read_own, self._read_bucket)]
        found = {row.own: row for rows in await some_at_a_time(work) for row in rows}
        return sorted(found.values(), key=lambda row: row.at, reverse=True)

    async def days(self) -> list[date]:
        """The days of which there is a table, the oldest first. One request."""
        first, last = f"{self._prefix}0", f"{self._prefix}9999999999"
        name = re.compile(rf"{self._prefix}(\d{{8}})", re.IGNORECASE)
        found = set[date]()
        with storage_errors():
            # Storage compares the names as they were given when the tables were made.
            query = "TableName ge @first and TableName le @last"
            async for table in self._account.service.query_tables(query, parameters={"first": first, "last": last}):
                if match := name.fullmatch(table.name):
                    with suppress(ValueError):  # somebody else's table: no day has this number
                        found.add(datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC).date())
        return sorted(found)

    async def drop(self, days: Collection[date]) -> None:
        """Take the tables of these days away. A request for each."""
        for day in days:
            self._tables.pop(day, None)
            with storage_errors():
                await self._account.service.delete_table(self._name(day))

    async def _write(self, day: date, entities: Sequence[Mapping[str, Any]]) -> None:
        table = self._table(day)
        if len(entities) == 1:  # for one, a transaction costs twice the CPU
            await table.upsert(entities[0])
        else:
            await table.transact([("upsert", entity) for entity in entities])

    async def _read_own(self, id_: str, day: date) -> list[Row]:
        page: list[Any] = await anext(self._pages(day, id_), [])
        return [_row_of(entity) for entity in page]

    async def _read_bucket(self, id_: str, day: date) -> list[Row]:
        found: list[Row] = []
        pages = 0
        async for page in self._pages(day, _bucket(id_)):
            found += [row for entity in page for row in _rows_in(entity, id_)]
            pages += 1
            if pages == BUCKET_PAGES:
                break
        return found

    def _pages(self, day: date, first: str) -> AsyncIterator[list[Any]]:
        """The rows of the table whose keys begin so."""
        query = "PartitionKey eq @lines and RowKey gt @low and RowKey lt @high"
        return self._table(day).pages(query, {"lines": PARTITION, "low": f"{first}|", "high": f"{first}}}"})

    def _table(self, day: date) -> Table:
        if day not in self._tables:
            self._tables[day] = self._account.table(self._name(day))
        return self._tables[day]

    def _name(self, day: date) -> str:
        return f"{self._prefix}{day:%Y%m%d}"


def _entity(row: Row) -> dict[str, Any]:
    return {"PartitionKey": PARTITION, "RowKey": f"{row.id}|{_countdown(row)}|{row.own}", "Line": row.text}


def _packs(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """These rows by their buckets, as many together as a row of the table takes."""
    packs: dict[str, list[str]] = {}
    lengths: dict[str, int] = {}
    for row in rows:
        line = f"{row.id} {_milliseconds(row)} {row.own} {row.text}\n"
        bucket = _bucket(row.id)
        pack, length = packs.setdefault(bucket, []), lengths.get(bucket, 0) + len(line)
        if len(pack) == PACK_LINES or (pack and length > PACK_LENGTH):
            yield _pack(bucket, pack)
            pack = packs[bucket] = []
            length = len(line)
        pack.append(line)
        lengths[bucket] = length
    for bucket, pack in packs.items():
        yield _pack(bucket, pack)


def _pack(bucket: str, lines: Sequence[str]) -> dict[str, Any]:
    """A row of the table, which counts down to the newest of these lines."""
    newest = max(int(line.split(" ", 2)[1]) for line in lines)
    key = f"{bucket}|{_END - newest:013d}|{token_hex(4)}"
    return {"PartitionKey": PARTITION, "RowKey": key, "Lines": "".join(lines)}


def _rows_in(entity: Any, id_: str) -> list[Row]:
    """The lines of a record in a pack."""
    lines = [line for line in str(entity["Lines"]).split("\n") if line.startswith(f"{id_} ")]
    parts = [line.split(" ", 3) for line in lines]
    return [Row(id_, _moment(int(milliseconds)), text, own) for _, milliseconds, own, text in parts]


def _row_of(entity: Any) -> Row:
    id_, down, own = entity["RowKey"].split("|")
    return Row(id_, _moment(_END - int(down)), entity["Line"], own)


def _bucket(id_: str) -> str:
    """GUIDs of Dynamics have much in common, so a checksum tells them apart."""
    return f"~{crc32(id_.encode()) % BUCKETS:02d}"


def _countdown(row: Row) -> str:
    return f"{_END - _milliseconds(row):013d}"


def _milliseconds(row: Row) -> int:
    return round(row.at.timestamp() * 1000)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
