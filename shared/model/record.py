"""The unit of work, and the message that carries it on an entity queue (contract: docs/messages.md, version 1)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from .errors import MessageError
from .ids_and_times import is_guid, moment

VERSION = 1
#: Record ids in one message. Few messages with many ids: the trigger's converter costs milliseconds per message.
MAX_RECORDS = 100


def timestamp(moment: datetime) -> str:
    """UTC, to the millisecond, as every message and store of this product writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time(value: object) -> datetime:
    found = moment(value)
    if found is None:
        raise ValueError("not a time in ISO 8601 of the years 1900 to 2999")
    return found


def _row_id(value: object) -> str:
    if not isinstance(value, str) or not is_guid(value):
        raise ValueError("not a lower-case GUID")
    return value


#: A time as it is stored.
Stamp = Annotated[datetime, PlainValidator(_time), PlainSerializer(timestamp)]
_Flag = Annotated[bool, Field(strict=True)]
_Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
_Name = Annotated[str, Field(strict=True, max_length=128)]


@dataclass(frozen=True, slots=True)
class Record:
    """A row to be synced: table and id, and what must travel with it between tries.

    `first_seen`: when the oldest change that is not in Marketo yet reached the queue. `last_seen`: when the newest one
    reached the broker, by the broker's own clock; None where that is not known. `attempt`: counted tries so far.
    `requested`: children are parked until this record is in Marketo. `parked_since`: it has itself waited for a parent
    since then. `released`: it has just come back from that. `collected`: it has waited a cycle to fill a call.
    `filter_changed`: a column that decides whether it is synced was written, so its children may lack their link.
    `deciding`: a column was written that decides what is sent of other rows (DECIDING_COLUMNS of model/entities.py).
    `forced`: an operator wants it sent even if nothing has changed. `replays`: times it came back from dead-letters.
    `write_back`: once it is in Marketo, Sales Insight's fields are to be written back, which had been given up.
    `absent`: how often its row was looked for and not there; of a deletion: and still there. `confirmed`: an operator
    has released its deletion from the brake (shared/sync/delete_brake.py). `additive`: nothing that it changes can have
    left an old opportunity role behind in Marketo, because its row is new, or no column of the role was written.
    `compared_only`: the role itself travels in another message; this one only has the roles of its opportunity
    compared. `run`: the page of a run that is to hear what becomes of it (shared/sync/runs/page.py); of what only
    follows from a run's record, the run, whose calls these are. `fields`: only these of Marketo's fields are sent, and
    only to a record that is there; none: all.
    """

    table: _Name
    id: Annotated[str, PlainValidator(_row_id)]
    first_seen: Annotated[Stamp, Field(alias="seen")]
    operation: Annotated[Literal["upsert", "delete"], Field(alias="op")] = "upsert"
    correlation_id: Annotated[_Name, Field(alias="correlation")] = ""
    attempt: _Count = 0
    requested: _Flag = False
    parked_since: Annotated[Stamp | None, Field(alias="parked")] = None
    released: _Flag = False
    collected: _Flag = False
    filter_changed: _Flag = False
    deciding: _Flag = False
    forced: _Flag = False
    replays: _Count = 0
    write_back: _Flag = False
    absent: _Count = 0
    confirmed: _Flag = False
    last_seen: Annotated[Stamp | None, Field(alias="last")] = None
    additive: _Flag = False
    compared_only: _Flag = False
    run: _Name = ""
    fields: tuple[_Name, ...] = ()

    @property
    def is_plain_change(self) -> bool:
        """Whether it only says that a row has changed: nobody waits for it, and nobody asked for it."""
        asked = self.requested or self.released or self.forced or self.replays or self.write_back or self.fields
        return self.operation == "upsert" and not (asked or self.attempt or self.parked_since)

    @property
    def key(self) -> tuple[str, str]:
        """What makes two records the same one."""
        return self.table, self.id

    @property
    def wants_fresh(self) -> bool:
        """Whether somebody has put something right for it: what was kept before does not count."""
        return self.forced or self.replays > 0

    def merge(self, newer: Record) -> Record:
        """Two mentions of one row are one record: the row is read again anyway.

        Any upsert wins over a delete, because reading decides whether the row exists.
        """
        either = {name: getattr(self, name) or getattr(newer, name) for name in _FLAGS}
        waits = [t for t in (self.parked_since, newer.parked_since) if t]
        return replace(
            newer,
            first_seen=min(self.first_seen, newer.first_seen),
            operation="delete" if self.operation == newer.operation == "delete" else "upsert",
            correlation_id=newer.correlation_id or self.correlation_id,
            attempt=min(self.attempt, newer.attempt),
            parked_since=min(waits, default=None),
            replays=max(self.replays, newer.replays),
            absent=min(self.absent, newer.absent),
            additive=self.additive and newer.additive,
            compared_only=self.compared_only and newer.compared_only,
            run=max(self.run, newer.run),  # that of the newest run
            fields=tuple(sorted({*self.fields, *newer.fields})) if self.fields and newer.fields else (),
            last_seen=max(self.last_seen, newer.last_seen) if self.last_seen and newer.last_seen else None,
            **either,
        )


