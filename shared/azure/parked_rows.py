"""The rows of the table of parked records, as values: a record that waits, and the note of a parent. Pure.

==================  ============================  ==============================================================
PartitionKey        RowKey                        columns
==================  ============================  ==============================================================
``company``         ``<parent>|<table>|<id>``     a parked record: Entity, Since, LinkedLater, Trace, Record (JSON);
                                                  Run and the columns of `_STAYS`, which stay when another record
                                                  of the same row is parked there, and knows nothing of them;
                                                  for version 0.1.0: FirstSeen, Correlation, Attempt, Requested
``company``         ``!<parent>``                 a parent's note: Table, State, Since, NextCheck, Checks, Unasked,
                                                  and where it will not come: Code, Reason, Skipped, GivenUp
==================  ============================  ==============================================================
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from ..model.outcome import Parent, WillNotCome
from ..model.record import Record, as_json, from_json
from ..model.safe_text import redacted

#: What a record is to do beside syncing its row, by column: each is written where it is so, and never taken back.
_STAYS = {"FilterChanged": "filter_changed", "Deciding": "deciding", "Forced": "forced", "WriteBack": "write_back"}
#: The columns that an outline needs.
OUTLINE = ("RowKey", "Entity", "Since", "LinkedLater")
#: Longest reason that a note keeps.
REASON_LENGTH = 300


class NoteState(StrEnum):
    """What is known of a parent that is waited for."""

    UNASKED = "unasked"  #: nobody has asked for it, or its children are being sent on: who waits must ask
    ASKING = "asking"  #: somebody is about to request its sync, or was killed while about to: the timer finds out
    ASKED = "asked"  #: its sync was requested and has not ended yet
    WILL_NOT_COME = "will not come"  #: its sync has ended, and it is not in Marketo; see `Note.cause`


@dataclass(frozen=True, slots=True)
class Parked:
    """A record that waits for `parent`; `entity` is its own. `trace`: the span that parked it.

    `linked_later`: it is in Marketo without the link, and is only to be sent again when the parent is there.
    """

    parent: Parent
    entity: str
    record: Record
    etag: str = ""
    trace: str = ""
    linked_later: bool = False

    @property
    def row_key(self) -> str:
        """Where its row lies among the children of its parent."""
        return f"{self.parent.id}|{self.record.table}|{self.record.id}"


@dataclass(frozen=True, slots=True)
class Outline:
    """Of a parked record only whose it is and since when it waits: for counting many of them."""

    parent_id: str
    entity: str
    since: datetime | None
    linked_later: bool


@dataclass(frozen=True, slots=True)
class Note:
    """A parent that is waited for. `since`: its oldest child's wait; `checks`: looks of the timer so far.

    `cause` is there in the state WILL_NOT_COME.
    """

    parent: Parent
    since: datetime
    next_check: datetime
    checks: int = 0
    state: NoteState = NoteState.ASKED
    cause: WillNotCome | None = None
    etag: str = ""


@dataclass(slots=True)
class ParkedCount:
    """Records of one entity that wait for parents: how many by the parents' entity, and the age of the oldest.

    `linked_later`: links, by the parents' entity, without which records are in Marketo until the parents come.
    """

    by_parent: dict[str, int] = field(default_factory=dict)
    oldest: datetime | None = None
    linked_later: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """All that wait."""
        return sum(self.by_parent.values())

    def add(self, parent: str, waits: Outline) -> None:
        """One more record that waits for a parent of this entity."""
        counts = self.linked_later if waits.linked_later else self.by_parent
        counts[parent] = counts.get(parent, 0) + 1
        if waits.since and not waits.linked_later:
            self.oldest = min(self.oldest or waits.since, waits.since)


def note_key(parent: Parent) -> dict[str, str]:
    """Where the note of a parent lies."""
    return {"PartitionKey": parent.entity, "RowKey": f"!{parent.id}"}


def first_note(parent: Parent, next_check: datetime) -> dict[str, Any]:
    """What whoever parks writes of a parent: of one that has a note already, the state stays."""
    return {**note_key(parent), "Table": parent.table, "Unasked": next_check}


def note_row(note: Note) -> dict[str, Any]:
    """The row of a note."""
    cause = note.cause
    return {
        **note_key(note.parent),
        "Table": note.parent.table,
        "State": str(note.state),
        "Since": note.since,
        "NextCheck": note.next_check,
        "Unasked": note.next_check,  # what was parked meanwhile needs no look of its own
        "Checks": note.checks,
        "Code": cause.code if cause else "",
        "Reason": redacted(cause.message)[:REASON_LENGTH] if cause else "",
        "Skipped": bool(cause and cause.skipped),
        "GivenUp": cause.since if cause else note.since,
    }


def note_of(row: Any) -> Note:
    """The note of a row; `etag` where the row comes from the table."""
    parent = Parent(row["PartitionKey"], row["Table"], row["RowKey"][1:])
    next_check = utc(row.get("NextCheck") or row["Unasked"])  # who was killed before asking has noted no more
    since = utc(row.get("Since", next_check))
    # A note without a state is one that only `first_note` has written, or of a version before there were states.
    earlier = NoteState.UNASKED if row.get("Leaving", True) else NoteState.ASKED
    state = NoteState(row["State"]) if row.get("State") else earlier
    cause = None
    if state is NoteState.WILL_NOT_COME:
        cause = WillNotCome(row["Code"], row["Reason"], utc(row["GivenUp"]), row["Skipped"])
    etag = getattr(row, "metadata", {}).get("etag", "")
    return Note(parent, since, next_check, row.get("Checks", 0), state, cause, etag)


def child_row(child: Parked) -> dict[str, Any]:
    """The row of a parked record: since when it waits has a column, and what only this try knows of it is not kept."""
    kept = replace(child.record, parked_since=None, released=False, collected=False, absent=0, last_seen=None, run="")
    return {
        **({"Run": child.record.run} if child.record.run else {}),
        **{column: True for column, name in _STAYS.items() if getattr(child.record, name)},
        **({} if child.record.additive else {"Compares": True}),
        "PartitionKey": child.parent.entity,
        "RowKey": child.row_key,
        "Entity": child.entity,
        "Since": child.record.parked_since,
        "LinkedLater": child.linked_later,
        "Trace": child.trace,
        "Record": json.dumps(as_json(kept)),
        # Version 0.1.0 cannot read a row without these: it may still be running, or be deployed again.
        "FirstSeen": kept.first_seen,
        "Correlation": kept.correlation_id,
        "Attempt": kept.attempt,
        "Requested": kept.requested,
    }


def child_of(parent: Parent, row: Any) -> Parked:
    """The parked record of a row that comes from the table."""
    kept = from_json(json.loads(row["Record"])) if row.get("Record") else _earlier_record(row)
    stays: dict[str, Any] = {name: getattr(kept, name) or row.get(column, False) for column, name in _STAYS.items()}
    additive = kept.additive and not row.get("Compares", False)
    record = replace(kept, parked_since=utc(row["Since"]), run=row.get("Run", ""), additive=additive, **stays)
    linked_later = row.get("LinkedLater", False)
    return Parked(parent, row["Entity"], record, row.metadata["etag"], row.get("Trace", ""), linked_later)


def outline_of(row: Any) -> Outline:
    """The outline of a row that has the columns of OUTLINE at least."""
    since = utc(row["Since"]) if row.get("Since") else None
    return Outline(row["RowKey"].partition("|")[0], row["Entity"], since, bool(row.get("LinkedLater")))


def _earlier_record(row: Any) -> Record:
    """Of a version that had a column for each fact."""
    _, table, id_ = row["RowKey"].split("|")
    return Record(
        table,
        id_,
        utc(row["FirstSeen"]),
        correlation_id=row["Correlation"],
        attempt=row["Attempt"],
        requested=row["Requested"],
        filter_changed=row.get("FilterChanged", False),
        deciding=row.get("Deciding", False),
        forced=row.get("Forced", False),
        replays=row.get("Replays", 0),
        write_back=row.get("WriteBack", False),
    )


def utc(moment: datetime) -> datetime:
    """An aware moment: the SDK of Table Storage leaves the zone out at times."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
