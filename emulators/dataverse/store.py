"""Rows in memory, kept as they are served, with undo for transactions and an index of who refers to whom."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from emulators.dataverse.columns import LOOKUP_TABLE, Column, Table
from emulators.dataverse.tables import TABLES

Row = dict[str, Any]
Reference = tuple[str, str, str]  # table, id and lookup column of the row that refers

# Nobody deletes users, business units and currencies, and nearly every row refers to them.
_UNINDEXED = {"systemuser", "team", "businessunit", "transactioncurrency"}
_INDEXED: dict[str, tuple[Column, ...]] = {
    table.name: tuple(column for column in table.lookups if not set(column.targets) <= _UNINDEXED)
    for table in TABLES.values()
}
FIRST_VERSION = 5_900_000


class Store:
    """All rows by table and id. A row is never changed in place: a write replaces it."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Row]] = {name: {} for name in TABLES}
        #: The schema as clients see it; a switch can take columns away.
        self.tables: Mapping[str, Table] = TABLES
        #: Ids of rows that the caller's security role does not show; a switch sets them.
        self.hidden_rows: frozenset[str] = frozenset()
        self.version = FIRST_VERSION
        #: By table and id, the versions at which rows were deleted: what change tracking tells of them.
        self.deleted: dict[str, dict[str, int]] = {name: {} for name, table in TABLES.items() if table.change_tracking}
        self._referrers: dict[str, set[Reference]] = {}

    def get(self, table: str, row_id: str) -> Row | None:
        """The row, or None."""
        return self.rows[table].get(row_id) if table in self.rows else None

    def name_of(self, table: str | None, row_id: str) -> str | None:
        """The primary name of a row, as formatted values of lookups show it."""
        row = self.get(table, row_id) if table else None
        return None if row is None or table is None else row.get(TABLES[table].primary_name)

    def put(self, table: str, row_id: str, row: Row) -> None:
        """Keep the row under the next version. Dataverse: the number grows with every write in the database."""
        self.version += 1
        row["versionnumber"] = self.version
        self.restore(table, row_id, row)

    def remove(self, table: str, row_id: str) -> None:
        """Take the row away."""
        self.version += 1
        self.restore(table, row_id, None, self.version)

    def restore(self, table: str, row_id: str, row: Row | None, deleted: int | None = None) -> None:
        """Bring an earlier row back, or its absence and since which version it is `deleted`, without a new version."""
        self._swap(table, row_id, row)
        marks = self.deleted.get(table, {})
        if deleted is None:
            marks.pop(row_id, None)
        else:
            marks[row_id] = deleted

    def deletion(self, table: str, row_id: str) -> int | None:
        """The version at which a row was deleted."""
        return self.deleted.get(table, {}).get(row_id)

    def referrers(self, row_id: str) -> Iterator[Reference]:
        """Every lookup that names the row."""
        yield from sorted(self._referrers.get(row_id, ()))

    def clear(self) -> None:
        """Forget every row; versions go on growing."""
        for rows in self.rows.values():
            rows.clear()
        for marks in self.deleted.values():
            marks.clear()
        self._referrers.clear()

    def _swap(self, table: str, row_id: str, row: Row | None) -> None:
        rows = self.rows[table]
        before = rows.get(row_id)
        for column in _INDEXED[table]:
            old = before.get(column.key) if before is not None else None
            new = row.get(column.key) if row is not None else None
            if old != new:
                reference = (table, row_id, column.name)
                if old is not None:
                    self._referrers[old].discard(reference)
                if new is not None:
                    self._referrers.setdefault(new, set()).add(reference)
        if row is None:
            del rows[row_id]
        else:
            rows[row_id] = row


@dataclass(kw_only=True)
class Change:
    """One event for the steps: what happened to which row.

    `columns` are the logical names that the request included, plus what the platform derived from them. `row` is the
    row afterwards (before a delete), `before` the row as it was.
    """

    message: str
    table: str
    id: str
    row: Row
    before: Row | None = None
    columns: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    output: dict[str, Any] = field(default_factory=dict)


class Transaction:
    """The writes of one request: undone together, and announced together."""

    def __init__(
        self, store: Store, *, user: str, now: str, tag: str | None = None, bypass: frozenset[str] = frozenset()
    ) -> None:
        self.store = store
        self.user = user
        self.now = now
        self.tag = tag
        self.bypass = bypass  # steps to leave out: ids, or CustomSync and CustomAsync
        self.changes: list[Change] = []
        self._journal: list[tuple[str, str, Row | None, int | None]] = []

    def put(self, table: str, row_id: str, row: Row) -> None:
        """Write a row."""
        self._note(table, row_id)
        self.store.put(table, row_id, row)

    def remove(self, table: str, row_id: str) -> None:
        """Delete a row."""
        self._note(table, row_id)
        self.store.remove(table, row_id)

    def rollback(self) -> None:
        """Undo every write, last first, and forget the changes."""
        self._undo()
        self._journal.clear()
        self.changes.clear()

    @asynccontextmanager
    async def uncommitted(self) -> AsyncIterator[None]:
        """Nobody else sees the writes meanwhile: what a synchronous step does, it does before the commit."""
        store = self.store
        keys = {(table, row_id) for table, row_id, *_ in self._journal}
        after = {key: (store.get(*key), store.deletion(*key)) for key in keys}
        self._undo()
        try:
            yield
        finally:
            for (table, row_id), (row, deleted) in after.items():
                if row is not None or store.get(table, row_id) is not None:
                    store.restore(table, row_id, row, deleted)

    def _note(self, table: str, row_id: str) -> None:
        """Keep what is there before a write."""
        self._journal.append((table, row_id, self.store.get(table, row_id), self.store.deletion(table, row_id)))

    def _undo(self) -> None:
        for table, row_id, before, deleted in reversed(self._journal):
            if before is not None or self.store.get(table, row_id) is not None:
                self.store.restore(table, row_id, before, deleted)


def lookup_value(column: Column, table: str | None, row_id: str | None) -> Row:
    """The stored form of a reference: the id, and beside it the table it leads to."""
    return {column.key: row_id, column.key + LOOKUP_TABLE: table if row_id is not None else None}
