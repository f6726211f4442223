"""Keeps a row that changes again and again from costing a call for each change.

A row that this process has sent a moment ago waits before it is sent again: the longer, the more often it was sent
lately. Its changes meanwhile come again together, and those that reached the broker before the rows of a stored batch
were read are covered by it. Only changes that still have to be told to the row's children wait once more instead.

What is covered is decided by times of the broker alone: that of the change (`Record.last_seen`), and the newest one of
the messages after whose arrival the row was read. A row that was not stored covers nothing,
nor does one for which nobody has looked for old roles (`additive`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..model.outcome import Failed, Later, Outcome, Retry, Synced
from ..model.record import Record

#: Seconds until a row is sent again, by how often it was sent within LATELY: up to so often, so long.
WAITS = ((4, 3.0), (7, 10.0), (9, 30.0))
LONGEST_WAIT = 60.0
LATELY = 600.0
#: Waits are rounded up to so many seconds: rows with the same wait share messages.
GRAIN = 0.5
#: Times that are kept of each row: of more of them, each gives the longest wait.
MOST_TIMES = 10
#: Rows that are remembered, those that were sent last. Another one costs a call and is never wrong.
MAX_ROWS = 20_000
#: Stamps of two queues may come from different nodes of the broker, whose clocks agree to less than this.
MARGIN = timedelta(seconds=2)
COVERED = Synced("covered")
#: Why a record comes later.
TOO_SOON = "SentAMomentAgo"


@dataclass(frozen=True, slots=True)
class _Row:
    """`sent`: when, by the clock of this process, in order.

    `read`: Marketo has what the row was at this time of the broker, or later; None: nobody knows.
    """

    sent: tuple[float, ...]
    read: datetime | None = None


@dataclass(kw_only=True)
class Storms:
    """What this process has sent lately. `clock`: seconds, monotonic."""

    clock: Callable[[], float]
    max_rows: int = MAX_ROWS
    _rows: dict[tuple[str, str], _Row] = field(default_factory=dict, init=False)

    def decide(self, record: Record) -> Outcome | None:
        """What is to become of a record without a call: it is covered, or waits. None: it is to be sent."""
        row = self._rows.get(record.key)
        if row is None or record.last_seen is None or not record.is_plain_change:
            return None
        if row.read and row.read - record.last_seen >= MARGIN and not (record.filter_changed or record.deciding):
            return COVERED
        wait = next((wait for times, wait in WAITS if len(row.sent) <= times), LONGEST_WAIT)
        left = row.sent[-1] + wait - self.clock()
        return Later(TOO_SOON, after=math.ceil(left / GRAIN) * GRAIN) if left > 0 else None

    def note(self, outcomes: Iterable[tuple[Record, Outcome]], read: datetime | None) -> None:
        """Remember what has become of rows that were read after this time of the broker (None: nobody knows)."""
        now = self.clock()
        for record, outcome in outcomes:
            if outcome == COVERED or not _cost_a_call(outcome):
                continue
            row = self._rows.pop(record.key, _Row(()))
            recent = tuple(at for at in row.sent if at > now - LATELY)[1 - MOST_TIMES :]
            is_whole = isinstance(outcome, Synced) and not record.fields
            stored = read if is_whole and not record.additive else None
            known = max((at for at in (row.read, stored) if at), default=None)
            self._rows[record.key] = _Row((*recent, now), known)
        while len(self._rows) > self.max_rows:
            del self._rows[next(iter(self._rows))]


def _cost_a_call(outcome: Outcome) -> bool:
    """Whether Marketo was most likely called for it. A wait after it was not does no harm."""
    return isinstance(outcome, Synced | Failed) or (isinstance(outcome, Retry) and outcome.counted)
