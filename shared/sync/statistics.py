"""What became of records, by entity and hour, for `msisync status`: kept in storage, and never needed to sync.

A row is `counts` / `<hour>|<entity>` (hour in UTC, as 2026-03-04T12) with, for each of `WHATS`, numbers by the minute
in which a slot of five minutes began, and the hour's last error::

    {"synced": {"0": 300, "55": 2}, "failed": {"55": 1},
     "error": {"code": "1003", "message": …, "at": …, "table": "lead", "id": …, "final": true},
     "hot": {"lead|…": 412}}

`hot`: rows that changed again a moment after they were sent (shared/sync/storms.py), and about how often.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from ..azure.errors import best_effort
from ..azure.shared_state import State, Value
from ..model.outcome import Deferred, Failed, Later, Merged, Outcome, Removed, Retry, Skipped, Synced
from ..model.record import Record, timestamp
from ..model.safe_text import plain, redacted
from .left_out_rows import kept
from .storms import TOO_SOON

log = logging.getLogger(__name__)

KIND = "counts"
#: Synced records that somebody should look at, for a field was left out; they are counted as synced as well.
LEFT_OUT = "left_out"
#: What is counted, by the outcome; what comes again within its burst is counted when it is decided.
WHATS: dict[type, str] = {
    Synced: "synced", Removed: "removed", Skipped: "skipped", Merged: "skipped", Deferred: "parked",
    Retry: "retried", Failed: "failed",
}  # fmt: skip
SLOT_MINUTES = 5
KEPT = timedelta(hours=48)
#: Longest text of an error that is kept.
MESSAGE_LENGTH = 300
#: The hottest rows that are kept of an hour, and those of which this process keeps the number meanwhile.
HOTTEST, WARM = 5, 1_000
#: Seconds that an invocation spends on its counts, and how long they are kept in memory after a failure.
PATIENCE_SECONDS = 3.0
AGAIN_AFTER = timedelta(seconds=60)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass
class Counts:
    """Counts what this process has done. What storage could not take costs a line of the log and is written later."""

    state: State
    _: KW_ONLY
    now: Callable[[], datetime]
    _unwritten: dict[str, Value] = field(default_factory=dict, init=False)
    _again: datetime = field(default=_NEVER, init=False)
    _pruned: datetime = field(default=_NEVER, init=False)

    async def add(self, entity: str, outcomes: Sequence[tuple[Record, Outcome]]) -> None:
        """Count these outcomes, as they were carried out. Raises nothing."""
        now = self.now()
        found = [(record, outcome) for record, outcome in outcomes if is_counted(outcome)]
        too_soon = (record for record, outcome in outcomes if isinstance(outcome, Later) and outcome.reason == TOO_SOON)
        hot = [f"{record.table}|{record.id}" for record in too_soon]
        if not (found or hot):
            return
        minute, added = str(_slot(now).minute), dict[str, Any]()
        for record, outcome in found:
            incomplete = [LEFT_OUT] if isinstance(outcome, Synced) and kept(outcome) else []
            for what in (WHATS[type(outcome)], *incomplete):
                added.setdefault(what, Counter())[minute] += 1
            if isinstance(outcome, Retry | Failed):
                added["error"] = _error(record, outcome, now)
        name = row_name(now, entity)
        self._unwritten[name] = _merged(self._unwritten.get(name, {}), {**added, "hot": Counter(hot)}, WARM)
        if found:  # what is hot alone is written with the next one that counts
            await self._try_to_write()

    async def tend(self) -> None:
        """The timer's part: write what could not be written, and remove what is old. Raises nothing."""
        await self._try_to_write(prune=self.now() - self._pruned >= timedelta(hours=1))

    async def _try_to_write(self, *, prune: bool = False) -> None:
        if self.now() < self._again:
            return
        async with best_effort(PATIENCE_SECONDS, log, "counts_not_written"):
            await self._write()
            if prune:
                await self._prune()
            return
        self._again = self.now() + AGAIN_AFTER

    async def _write(self) -> None:
        for name, hour in list(self._unwritten.items()):
            del self._unwritten[name]  # what is counted meanwhile begins anew
            try:
                await self.state.change(KIND, name, partial(_merged, newer=hour, hot=HOTTEST))
            except BaseException:
                self._unwritten[name] = _merged(hour, self._unwritten.get(name, {}), WARM)
                raise

    async def _prune(self) -> None:
        oldest = row_name(self.now() - KEPT, "")
        self._unwritten = {name: hour for name, hour in self._unwritten.items() if name >= oldest}
        for name in [name async for name, _ in self.state.all(KIND) if name < oldest]:
            await self.state.remove(KIND, name)
        self._pruned = self.now()


