"""What happened to a record and when: kept for some days beside what is written anyway, and never needed to sync.

A line is what one invocation, or one act of an operator, did with one record: its events, each of a closed set, with
names, codes and ids. No value of a column is in it. It is one row of Table Storage (shared/azure/history_tables.py).
What an operator did that is about no single record, such as pausing a queue, is a line of the "record" AT_LARGE.
This module is pure; shared/sync/history_log.py writes and reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from ..azure.history_tables import Row
from ..model.record import timestamp

#: The id under which acts are kept that concern no single record; their lines have no table.
AT_LARGE = "operators"


class What(StrEnum):
    """Everything that can happen to a record, what operators do that concerns many, and what people read of it."""

    text: str

    def __new__(cls, name: str, text: str) -> What:
        """As it is stored, with its text."""
        member = str.__new__(cls, name)
        member._value_, member.text = name, text
        return member

    RECEIVED = "received", "received"
    RELEASED = "released", "released: what it waited for is there, or will not come"
    PARKED = "parked", "parked"
    CREATED = "created", "created in Marketo"
    UPDATED = "updated", "updated in Marketo"
    ADOPTED = "adopted", "went on as a person that Marketo had"
    CONTINUED = "continued", "its contact went on as its person in Marketo"
    UNCHANGED = "unchanged", "Marketo had it already"
    COVERED = "covered", "covered: a later read of its row was sent a moment before"
    SKIPPED = "skipped", "not sent"
    RETRIED = "retried", "to be tried again"
    DEAD_LETTERED = "dead_lettered", "became a dead letter"
    DELETED = "deleted", "deleted in Marketo"
    FLAGGED = "flagged", "flagged as deleted in Marketo"
    UNLINKED = "unlinked", "unlinked in Marketo"
    MERGED = "merged", "its row was merged into another one"
    TOOK_OVER = "took_over", "another row was merged into it"
    LEFT_BEHIND = "left_behind", "its person in Marketo went to another row, for this one was deleted"
    ROLE_DELETED = "role_deleted", "a role of it was deleted in Marketo"
    MERGED_IN_MARKETO = "merged_in_marketo", "another person was merged into its person, by hand in Marketo"
    WRITTEN_BACK = "written_back", "Sales Insight's fields were written back to Dynamics"
    NOT_WRITTEN_BACK = "not_written_back", "Dynamics refused Sales Insight's fields"
    RESYNC = "resync", "sent to be synced again"
    REPLAY = "replay", "its dead letter was replayed"
    DISCARD = "discard", "its dead letter was discarded"
    LINK = "link", "linked to a person of Marketo"
    LET_GO = "let_go", "its deletion was released from the brake"
    QUEUE_PAUSED = "queue_paused", "queue paused"
    QUEUE_RESUMED = "queue_resumed", "queue resumed"
    RUN_STARTED = "run_started", "run started"
    RUN_PAUSED = "run_paused", "run paused"
    RUN_RESUMED = "run_resumed", "run resumed"
    RUN_CANCELLED = "run_cancelled", "run cancelled"


#: What is known of it: a phrase for each of its facts.
PHRASES: dict[str, str] = {
    "via": "by {}",
    "operation": "{}",
    "since": "in the queue since {}",
    "requested": "asked for by a record that waits for it",
    "replays": "after replay {}",
    "waits_for": "waits for {}",
    "marketo_id": "Marketo id {}",
    "found_by": "found by {}",
    "from_row": "from {}",
    "into": "into {}",
    "into_marketo_id": "Marketo id {}",
    "gone_marketo_ids": "gone are Marketo ids {}",
    "action": "its record in Marketo was {}",
    "reason": "{}",
    "code": "{}",
    "system": "said by {}",
    "after": "in {} s",
    "attempt": "counted tries: {}",
    "only": "only the fields {}",
    "left_out": "without the fields {}",
    "without": "without the links to {}",
    "columns": "columns {}",
    "queue": "{}",
    "kind": "{}",
    "tables": "of {}",
    "place": "in the {}",
}
Facts = Mapping[str, Any]
#: Made once: making it costs as much as what it encodes.
_ENCODER = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `what`: a What, or the name of one that a newer version knows. `facts`: names, codes and
    ids, by the names of PHRASES.

    `entity`: as which the record was synced, where that is not its table's own: an opportunity stands for its roles.
    `request_id`: Marketo's, or the Dataverse call's. `run`: of which initial sync or the like it was a part. `by`: the
    operator whose act it was.
    """

    at: datetime
    table: str
    id: str
    what: str
    facts: Facts = field(default_factory=dict)
    entity: str = ""
    correlation_id: str = ""
    request_id: str = ""
    run: str = ""
    by: str = ""

    @property
    def text(self) -> str:
        """A sentence for people, without the time."""
        head = next((what.text for what in What if what == self.what), self.what)
        told = [PHRASES[name].format(_words(value)) for name, value in self.facts.items() if name in PHRASES]
        roles = "roles: " if self.entity and self.entity != self.table else ""
        return f"{roles}{head}{'; ' if ': ' in head else ': '}{'; '.join(told)}" if told else f"{roles}{head}"

    def as_json(self) -> dict[str, Any]:
        """For `--json` and the console's pages; what is empty is there as well."""
        return {
            "at": timestamp(self.at), "what": self.what, "text": self.text, "table": self.table, "id": self.id,
            "facts": dict(self.facts), "correlation_id": self.correlation_id, "request_id": self.request_id,
            "run": self.run, "by": self.by,
        }  # fmt: skip


#: What happened to a record in one invocation: all of it but `what` and `facts` is the same.
Line = Sequence[Event]


def row_of(line: Line) -> Row:
    """A line as it is stored; what is empty is left out."""
    first = line[0]
    more = {"entity": first.entity, "correlation": first.correlation_id, "request": first.request_id}
    more |= {"run": first.run, "by": first.by}
    steps = [{"what": event.what, **event.facts} for event in line]
    value = {"table": first.table, "steps": steps, **{name: text for name, text in more.items() if text}}
    return Row(first.id, first.at, _ENCODER.encode(value))


def events_of(rows: Iterable[Row]) -> list[Event]:
    """The events of these rows, the oldest first. A row that cannot be read is left out."""
    return [event for row in sorted(rows, key=lambda row: row.at) for event in _events(row)]


def _events(row: Row) -> Iterator[Event]:
    try:
        value = json.loads(row.text)
        table, steps = str(value["table"]), [dict(step) for step in value["steps"]]
        whats = [str(step.pop("what")) for step in steps]
    except (ValueError, TypeError, KeyError):
        return
    more = [str(value.get(name, "")) for name in ("entity", "correlation", "request", "run", "by")]
    for what, facts in zip(whats, steps, strict=True):
        yield Event(row.at, table, row.id, what, facts, *more)


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
