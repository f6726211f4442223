"""What the history says of records that came in, and of what became of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ..model.entities import TABLES, Entity
from ..model.outcome import (
    QUALIFIED,
    SAME_ADDRESS,
    Deferred,
    Failed,
    Merged,
    Outcome,
    Parent,
    Removed,
    Retry,
    Skipped,
    Synced,
)
from ..model.record import Record, timestamp
from .history import Event, Line, What
from .storms import COVERED

#: Names of a list that are kept.
MOST_NAMES = 20
#: A change that has been in the queue for so long says since when.
LONG_IN_QUEUE = timedelta(minutes=1)
#: Retries that say nothing about the record: the other system, storage or another process keeps all of them waiting.
_OF_ALL = frozenset({"CircuitOpen", "OutOfTime", "InFlight", "StorageAway", "LeaseHeld", "LeaseLost"})
_STATUSES = {"created": What.CREATED, "updated": What.UPDATED, "adopted": What.ADOPTED, "covered": What.COVERED}
_FOUND_BY = {QUALIFIED: "Qualify", SAME_ADDRESS: "its e-mail address"}
_REMOVED = {"deleted": What.DELETED, "flagged": What.FLAGGED, "unlinked": What.UNLINKED}
_Told = tuple[What, dict[str, Any]]


def received(records: Iterable[Record], at: datetime, via: str = "notification") -> Iterator[Line]:
    """Changes that came in; `via`: how, for people."""
    for record in records:
        facts: dict[str, Any] = {"via": via}
        if record.operation == "delete":
            facts["operation"] = "deletion"
        if at - record.first_seen >= LONG_IN_QUEUE:
            facts["since"] = timestamp(record.first_seen)
        yield [Event(at, record.table, record.id, What.RECEIVED, facts, correlation_id=record.correlation_id)]


def settled(entity: Entity, outcomes: Iterable[tuple[Record, Outcome]], at: datetime) -> Iterator[Line]:
    """What became of the records of an invocation, as it was carried out; and what it means for other rows."""
    for record, outcome in outcomes:
        told = _told(record, outcome)
        if told is None:
            continue
        event = Event(
            at, record.table, record.id, *told, "" if _is_own(record.table, entity) else entity.name,
            record.correlation_id, getattr(outcome, "request_id", ""), record.run,
        )  # fmt: skip
        yield [replace(event, what=What.RELEASED, facts={}), event] if record.released else [event]
        yield from _of_others(record, outcome, at)


def _told(record: Record, outcome: Outcome) -> _Told | None:
    """What an outcome says; None for what comes again without having been looked at."""
    told = _TOLD[type(outcome)](record, outcome) if type(outcome) in _TOLD else None
    if told is None:
        return None
    what, facts = told
    asked: dict[str, Any] = {"requested": True} if record.requested else {}
    if record.replays:
        asked["replays"] = record.replays
    return what, {**asked, **{name: value for name, value in facts.items() if value not in ("", 0, [])}}


def _synced(record: Record, outcome: Synced) -> _Told:
    if outcome == COVERED:
        return What.COVERED, {}
    return _STATUSES.get(outcome.status, What.UNCHANGED), {
        "marketo_id": outcome.marketo_id,
        "found_by": _FOUND_BY.get(outcome.found_by, ""),
        "from_row": _row(outcome.continues) if outcome.continues else "",
        "only": _few(record.fields),
        "left_out": _few([f"{each.field} ({each.code})" for each in outcome.left_out]),
        "without": _rows(outcome.without),
    }


def _merged(_: Record, outcome: Merged) -> _Told:
    facts = {"into": _row(outcome.winner), "action": outcome.action, "marketo_id": outcome.marketo_id}
    return What.MERGED, {**facts, "into_marketo_id": outcome.into_marketo_id}


def _removed(_: Record, outcome: Removed) -> _Told:
    what = _REMOVED.get(outcome.action, What.DELETED)
    return what, {"marketo_id": outcome.marketo_id, "reason": outcome.reason}


def _retried(record: Record, outcome: Retry) -> _Told | None:
    if outcome.code in _OF_ALL and not outcome.counted:
        return None
    tries = record.attempt + 1 if outcome.counted else 0
    return What.RETRIED, {"code": outcome.code, "after": round(outcome.after), "attempt": tries}


def _failed(record: Record, outcome: Failed) -> _Told:
    return What.DEAD_LETTERED, {"code": outcome.code, "system": outcome.source, "attempt": record.attempt + 1}


_TOLD: dict[type, Callable[[Record, Any], _Told | None]] = {
    Synced: _synced,
    Merged: _merged,
    Skipped: lambda _, outcome: (What.SKIPPED, {"reason": outcome.reason}),
    Removed: _removed,
    Deferred: lambda _, outcome: (What.PARKED, {"waits_for": _rows(outcome.parents)}),
    Retry: _retried,
    Failed: _failed,
}


def _of_others(record: Record, outcome: Outcome, at: datetime) -> Iterator[Line]:
    """What an outcome says about the other row that it concerns."""
    if isinstance(outcome, Merged):
        winner = outcome.winner
        facts: dict[str, Any] = {"from_row": f"{record.table} {record.id}", "action": outcome.action}
        if outcome.into_marketo_id:
            facts["marketo_id"] = outcome.into_marketo_id
        yield [Event(at, winner.table, winner.id, What.TOOK_OVER, facts)]
    if isinstance(outcome, Synced) and outcome.continues:
        before = outcome.continues
        what = What.CONTINUED if outcome.found_by == QUALIFIED else What.LEFT_BEHIND
        facts = {"into": f"{record.table} {record.id}"}
        yield [Event(at, before.table, before.id, what, facts)]


def _is_own(table: str, entity: Entity) -> bool:
    return table in TABLES and TABLES[table][0] is entity


def _row(parent: Parent) -> str:
    return f"{parent.table} {parent.id}"


def _rows(parents: Sequence[Parent]) -> list[str]:
    return _few([_row(parent) for parent in parents])


def _few(names: Sequence[str]) -> list[str]:
    more = len(names) - MOST_NAMES
    return [*names[:MOST_NAMES], f"and {more} more"] if more > 0 else list(names)
