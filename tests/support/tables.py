"""A table of Table Storage in memory, with every column, its queries and its transactions."""

import operator
import re
from ast import literal_eval
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from azure.data.tables import TableEntity

from shared.azure.table import PAGE, TRANSACTION, Row, Step, Table
from shared.model.errors import StorageUnavailableError

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq, "ge": operator.ge, "gt": operator.gt, "le": operator.le, "lt": operator.lt,
}  # fmt: skip
COMPARISON = re.compile(r"(\w+) (eq|ge|gt|le|lt) (@?\w+|'[^']*')")


class Entity(TableEntity):
    """A row as the SDK gives it."""

    def __init__(self, row: Row, version: int) -> None:
        super().__init__(row)
        self._metadata = {"etag": str(version), "timestamp": None}


class FullTable(Table):
    """`away`: no request is answered. `before`: called with each request before it is carried out, and may raise."""

    def __init__(self, before: Callable[[str], None] = lambda _: None) -> None:
        self.rows: dict[tuple[str, str], tuple[dict[str, Any], int]] = {}
        self.away = False
        self.before = before
        self._version = 0

    async def get(
        self, partition: str, key: str, *, answered: Callable[[datetime], None] | None = None
    ) -> TableEntity | None:
        """Return a row."""
        del answered
        self._reach("get")
        found = self.rows.get((partition, key))
        return Entity(*found) if found else None

    async def pages(
        self, query: str, parameters: Mapping[str, Any], *, select: Sequence[str] | None = None
    ) -> AsyncIterator[list[Any]]:
        """Yield what a query finds, by pages, with the columns that were asked for."""
        self._reach("pages")
        found = [
            Entity({name: value for name, value in row.items() if not select or name in select}, version)
            for _, (row, version) in sorted(self.rows.items())
            if _matches(query, parameters, row)
        ]
        for start in range(0, len(found), PAGE):
            yield found[start : start + PAGE]

    async def insert(self, row: Row) -> str:
        """Create a row that is not there."""
        self._reach("insert")
        return "" if _key(row) in self.rows else self._store(row)

    async def upsert(self, row: Row) -> str:
        """Write a row."""
        self._reach("upsert")
        return self._store(row)

    async def update(self, row: Row, etag: str) -> str:
        """Write a row that still has this etag."""
        self._reach("update")
        return self._store(row) if self._is(row, etag) else ""

    async def delete(self, row: Row) -> None:
        """Delete a row."""
        self._reach("delete")
        if self._is(row, row.get("etag")):
            del self.rows[_key(row)]

    async def transact(self, steps: Sequence[Step]) -> list[str] | None:
        """Do all of it or nothing."""
        self._reach("transact")
        assert len(steps) <= TRANSACTION
        assert len({row["PartitionKey"] for _, row in steps}) == 1
        if not all(self._can(operation, row) for operation, row in steps):
            return None
        etags = []
        for operation, row in steps:
            if operation == "delete":
                del self.rows[_key(row)]
            etags.append("" if operation == "delete" else self._store(row))
        return etags

    async def close(self) -> None:
        """Nothing is open."""

    def _can(self, operation: str, row: Row) -> bool:
        if operation == "create":
            return _key(row) not in self.rows
        return operation == "upsert" or self._is(row, row.get("etag"))

    def _is(self, row: Row, etag: str | None) -> bool:
        found = self.rows.get(_key(row))
        return found is not None and etag in (None, "", str(found[1]))

    def _store(self, row: Row) -> str:
        self._version += 1
        known = self.rows.get(_key(row), ({}, 0))[0]
        self.rows[_key(row)] = {**known, **{k: v for k, v in row.items() if k != "etag"}}, self._version
        return str(self._version)

    def _reach(self, what: str) -> None:
        self.before(what)
        if self.away:
            raise StorageUnavailableError("ServiceRequestError")


def _matches(query: str, parameters: Mapping[str, Any], row: Row) -> bool:
    """Evaluate the comparisons of a query, which are joined with and, or and brackets."""

    def holds(match: re.Match[str]) -> str:
        value = parameters[match[3][1:]] if match[3].startswith("@") else literal_eval(match[3])
        return str(match[1] in row and COMPARISONS[match[2]](row[match[1]], value))

    return bool(eval(COMPARISON.sub(holds, query)))  # noqa: S307  (True, False, and, or, brackets)


def _key(row: Row) -> tuple[str, str]:
    return row["PartitionKey"], row["RowKey"]
