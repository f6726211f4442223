"""What the console keeps of dead letters in memory: Service Bus gives them in order only, and finds nothing itself.

Of each letter the facts that a page filters, groups and shows: some 300 bytes, and none of its body. All of them are
read through as `msisync dead-letters list` reads them, again when that is a while ago, and after each action.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from ....config.settings import QueueSettings
from ....model.safe_text import redacted
from ....sync.routing import Refusal
from ...context import Context
from ...dead_letters.letter import DeadLetter, Rows, address
from ...dead_letters.look import filters, look
from ...dead_letters.resend import refusal
from ...dead_letters.text import cut
from ...peek import Place
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
class Note:
    """The facts of one dead letter (Facts of dead_letters/letter.py); of many rows, all have the first one's table.

    `refusal`: why nobody would understand it if it were replayed. `synced`: when its row was synced after it had become
    a dead letter, as far as that was looked up (`is_checked`). `is_gone`: the console has moved it since it was read.
    """

    place: Place
    number: int
    since: datetime | None
    code: str
    reason: str
    system: str
    source_queue: str
    entity: str
    table: str
    row_ids: bytes
    replays: int
    is_write_back: bool
    refusal: Refusal | None
    synced: datetime | None = None
    is_checked: bool = False
    is_gone: bool = False

    @property
    def ids(self) -> Rows:
        """The rows that it names: (table, id)."""
        ids = self.row_ids
        return tuple((self.table, str(UUID(bytes=ids[at : at + 16]))) for at in range(0, len(ids), 16))

    @property
    def address(self) -> str:
        """What `msisync dead-letters show` takes."""
        return address(self.place, self.number)

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
        self._last: dict[Place, list[Note]] = {}  # in the order in which they lie there

    async def look(self) -> Index:
        """Read them. Raises QueueUnavailable when Service Bus does not answer."""
        index = Index(datetime.now(UTC))
        known = {place: _Known(notes) for place, notes in self._last.items()}
        read: dict[Place, list[Note]] = {}
        noted = Noting(self._context.settings.queues)

        def take(letter: DeadLetter) -> None:
            if len(index.notes) == MOST:
                raise _EnoughError
            before = known.get(letter.place)
            note = before.of(letter) if before else None
            note = note or noted.of(letter)
            index.notes.append(note)
            read.setdefault(letter.place, []).append(note)

        try:
            index.unseen = await look(self._context, filters(), take)
        except _EnoughError:
            index.more = True
        # In a thread: of 100,000, it takes a tenth of a second, in which no page would be served.
        await asyncio.to_thread(index.notes.sort, key=lambda note: (note.came, note.number), reverse=True)
        self._last = read
        return index


class _Known:
    """The notes of a place, each asked for once and in the order of their numbers, as letters come: no search."""

    def __init__(self, notes: list[Note]) -> None:
        self._left = notes[::-1]

    def of(self, letter: DeadLetter) -> Note | None:
        """The note of a letter, if that is still the same one and has not been moved since."""
        while self._left and self._left[-1].number < letter.number:
            self._left.pop()
        if not self._left or self._left[-1].number != letter.number:
            return None
        note = self._left.pop()
        return note if note.since == letter.since and not note.is_gone else None


class Noting:
    """Makes notes of letters. What many of them have in common is kept once."""

    def __init__(self, queues: QueueSettings) -> None:
        self._queues = queues
        self._texts: dict[str, str] = {}
        self._refusals: dict[Refusal, Refusal] = {}

    def of(self, letter: DeadLetter) -> Note:
        """The facts of a letter."""
        once: Callable[[str], str] = lambda text: self._texts.setdefault(text, text)  # noqa: E731
        refused = refusal(letter, self._queues)
        return Note(
            letter.place,
            letter.number,
            letter.since,
            once(letter.code),
            once(cut(redacted(letter.reason), REASON)),
            once(letter.system),
            once(letter.source_queue),
            once(letter.entity),
            once(letter.ids[0][0] if letter.ids else ""),
            b"".join(UUID(id_).bytes for _, id_ in letter.ids if _is_uuid(id_)),
            letter.replays,
            letter.is_write_back,
            self._refusals.setdefault(refused, refused) if refused else None,
        )


def _is_uuid(text: str) -> bool:
    """Other text is nobody's id: of a message that this app has not written."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True
