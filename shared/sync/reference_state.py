"""What the processes of the app tell each other about reference data, in the shared state.

A notification that one process handles does not reach what the others keep. So two numbers stand in one row that
everybody looks at before using what is kept: `rows` goes up when a user, a team or a role has changed in what matters,
`schema` when an operator has looked at both sides' schema. Beside them stands what was last acted upon: an edit that
changes nothing that matters costs nothing.

=============  ==============================  ==================================================================
PartitionKey   RowKey                          Value
=============  ==============================  ==================================================================
``reference``  ``version``                     {"rows": number, "schema": number}
``reference``  ``<table>|<id>``                facts of a user, team or role, see sync/dependants.py
``reference``  ``unseen``                      {"at": time} when rows that could not be seen were asked for last
``unseen``     ``<entity set>|<bucket>``       {"ids": [id, …]} of them, see shared/sync/unseen.py
``hidden``     entity set                      {"rows": number, "first": id, "at": time} of rows that cannot be seen
``labels``     ``<table>|<column>|<lcid>``     {"<value>": "<label>"} of a choice column, see sync/renamed_labels.py
``relabel``    ``<table>|<column>|<value>``    rows with a renamed choice that are still to be sent: {"next": path}
=============  ==============================  ==================================================================
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..azure.errors import best_effort
from ..azure.shared_state import State, Value
from ..model.record import timestamp

log = logging.getLogger(__name__)

KIND = "reference"
VERSION = "version"
#: Rows that others refer to and that the sync user cannot see, by entity set.
HIDDEN = "hidden"
#: Nobody waits longer for storage: without an answer, what is kept does not count.
STORAGE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Versions:
    """How often reference rows, and the schema of either side, have changed so far."""

    rows: int = 0
    schema: int = 0


async def always_the_same() -> Versions:
    """For a process that shares nothing with others."""
    return Versions()


@dataclass(frozen=True)
class ReferenceState:
    """The rows of kind `reference`. Raises StorageUnavailableError when storage does not answer, but for `versions`."""

    state: State

    async def versions(self) -> Versions | None:
        """The present versions; None when storage does not answer. One request."""
        async with best_effort(STORAGE_SECONDS, log, "reference_versions_unknown"):
            value = await self.state.read(KIND, VERSION)
            return Versions(_number(value, "rows"), _number(value, "schema"))
        return None

    async def renew(self, what: str) -> None:
        """Let every process read `what` (rows or schema) anew before it uses it again."""
        await self.state.change(KIND, VERSION, lambda value: {**value, what: _number(value, what) + 1})

    async def hidden(self, entity_set: str, ids: Sequence[str]) -> None:
        """Note for `msisync doctor` that rows which others refer to cannot be seen. Without storage the log must do."""
        note = {"rows": len(ids), "first": ids[0], "at": timestamp(datetime.now(UTC))}
        async with best_effort(STORAGE_SECONDS, log, "hidden_not_noted"):
            await self.state.put(HIDDEN, entity_set, note)

    async def facts(self, table: str, id_: str) -> Value:
        """What was last acted upon for this row; empty when nothing ever was."""
        return await self.state.read(KIND, f"{table}|{id_}")

    async def acted(self, table: str, id_: str, facts: Mapping[str, Any]) -> None:
        """These facts have been acted upon."""
        await self.state.change(KIND, f"{table}|{id_}", lambda value: None if value == facts else facts)


def _number(value: Value, name: str) -> int:
    given = value.get(name, 0)
    return given if isinstance(given, int) else 0
