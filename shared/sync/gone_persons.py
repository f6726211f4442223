"""Persons that are gone from Marketo by somebody's hand, told to the processes that remember them by Marketo's id.

The write-back reads of merges and deletions. The function that sends opportunity roles, in processes of its own,
remembers persons for hours, and a role needs Marketo's id of its person. So it looks at one row of the shared state
before each batch. It spares refused calls: without it Marketo refuses such a role once (1004), and the person is looked
up again.

The row `gone` / `persons` is {"count": how many were told so far, "ids": the last of them}.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..azure.errors import best_effort
from ..azure.shared_state import State
from ..model.entities import PERSON
from .marketo_cache import Known

log = logging.getLogger(__name__)

KIND, ROW = "gone", "persons"
#: Ids in the row: who has missed more of them forgets all persons.
KEPT = 1_000
#: Seconds that a batch spends on learning.
PATIENCE_SECONDS = 3.0


async def tell(state: State, ids: Collection[int]) -> None:
    """These persons are gone, or got another one's id. Told twice, it does no harm. Raises StorageUnavailableError."""

    def with_these(value: Mapping[str, Any]) -> dict[str, Any]:
        kept = [*value.get("ids", []), *sorted(ids)][-KEPT:]
        return {"count": value.get("count", 0) + len(ids), "ids": kept}

    if ids:
        await state.change(KIND, ROW, with_these)


@dataclass
class GonePersons:
    """What one process has learned of it."""

    state: State
    known: Known
    _count: int = field(default=0, init=False)

    async def learn(self) -> None:
        """Forget the persons that were told since the last time. Raises nothing. One request to storage."""
        async with best_effort(PATIENCE_SECONDS, log, "gone_persons_unknown"):
            value = await self.state.read(KIND, ROW)
            ids, count = value.get("ids", []), value.get("count", 0)
            missed, self._count = count - self._count, count
            if 0 < missed <= len(ids):
                self.known.forget_ids(PERSON.name, frozenset(ids[-missed:]))
            elif missed:
                self.known.forget_all(PERSON.name)
