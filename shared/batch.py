"""What the engine works on: candidates on their way to Marketo, and the batch that collects the decisions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.entities import Entity
from shared.known import Known
from shared.outcomes import Outcome, Parent
from shared.records import Record


@dataclass(slots=True)
class Candidate:
    """A record on its way to Marketo. `records` are all that stand for it: a connection has two mirrored rows."""

    records: list[Record]
    fields: dict[str, Any]
    parents: dict[str, Parent | None]
    key: str = ""
    body: bytes = b""
    digest: bytes = b""

    @property
    def since(self) -> datetime:
        """When its oldest change was first seen."""
        return min(record.first_seen for record in self.records)

    def missing(self, known: Known) -> list[Parent]:
        """The parents that are not known to be in Marketo."""
        return [p for p in self.parents.values() if p and known.id_of(p.entity, p.id) is None]

    def encode(self, entity: Entity, known: Known) -> None:
        """Complete the Marketo record with its relations, in Marketo's terms; all parents must be known."""
        for link in entity.links:
            parent = self.parents.get(link.field)
            if parent:
                self.fields[link.field] = known.id_of(parent.entity, parent.id) if link.by_id else parent.id
            elif link.clears:
                self.fields[link.field] = None
        if entity.key:
            self.fields[entity.key] = self.records[0].id
        self.key = "|".join(str(self.fields[name]) for name in entity.dedupe_fields)
        text = json.dumps(self.fields, ensure_ascii=False, separators=(",", ":"))
        self.body = text.encode(errors="replace")  # half an emoji is no reason to lose the record
        self.digest = hashlib.blake2b(self.body, digest_size=8).digest()
        self.fields = {}


@dataclass(slots=True)
class Batch:
    """The records of one invocation and what has been decided so far."""

    entity: Entity
    deadline: float
    open: dict[tuple[str, str], Record]
    outcomes: list[tuple[Record, Outcome]] = field(default_factory=list)

    def decide(self, records: Iterable[Record], outcome: Outcome) -> None:
        """Settle the fate of these records; the first decision stands."""
        for record in records:
            if self.open.pop(record.key, None):
                self.outcomes.append((record, outcome))
