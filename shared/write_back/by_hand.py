"""What somebody does in Marketo by hand: persons that are merged or deleted there (lifecycle.md 6).

Marketo names the persons by its own ids. Of a merge, one is left: its row is synced again, with the roles that need the
new id. Of a deletion nobody knows whose person it was. As with the native connector, the row's next change creates a
new one; where sync.toml wants it at once, the sweep looks for rows without a person.

What is done here is done before the cursor of the activities is stored: after a crash it is done once more.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import Any

from ..azure.service_bus import Outgoing
from ..config.settings import QueueSettings
from ..model.record import Record
from ..sync.history import What
from ..sync.history_log import History, nothing_kept
from ..sync.routing import messages_of
from .plan import PERSON
from .rows import Rows

log = logging.getLogger(__name__)

#: Marketo's ids of deleted persons that the log names.
NAMED = 100


@dataclass(frozen=True)
class ByHand:
    """Acts on it. `tables`: lead and contact, as far as they are synced. `creates`: so are rows without a person."""

    rows: Rows
    send: Callable[[Sequence[Outgoing]], Awaitable[None]]
    queues: QueueSettings
    _: KW_ONLY
    tables: Sequence[str]
    creates: bool
    now: Callable[[], datetime]
    history: History = field(default_factory=nothing_kept)

    @staticmethod
    def gone(deleted: Collection[str]) -> None:
        """The persons with these of Marketo's ids were deleted."""
        if deleted:
            named = ",".join(sorted(deleted, key=int)[:NAMED])
            log.info("deleted_in_marketo persons=%d marketo_ids=%s", len(deleted), named)

    async def merged(
        self, ids: Mapping[str, Collection[str]], persons: Mapping[str, Mapping[str, Any]], deadline: float
    ) -> None:
        """Others were merged into the persons with these of Marketo's ids: `ids` has theirs.

        `persons`: by the GUID in their key.
        """
        left = {guid: person["id"] for guid, person in persons.items() if str(person["id"]) in ids}
        found = await self.rows.find(left, dict.fromkeys(self.tables, ()), deadline) if left else {}
        for table, guid in found:
            log.info("merged_in_marketo table=%s id=%s marketo_id=%s", table, guid, left[guid])
        # Their children follow: the roles of a person have its id.
        await self._sync(Record(table, guid, self.now(), filter_changed=True) for table, guid in found)
        for table, guid in found:
            gone = sorted(ids[str(left[guid])], key=int)[:NAMED]
            self.history.happened(What.MERGED_IN_MARKETO, [(table, guid)], marketo_id=left[guid], gone_marketo_ids=gone)

    async def missing(self, table: str, ids: Sequence[str]) -> None:
        """These rows have no person."""
        await self._sync(Record(table, id_, self.now()) for id_ in ids)

    async def _sync(self, records: Iterable[Record]) -> None:
        await self.send(messages_of(self.queues, PERSON.name, list(records)))
