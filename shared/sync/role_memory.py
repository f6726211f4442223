"""The opportunities of connections and legacy roles, as change tracking told of them last.

Of a row that was deleted, change tracking gives the id alone. Its role in Marketo is found through its opportunity, so
that is kept: `role_of` / `<table>|<id>` → {"opportunities": ["<id>", …]} in the shared state. Rows that have nothing to
do with an opportunity are not kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ..azure.shared_state import State

KIND = "role_of"
#: Rows that are read at a time.
READERS = 16


@dataclass
class RoleMemory:
    """The rows as one process reads and writes them. Raises StorageUnavailableError."""

    state: State
    _readers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(READERS), init=False)

    async def keep(self, table: str, opportunities: Mapping[str, Sequence[str]]) -> None:
        """Remember the opportunities of these rows, by id. One request for 100."""
        rows = {f"{table}|{id_}": {"opportunities": list(of)} for id_, of in opportunities.items() if of}
        if rows:
            await self.state.put_all(KIND, rows)

    async def of(self, table: str, ids: Collection[str]) -> dict[str, list[str]]:
        """The opportunities of those of these rows that are remembered. One request for each."""

        async def read(id_: str) -> tuple[str, list[str]]:
            async with self._readers:
                value = await self.state.read(KIND, f"{table}|{id_}")
            return id_, [str(of) for of in value.get("opportunities", ())]

        return {id_: found for id_, found in await asyncio.gather(*map(read, ids)) if found}

    async def forget(self, table: str, ids: Collection[str]) -> None:
        """These rows are gone."""
        if ids:
            await self.state.remove_all(KIND, [f"{table}|{id_}" for id_ in ids])
