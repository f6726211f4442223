"""The opportunities of connections and legacy roles, as change tracking told of them last.

Of a row that was deleted, change tracking gives the id alone. Its role in Marketo is found through its opportunity, so
that is kept: `role_of` / `<table>|<id>` → {"opportunities": ["<id>", …]} in the shared state. Rows that have nothing to
do with an opportunity are not kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ..azure.shared_state import State
from ..azure.table import some_at_a_time

KIND = "role_of"


@dataclass(frozen=True)
class RoleMemory:
    """The rows as one process reads and writes them. Raises StorageUnavailableError."""

    state: State

    async def keep(self, table: str, opportunities: Mapping[str, Sequence[str]]) -> None:
        """Remember the opportunities of these rows, by id. One request for 100."""
        rows = {f"{table}|{id_}": {"opportunities": list(of)} for id_, of in opportunities.items() if of}
        if rows:
            await self.state.put_all(KIND, rows)

    async def of(self, table: str, ids: Collection[str]) -> dict[str, list[str]]:
        """The opportunities of those of these rows that are remembered. One request for each."""
        rows = await some_at_a_time(self.state.read(KIND, f"{table}|{id_}") for id_ in ids)
        found = {id_: [str(of) for of in row.get("opportunities", ())] for id_, row in zip(ids, rows, strict=True)}
        return {id_: opportunities for id_, opportunities in found.items() if opportunities}

    async def forget(self, table: str, ids: Collection[str]) -> None:
        """These rows are gone."""
        if ids:
            await self.state.remove_all(KIND, [f"{table}|{id_}" for id_ in ids])
