"""What operators have done in the console: who, what and with which result, in the table that the instances share.

A row is `action` / `<time, so that the newest is first>-<random>`::

    {"at": "2026-03-04T12:00:00.000Z", "by": "ann", "what": "Replay 12 dead letters", "ended": "…", "state": "ok",
     "text": "12 replayed"}

It is written before an action begins and again when it has ended: one without an end is running, or its process died.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from secrets import token_hex

from ...azure.errors import storage_within
from ...azure.shared_state import State, dumped, parsed
from ...model.record import Stamp
from ..finding import Finding

KIND = "action"
KEPT = timedelta(days=90)
#: Seconds that storage may take.
PATIENCE_SECONDS = 10.0
#: Names of rows fall while time goes on.
_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Entry:
    """One action. `state` is a Severity, empty while it has not ended."""

    at: Stamp
    by: str
    what: str
    ended: Stamp | None = None
    state: str = ""
    text: str = ""


def name_of(at: datetime) -> str:
    """A new name for an action that begins now; of two, the later one is the lesser."""
    return f"{(_END_OF_TIME - at) // timedelta(milliseconds=1):015d}-{token_hex(8)}"


async def write(state: State, name: str, entry: Entry) -> None:
    """Note an action. Raises StorageUnavailableError."""
    async with storage_within(PATIENCE_SECONDS):
        await state.put(KIND, name, dumped(entry))


async def read(state: State, name: str) -> Entry | None:
    """The action with this name, if there is one. Raises StorageUnavailableError."""
    async with storage_within(PATIENCE_SECONDS):
        return parsed(Entry, await state.read(KIND, name))


async def newest(state: State, number: int) -> dict[str, Entry]:
    """The last actions by name, the newest first. Raises StorageUnavailableError."""
    found: dict[str, Entry] = {}
    async with storage_within(PATIENCE_SECONDS):
        async for name, value in state.all(KIND):
            if entry := parsed(Entry, value):
                found[name] = entry
            if len(found) == number:
                break
    return found


async def prune(state: State, now: datetime) -> None:
    """Remove what is older than KEPT. Raises StorageUnavailableError."""
    async with storage_within(PATIENCE_SECONDS):
        old = [name async for name, _ in state.all(KIND, first=name_of(now - KEPT))]
        await state.remove_all(KIND, old)


def ended(entry: Entry, at: datetime, outcome: Finding) -> Entry:
    """The entry of an action that has ended."""
    return replace(entry, ended=at, state=outcome.severity.value, text=outcome.text)
