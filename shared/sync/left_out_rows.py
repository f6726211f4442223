"""Which records are in Marketo without a field that their row has a value for: kept in storage for `msisync show`.

A row is `left_out_<entity>` / `<table>|<id>`. It goes when the record is synced with all its fields::

    {"at": "2026-03-04T12:00:00Z", "fields": [{"field": "email", "code": "1003", "reason": …, "value_class": …}]}

Records without such a row cost nothing: which there are is read once a minute. Nothing here is needed to sync.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from ..azure.errors import best_effort
from ..azure.shared_state import State, Value
from ..model.outcome import COMPANY_FIELD, LeftOut, Outcome, Removed, Synced
from ..model.record import Record, timestamp
from .storms import COVERED

log = logging.getLogger(__name__)

#: Rows of an entity that are kept: the newest.
MOST = 1_000
#: How long it is believed which records have a row.
REFRESH = timedelta(seconds=60)
#: Seconds that an invocation spends on this.
PATIENCE_SECONDS = 3.0


@dataclass
class LeftOutRows:
    """The rows as one process knows them."""

    state: State
    _: KW_ONLY
    now: Callable[[], datetime]
    _known: dict[str, dict[str, str]] = field(default_factory=dict, init=False)  # entity → row → when it was written
    _read: dict[str, datetime] = field(default_factory=dict, init=False)

    async def note(self, entity: str, outcomes: Sequence[tuple[Record, Outcome]]) -> None:
        """Keep what these records were synced without, and forget what is put right. Raises nothing."""
        now = timestamp(self.now())
        whole = [(record, outcome) for record, outcome in outcomes if not record.fields]
        sent = [(record, o) for record, o in whole if isinstance(o, Synced) and o != COVERED]
        synced = {row_name(record): kept(outcome) for record, outcome in sent}
        synced |= {row_name(record): [] for record, o in outcomes if isinstance(o, Removed)}
        if not synced:
            return
        async with best_effort(PATIENCE_SECONDS, log, "left_out_not_kept"):
            known = await self._rows(entity)
            found = {name: [asdict(each) for each in left_out] for name, left_out in synced.items() if left_out}
            rows = {name: {"at": now, "fields": left_out} for name, left_out in found.items()}
            gone = [name for name in known if name in synced and name not in rows]
            await self._write(entity, dict(list(rows.items())[:MOST]), gone)

    async def _write(self, entity: str, rows: dict[str, Value], gone: list[str]) -> None:
        known, kind = self._known[entity], kind_of(entity)
        more = len(known) - len(gone) + len(rows.keys() - known.keys()) - MOST
        if more > 0:
            staying = sorted(known.keys() - rows.keys() - set(gone), key=lambda name: known[name])
            gone += staying[:more]
        await self.state.put_all(kind, rows)
        known.update((name, str(value["at"])) for name, value in rows.items())
        await self.state.remove_all(kind, gone)
        for name in gone:
            known.pop(name, None)

    async def _rows(self, entity: str) -> dict[str, str]:
        now = self.now()
        if now - self._read.get(entity, datetime.min.replace(tzinfo=UTC)) >= REFRESH:
            found = {name: str(value.get("at", "")) async for name, value in self.state.all(kind_of(entity))}
            self._known[entity], self._read[entity] = found, now
        return self._known[entity]


def kind_of(entity: str) -> str:
    """The kind of an entity's rows in the state."""
    return f"left_out_{entity}"


def row_name(record: Record) -> str:
    """The row of a record."""
    return f"{record.table}|{record.id}"


def kept(outcome: Synced) -> list[LeftOut]:
    """What somebody has to know of a record in Marketo: not its company's fields, which many have for good reason."""
    return [each for each in outcome.left_out if each.code != COMPANY_FIELD]


def fields_of(value: Mapping[str, Any]) -> list[LeftOut]:
    """The fields of a row; those of another version that cannot be read are left out."""
    names = [field.name for field in fields(LeftOut)]
    given = value.get("fields", ())
    return [LeftOut(*(str(each[name]) for name in names)) for each in given if set(names) <= set(each)]