_FLAGS = ("requested", "released", "collected", "filter_changed", "deciding", "forced", "write_back", "confirmed")


def coalesce(records: Iterable[Record]) -> list[Record]:
    """One record per row, in order of first mention."""
    unique: dict[tuple[str, str], Record] = {}
    for record in records:
        known = unique.get(record.key)
        unique[record.key] = known.merge(record) if known else record
    return list(unique.values())


_RECORD = TypeAdapter(Record)
_RECORDS = TypeAdapter(list[Record])
_BURST: TypeAdapter[datetime | None] = TypeAdapter(Stamp | None)


@dataclass(frozen=True, slots=True)
class Work:
    """What a message carries: records, and until when the burst lasts of which they are a part (None: of none)."""

    records: list[Record]
    burst: datetime | None = None


def encode(entity: str, records: Sequence[Record], burst: datetime | None = None) -> bytes:
    """The body of one message for at most `MAX_RECORDS` records. What has its default value is left out."""
    message: dict[str, Any] = {"version": VERSION, "entity": entity, "records": [as_json(r) for r in records]}
    if burst:
        message["burst"] = timestamp(burst)
    return json.dumps(message, separators=(",", ":")).encode()


def as_json(record: Record) -> dict[str, Any]:
    """A record as messages and parked rows have it. What has its default value is left out."""
    found: dict[str, Any] = _RECORD.dump_python(record, by_alias=True, exclude_defaults=True)
    return found


def from_json(value: object) -> Record:
    """The record of `as_json`. Raises ValueError for what is none."""
    return _RECORD.validate_python(value)


def decode(body: bytes, entity: str) -> list[Record]:
    """The records of a message on the queue of `entity`. Raises as `read` does."""
    return read(body, entity).records


def read(body: bytes, entity: str) -> Work:
    """What a message on the queue of `entity` carries.

    Raises MessageError when the body is not a message of this version for this entity.
    """
    try:
        message = json.loads(body)
        if not isinstance(message, dict) or message.get("version") != VERSION or message["version"] is True:
            raise MessageError("MessageVersion", f"not a message of version {VERSION}; see docs/messages.md")
        if message.get("entity") != entity:
            raise MessageError("WrongEntity", f"a message for {message.get('entity')!r:.40} on the queue of {entity}")
        records = _RECORDS.validate_python(message.get("records"))
        burst = _BURST.validate_python(message.get("burst"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["records", *map(str, first["loc"][:2])])
        raise MessageError("BadMessage", f"{where}: {first['msg']}; see docs/messages.md") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, MessageError):
            raise
        raise MessageError("BadMessage", "the body is not JSON; see docs/messages.md") from None
    return Work(records, burst)
