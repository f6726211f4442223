"""What the engine works on: candidates on their way to Marketo, and the batch that collects the decisions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from ..marketo.client import Write
from ..model.entities import Entity
from ..model.errors import MsiSyncError
from ..model.outcome import LeftOut, Outcome, Parent, WillNotCome, of_company, of_error
from ..model.record import Record
from ..model.vendor_text import kind_of_value
from .lease import Sending
from .marketo_cache import Known
from .matches import Match
from .scheduling import AT_ONCE, Windows

T = TypeVar("T")
#: Marketo's code for a value that it does not take.
INVALID_VALUE = "1003"


@dataclass(slots=True)
class Candidate:
    """A record on its way to Marketo. `records` are all that stand for it: a connection has two mirrored rows.

    `id_fields` hold the row's own id. `left_out` are the fields that are not sent, each with the
    reason of the mapping or of Marketo. `company_fields`, in lower case, are those that a person has of its company.
    `unlinked` are parents that are not in Marketo, without which it goes for now. `clears_refused`: the policy of
    sync.toml for a value that Marketo refuses. `is_as_made`: its row has not been changed since it was made.
    `only_if_there`: without what cannot be seen of it, it may be updated and not created.
    `write`: how it is sent; None: it is to be found out first whether Marketo has the person under another name.
    `origin`: of a contact, the lead that it was qualified from. `is_history`: of a lead, that it was qualified.
    `winner`: the row that goes on in its place, after a merge, or after Qualify into a contact that was there.
    `marketo_id`: of the person that it adopts; `found_by` and `continues` as in Synced. `is_absent`: Marketo has no
    person with its key. `matches`: the persons with its e-mail address, once they have been looked for. `is_part`: it
    has some fields only, and is not created.
    """

    records: list[Record]
    fields: dict[str, Any] = field(repr=False)  # values of the row
    parents: dict[str, Parent | None]
    id_fields: tuple[str, ...] = ()
    key: str = ""
    body: bytes = field(default=b"", repr=False)
    left_out: list[LeftOut] = field(default_factory=list)
    unlinked: tuple[Parent, ...] = ()
    company_fields: frozenset[str] = frozenset()
    clears_refused: bool = False
    is_as_made: bool = False
    only_if_there: bool = False
    write: Write | None = Write.UPSERT
    origin: str = ""
    winner: Parent | None = None
    is_history: bool = False
    marketo_id: int = 0
    found_by: str = ""
    continues: Parent | None = None
    is_absent: bool = False
    matches: list[Match] | None = None
    is_part: bool = False

    @property
    def since(self) -> datetime:
        """When its oldest change was first seen."""
        return min(record.first_seen for record in self.records)

    @property
    def forced(self) -> bool:
        """Whether an operator wants it sent even if nothing has changed."""
        return any(record.forced for record in self.records)

    @property
    def content(self) -> bytes:
        """The record as it is sent."""
        return b'{"id":%d,%b' % (self.marketo_id, self.body[1:]) if self.write is Write.BY_ID else self.body

    def missing(self, known: Known, *, still: float = 0.0) -> list[Parent]:
        """The parents that will not be known to be in Marketo in `still` seconds."""
        return [p for p in self.parents.values() if p and known.id_of(p.entity, p.id, still=still) is None]

    @property
    def was_looked_for(self) -> bool:
        """Whether Marketo has been asked for the person."""
        return self.is_absent or self.matches is not None or self.write is Write.BY_ID

    def unlink(self, parent: Parent) -> None:
        """Do without this parent."""
        self.parents = {field: None if p == parent else p for field, p in self.parents.items()}

    def go_without(self, parents: Collection[Parent]) -> None:
        """Leave the links to these parents as they are in Marketo: their fields are not sent."""
        self.unlinked += tuple(parent for parent in parents if parent not in self.unlinked)
        self.parents = {field: p for field, p in self.parents.items() if p not in parents}

    def keep_only(self, names: Collection[str]) -> None:
        """Leave all in Marketo as it is but these fields, the links too, and create nothing. No names: all is sent."""
        if not names:
            return
        wanted = {name.lower() for name in (*names, *self.id_fields)}
        self.fields = {name: value for name, value in self.fields.items() if name.lower() in wanted}
        self.left_out = [each for each in self.left_out if each.field.lower() in wanted]
        self.parents = {}
        self.is_part, self.only_if_there = True, False

    @property
    def has_company_fields(self) -> bool:
        """Whether it holds fields of a company, not yet encoded."""
        return any(name.lower() in self.company_fields for name in self.fields)

    def leave_to_company(self) -> None:
        """Take out what Marketo takes through the company of a linked person alone (1021, marketo.md 5.3)."""
        for name in [name for name in self.fields if name.lower() in self.company_fields]:
            if self.fields.pop(name) is not None:
                self.left_out.append(of_company(name))

    def without(self, refused: Collection[str], entity: Entity, code: str, reason: str) -> bool:
        """Take fields that Marketo refuses out of the encoded record; false when they are not in it, or must stay.

        A value that is refused (not a field as such) is cleared where that is the policy.
        """
        fields = json.loads(self.body)
        stay = {*entity.dedupe_fields, *entity.essential, *(link.field for link in entity.links), *self.id_fields}
        names = {name.lower() for name in refused}
        gone = [name for name in fields if name.lower() in names and name not in stay]
        noted = {each.field for each in self.left_out}
        for name in gone:
            value = fields.pop(name)
            if value is not None and name not in noted:
                self.left_out.append(LeftOut(name, code, reason, _value_class(value)))
            if value is not None and self.clears_refused and code == INVALID_VALUE:
                fields[name] = None  # should that be refused as well, it goes
        self._write(fields)
        return bool(gone)

    def encode(self, entity: Entity, known: Known) -> None:
        """Complete the Marketo record with its relations, in Marketo's terms; all parents must be known."""
        for link in entity.links:
            parent = self.parents.get(link.field)
            if parent:
                self.fields[link.field] = known.id_of(parent.entity, parent.id) if link.by_id else parent.id
            elif link.clears and link.field in self.parents:
                self.fields[link.field] = None
        self.key = self.records[0].id if entity.key else "|".join(str(self.fields[n]) for n in entity.dedupe_fields)
        self._write(self.fields)
        self.fields = {}

    def _write(self, fields: dict[str, Any]) -> None:
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        self.body = text.encode(errors="replace")  # half an emoji is no reason to lose the record


