"""Whether what a dead letter tells of has been synced since, as the history knows: then there is nothing to replay."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import TypeVar

from ...azure.errors import storage_within
from ...azure.table import some_at_a_time
from ...model.entities import TABLES
from ...sync.history import Event, What, events_of
from ..context import Context
from .letter import Facts

#: What says that Marketo has a row as it was then, or what has become of its record there.
_SYNCED = frozenset(
    {
        What.CREATED, What.UPDATED, What.ADOPTED, What.UNCHANGED, What.COVERED, What.DELETED, What.FLAGGED,
        What.UNLINKED, What.MERGED,
    }
)  # fmt: skip
#: The same of Sales Insight's fields on their way back.
_WRITTEN_BACK = frozenset({What.WRITTEN_BACK})
#: Rows of one letter that are looked up; of one with more of them nothing is said.
MOST_ROWS = 20
#: Letters that are looked up together, and seconds that this may take.
AT_ONCE, PATIENCE_SECONDS = 50, 30.0

L = TypeVar("L", bound=Facts)


def synced_since(letter: Facts, events: Iterable[Event]) -> datetime | None:
    """When the last of its rows was synced after it became a dead letter; None where one was not, as far as is known.

    What was synced partly, without fields that Marketo refuses, is synced. Of what has roles compared nothing is said:
    the history knows that a role was sent, but not that the old ones were deleted.
    """
    if letter.compares:
        return None
    wanted = _WRITTEN_BACK if letter.is_write_back else _SYNCED
    last: dict[str, datetime] = {}
    for event in events:
        if event.what in wanted and (letter.since is None or event.at > letter.since) and _is_same(letter, event):
            last[event.id] = max(event.at, last.get(event.id, event.at))
    ids = [id_ for _, id_ in letter.ids]
    return max(last.values()) if ids and all(id_ in last for id_ in ids) else None


def _is_same(letter: Facts, event: Event) -> bool:
    """Whether an event is about the entity of the letter: an opportunity stands for its roles as well."""
    own = TABLES[event.table][0].name if event.table in TABLES else ""
    return (event.entity or own) == letter.entity


async def look_up(context: Context, letters: Sequence[L], found: Callable[[L, datetime | None], None]) -> None:
    """Tell of each of these letters when its rows were synced since. Raises StorageUnavailableError.

    Costs a request to storage, and for each row one for each day since.
    """
    async with storage_within(PATIENCE_SECONDS):
        kept = await context.history_tables.days() if context.settings.storage.history_days else []
    for first in range(0, len(letters), AT_ONCE):
        async with storage_within(PATIENCE_SECONDS):
            part = letters[first : first + AT_ONCE]
            events = await some_at_a_time(_events(context, letter, kept) for letter in part)
        for letter, of_letter in zip(part, events, strict=True):
            found(letter, synced_since(letter, of_letter))


async def _events(context: Context, letter: Facts, kept: Collection[date]) -> list[Event]:
    if not 0 < len(letter.ids) <= MOST_ROWS:
        return []
    first = (letter.since - timedelta(minutes=1)).date() if letter.since else date.min
    days = [day for day in kept if day >= first]
    rows = [row for _, id_ in letter.ids for row in await context.history_tables.read(id_, days)]
    return events_of(rows)
