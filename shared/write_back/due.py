"""Rows that could not be written: kept until they are, tried again with growing waits, and at last a dead letter.

A row that has become a dead letter is left alone until Marketo has other values for it, or an operator replays it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ..azure.service_bus import Outgoing
from ..azure.shared_state import State, parsed
from ..config.settings import QueueSettings
from ..model.clock import AHEAD
from ..model.codes import Kind
from ..model.dead_letter import MESSAGE_LENGTH
from ..model.errors import VendorError
from ..model.outcome import Failed
from ..model.record import Record, timestamp
from ..sync.scheduling import BACKOFF
from ..sync.settlement import dead_record
from .plan import PERSON
from .rows import Key, Update

log = logging.getLogger(__name__)

#: The kind of the rows of shared/azure/shared_state.py; their name is `<table>|<id>`.
DUE = "write_back_due"
#: Failures that are no row's fault do not use up its attempts. (A transient one of a single row is a lock on it, and a
#: missing right that others have no need of is the row's owner's: what holds for the whole table ends the run.)
_NOT_COUNTED = frozenset({Kind.THROTTLED, Kind.TOKEN, Kind.DAILY})
_UNCOUNTED_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Due:
    """A row that is to be written. `digest`: of the values that were refused; `dead`: it is in dead-letters; `noted`:
    when this was written.
    """

    table: str
    id: str
    code: str
    message: str
    attempts: int
    first_seen: str
    next: str
    digest: str
    dead: bool = False
    replays: int = 0
    noted: str = ""

    def is_ready(self, now: datetime) -> bool:
        """Whether it is time; a wait that a clock far ahead has noted is none."""
        if self.noted > timestamp(now + AHEAD):
            log.error("due_ahead table=%s id=%s: an instance's clock is wrong", self.table, self.id)
            return True
        return self.next <= timestamp(now)

    @property
    def key(self) -> Key:
        """Table and id."""
        return self.table, self.id


@dataclass(slots=True)
class DueRows:
    """All of them, as one run knows them."""

    state: State
    send: Callable[[Sequence[Outgoing]], Awaitable[None]]
    queues: QueueSettings
    _: KW_ONLY
    now: Callable[[], datetime]
    max_attempts: int
    _rows: dict[Key, Due] = field(default_factory=dict, init=False)

    async def load(self) -> None:
        """Read them anew."""
        self._rows = {due.key: due async for due in all_due(self.state)}

    def ready(self) -> list[Due]:
        """Those whose time has come."""
        now = self.now()
        return [due for due in self._rows.values() if not due.dead and due.is_ready(now)]

    def holds(self, update: Update) -> bool:
        """Whether these very values were refused and it is not time to try them again."""
        due = self._rows.get(update.key)
        return due is not None and due.digest == digest(update) and (due.dead or not due.is_ready(self.now()))

    def is_dead(self, key: Key) -> bool:
        """Whether the row is a dead letter, and left alone."""
        return key in self._rows and self._rows[key].dead

    async def done(self, key: Key) -> None:
        """The row has the values, or is gone."""
        if self._rows.pop(key, None):
            await self.state.remove(DUE, _name(key))

    async def failed(self, refused: Sequence[tuple[Update, VendorError]]) -> None:
        """Keep them for later; the last try of a row makes it a dead letter, which is sent first."""
        kept = [self._kept(update, error) for update, error in refused]
        await self.send([self._letter(due) for due in kept if due.dead])
        for due in kept:
            self._rows[due.key] = due
            await self.state.put(DUE, _name(due.key), asdict(due))

    def _kept(self, update: Update, error: VendorError) -> Due:
        before = self._rows.get(update.key)
        now = self.now()
        attempts = before.attempts if before and before.digest == digest(update) and not before.dead else 0
        counted = error.kind not in _NOT_COUNTED
        wait = BACKOFF[min(attempts, len(BACKOFF) - 1)] if counted else _UNCOUNTED_SECONDS
        attempts += counted
        return Due(
            *update.key,
            error.code,
            error.message[:MESSAGE_LENGTH],
            attempts,
            before.first_seen if before else timestamp(now),
            timestamp(now + timedelta(seconds=max(wait, error.retry_after or 0))),
            digest(update),
            dead=counted and attempts >= self.max_attempts,
            replays=before.replays if before else 0,
            noted=timestamp(now),
        )

    def _letter(self, due: Due) -> Outgoing:
        log.warning("dead_letter write_back table=%s id=%s code=%s", due.table, due.id, due.code)
        first_seen = datetime.fromisoformat(due.first_seen)
        record = Record(due.table, due.id, first_seen, write_back=True, replays=due.replays)
        why = Failed(due.code, f"Sales Insight's fields could not be written back: {due.message}", "dataverse")
        return dead_record(self.queues, PERSON.name, record, why, attempts=due.attempts, write_back=True)


async def all_due(state: State) -> AsyncIterator[Due]:
    """Every row that is kept, one after the other."""
    async for _, value in state.all(DUE):
        if due := parsed(Due, value):
            yield due


async def again(state: State, records: Sequence[Record], *, now: Callable[[], datetime]) -> None:
    """An operator has replayed these dead letters: the next run tries them anew."""
    for record in records:

        def fresh(value: Mapping[str, Any], record: Record = record) -> dict[str, Any]:
            first_seen = str(value.get("first_seen") or timestamp(record.first_seen))
            due = Due(*record.key, "Replayed", "", 0, first_seen, timestamp(now()), "", replays=record.replays)
            return asdict(due)

        await state.change(DUE, _name(record.key), fresh)


def digest(update: Update) -> str:
    """Of the values that are to be written."""
    return hashlib.sha256(json.dumps(dict(update.values), sort_keys=True).encode()).hexdigest()[:16]


def _name(key: Key) -> str:
    return "|".join(key)
