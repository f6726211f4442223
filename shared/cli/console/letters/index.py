"""What the console keeps of dead letters in memory: Service Bus gives them in order only, and finds nothing itself.

Of each letter the facts that a page filters, groups and shows: some 420 bytes, and none of its body. All of them are
read through as `msisync dead-letters list` reads them, again when that is a while ago, and after each action.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ....config.settings import QueueSettings
from ....model.ids_and_times import as_guid
from ....model.safe_text import redacted
from ....sync.routing import Refusal
from ...context import Context
from ...dead_letters.letter import DeadLetter, Facts
from ...dead_letters.look import filters, look
from ...dead_letters.resend import refusal
from ...dead_letters.text import cut
from ..latest import Latest
from ..page import Visit

#: Letters that are kept; of more of them, those of the first places.
MOST = 200_000
#: Characters of a reason that are kept.
REASON = 200
#: Seconds after which they are read again, and of a long look so many times as long as it took.
FRESH_SECONDS, FRESH_TIMES = 10.0, 20
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True, eq=False)
class Note(Facts):
    """The facts of one dead letter.

    `refusal`: why nobody would understand it if it were replayed. `synced`: when its row was synced after it had become
    a dead letter, as far as that was looked up. `is_gone`: the console has moved it since it was read.
    """

    refusal: Refusal | None
    synced: datetime | None = None
    is_gone: bool = False

    @property
    def came(self) -> datetime:
        """For comparing."""
        return self.since or _NEVER


@dataclass(slots=True)
class Index:
    """All dead letters, the newest first. `unseen`: places that could not be read. `more`: than are kept."""

    at: datetime
    notes: list[Note] = field(default_factory=list)
    unseen: dict[str, str] = field(default_factory=dict)
    more: bool = False

    @property
    def newest(self) -> datetime:
        """When the newest one came, by the broker's clock."""
        return self.notes[0].came if self.notes else _NEVER

    @property
    def letters(self) -> Iterator[Note]:
        """Those that are there."""
        return (note for note in self.notes if not note.is_gone)


def latest(visit: Visit) -> Latest[Index]:
    """The index of this console: one for all who visit it."""
    return visit.looks.of("dead letters", _Reader(visit.context).look, fresh=FRESH_SECONDS, times=FRESH_TIMES)


class _EnoughError(Exception):
    """No more are kept."""


class _Reader:
    """Reads all dead letters. What is known of one already stays, with what was looked up of it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._last: Sequence[Note] = ()

    async def look(self) -> Index:
        """Read them. Raises QueueUnavailable when Service Bus does not answer."""
        index = Index(datetime.now(UTC))
        known = {(note.place, note.number): note for note in self._last}
        common: dict[Any, Any] = {}

        def take(letter: DeadLetter) -> None:
            if len(index.notes) == MOST:
                raise _EnoughError
            note = known.get((letter.place, letter.number))
            if note is None or note.is_gone or note.since != letter.since:
                note = note_of(letter, self._context.settings.queues, common)
            index.notes.append(note)

        try:
            index.unseen = await look(self._context, filters(), take)
        except _EnoughError:
            index.more = True
        # In a thread: of 100,000, it takes a tenth of a second, in which no page would be served.
        await asyncio.to_thread(index.notes.sort, key=lambda note: (note.came, note.number), reverse=True)
        self._last = index.notes
        return index


def note_of(letter: DeadLetter, queues: QueueSettings, common: dict[Any, Any]) -> Note:
    """The facts of a letter, without ids that are none. What it has in common with others is kept once, in `common`."""

    def once(value: Any) -> Any:
        return common.setdefault(value, value)

    return Note(
        letter.place,
        letter.number,
        letter.since,
        once(letter.code),
        once(cut(redacted(letter.reason), REASON)),
        once(letter.system),
        once(letter.source_queue),
        once(letter.entity),
        tuple((once(table), id_) for table, text in letter.ids if (id_ := as_guid(text))),
        letter.replays,
        is_write_back=letter.is_write_back,
        compares=letter.compares,
        refusal=once(refusal(letter, queues)),
    )
