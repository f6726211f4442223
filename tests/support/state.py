"""The state that all processes share, in memory; for what is about etags and requests, see local/virtual.py."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from shared.model.errors import StorageUnavailableError


class SharedState:
    """Rows by kind and name. `storage_away`: none is read or written."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], dict[str, Any]] = {}
        self.storage_away = False
        self.requests = 0

    def _reach(self) -> None:
        self.requests += 1
        if self.storage_away:
            raise StorageUnavailableError("ServiceRequestError")

    async def read(self, kind: str, name: str) -> dict[str, Any]:
        """Return a row; nothing where there is none."""
        self._reach()
        return self.stored.get((kind, name), {})

    async def all(self, kind: str, *, first: str = "", last: str = "~") -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield the rows of a kind within these names, with their names and in their order."""
        self._reach()
        for (of, name), value in sorted(self.stored.items(), key=lambda row: row[0]):
            if of == kind and first <= name <= last:
                yield name, value

    async def put(self, kind: str, name: str, value: Mapping[str, Any]) -> None:
        """Write a row."""
        self._reach()
        self.stored[kind, name] = dict(value)

    async def change(
        self, kind: str, name: str, change: Callable[[dict[str, Any]], Mapping[str, Any] | None]
    ) -> dict[str, Any]:
        """Write what `change` makes of a row, unless it makes nothing of it."""
        self._reach()
        value = change(self.stored.get((kind, name), {}))
        if value is not None:
            self.stored[kind, name] = dict(value)
        return dict(value or {})

    async def remove(self, kind: str, name: str) -> None:
        """Delete a row."""
        self._reach()
        self.stored.pop((kind, name), None)