def _value_class(value: Any) -> str:
    if isinstance(value, bool):
        return "yes or no"
    return kind_of_value(value) if isinstance(value, str) else "a number"


@dataclass(slots=True)
class Batch:
    """The records of one invocation and what has been decided so far. `causes`: why parents will not come.
    `created`: when the rows were made, outside of bursts. `gone`: records without a row, not decided yet.
    `merged`: of records whose rows were merged away, the rows that go on in their place.
    `opportunities`: those that the rows of roles are a part of.
    `versions`: in which version each row was read, 0 where it is gone.

    `newcomers`: persons that Marketo turned out not to have by their key. `taken`: persons of Marketo that are adopted
    by records of this batch: they are no longer free, whatever Marketo has said before.
    `elsewhere`: what Marketo said to a call without any of them, if that was asked (`asked`) and did not go well.
    """

    entity: Entity
    deadline: float
    open: dict[tuple[str, str], Record]
    sending: Sending
    windows: Windows = AT_ONCE
    outcomes: list[tuple[Record, Outcome]] = field(default_factory=list)
    causes: dict[Parent, WillNotCome] = field(default_factory=dict)
    created: dict[tuple[str, str], datetime] = field(default_factory=dict)
    gone: list[Record] = field(default_factory=list)
    merged: dict[tuple[str, str], Parent] = field(default_factory=dict)
    newcomers: list[Candidate] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)
    opportunities: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    versions: dict[tuple[str, str], int] = field(default_factory=dict)
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    asked: bool = False
    elsewhere: MsiSyncError | None = None

    def decide(self, records: Iterable[Record], outcome: Outcome) -> None:
        """Settle the fate of these records; the first decision stands."""
        for record in records:
            if self.open.pop(record.key, None):
                self.outcomes.append((record, outcome))

    def replace(self, records: Iterable[Record], outcome: Outcome) -> None:
        """Decide otherwise about these records, which have been decided."""
        keys = {record.key for record in records}
        self.outcomes = [(r, outcome if r.key in keys else decided) for r, decided in self.outcomes]

    async def guard(self, records: list[Record], work: Awaitable[T]) -> T | None:
        """Do `work`; when a vendor refuses it, that decides these records and nothing else."""
        try:
            return await work
        except MsiSyncError as error:
            self.decide(records, of_error(error))
            return None