def _merged(older: Value, newer: Value, hot: int) -> Value:
    """Two values of one hour together, with so many of the hottest rows."""
    merged: Value = {}
    for what in {**older, **newer}:
        before, after = older.get(what) or {}, newer.get(what) or {}
        if what == "error":
            merged[what] = after if after.get("at", "") >= before.get("at", "") else before
        else:
            counts = Counter(before) + Counter(after)
            merged[what] = dict(counts.most_common(hot if what == "hot" else None))
    return {what: found for what, found in merged.items() if found}


def row_name(moment: datetime, entity: str) -> str:
    """The row of an entity in the hour of a moment."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H}|{entity}"


def totals(rows: Mapping[str, Value], entity: str, since: datetime) -> dict[str, int]:
    """How often each of `WHATS` (and LEFT_OUT) has happened to an entity since then, to the slot of five minutes."""
    found = dict.fromkeys([*WHATS.values(), LEFT_OUT], 0)
    for hour, value in _hours(rows, entity):
        start = datetime.fromisoformat(f"{hour}:00:00+00:00")
        for what in found:
            slots = value.get(what, {}).items()
            found[what] += sum(n for minute, n in slots if start + timedelta(minutes=int(minute)) >= _slot(since))
    return found


def series(
    rows: Mapping[str, Value], entity: str, *, until: datetime, step: timedelta, number: int, what: str = "synced"
) -> list[int]:
    """How often one of `WHATS` has happened to an entity in each of so many steps up to the slot of `until`.

    A step is some slots of five minutes long.
    """
    first = _slot(until) + timedelta(minutes=SLOT_MINUTES) - number * step
    found = [0] * number
    for hour, value in _hours(rows, entity):
        start = datetime.fromisoformat(f"{hour}:00:00+00:00")
        for minute, n in value.get(what, {}).items():
            place = (start + timedelta(minutes=int(minute)) - first) // step
            if 0 <= place < number:
                found[place] += n
    return found


def last_error(rows: Mapping[str, Value], entity: str) -> dict[str, Any] | None:
    """The newest error of an entity in these rows."""
    errors = [value["error"] for _, value in _hours(rows, entity) if value.get("error")]
    return max(errors, key=lambda error: str(error["at"]), default=None)


def hottest(rows: Mapping[str, Value], entity: str, since: datetime) -> dict[tuple[str, str], int]:
    """Rows of an entity (table, id) that were changed too often in the hours since then, and how often about."""
    first, found = row_name(since, ""), Counter[str]()
    for hour, value in _hours(rows, entity):
        if f"{hour}|" >= first:
            found.update(value.get("hot", {}))
    return {(row.partition("|")[0], row.partition("|")[2]): number for row, number in found.most_common(HOTTEST)}


def _hours(rows: Mapping[str, Value], entity: str) -> Iterator[tuple[str, Value]]:
    """The rows of an entity, by hour."""
    for name, value in rows.items():
        hour, _, of = name.partition("|")
        if of == entity:
            yield hour, value


def is_counted(outcome: Outcome) -> bool:
    """Whether it is an end, or a wait that somebody should know of."""
    if isinstance(outcome, Retry) and not outcome.after:
        return False  # goes on in the next invocation
    return type(outcome) in WHATS


def _error(record: Record, outcome: Retry | Failed, now: datetime) -> dict[str, Any]:
    return {
        "code": outcome.code,
        "message": plain(redacted(outcome.message))[:MESSAGE_LENGTH],
        "at": timestamp(now),
        "table": record.table,
        "id": record.id,
        "final": isinstance(outcome, Failed),
    }


def _slot(moment: datetime) -> datetime:
    return moment.replace(minute=moment.minute // SLOT_MINUTES * SLOT_MINUTES, second=0, microsecond=0)
