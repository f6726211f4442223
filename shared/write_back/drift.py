"""How far Marketo's persons have drifted from their rows: counted while the sweep reads both anyway.

The sweep asks Marketo for every person by its key, 300 a call. Some more fields in the same request cost no call, and
some more columns in the pages of Dynamics no request. Values are compared as `msisync reconcile` does
(shared/sync/equality.py), and only counted. What would cost more is left to that command: links, the fields that a
person has of its company, duplicates.

What may be on its way to Marketo, because the row was changed a moment ago, is not counted. After a crash, a page may
be counted twice. Where the count fails, the write-back goes on without it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ..azure.shared_state import State
from ..config.conditions import Row
from ..dataverse.client import MAX_IDS, DataverseClient
from ..model.entities import MODIFIED_ON
from ..model.errors import MsiSyncError
from ..model.ids_and_times import moment
from ..model.record import timestamp
from ..sync.comparison import differing
from ..sync.links import is_qualified, winner_of
from ..sync.newcomers import contacts_of
from ..sync.routing import chunked
from ..sync.schema import Schema
from ..sync.table_schema import TableSchema
from ..telemetry.redaction import described

log = logging.getLogger(__name__)

#: The row of the state with the result of the last sweep that came to its end; its kind is the write-back's.
ROW = "drift"
#: A change has arrived in Marketo after so long.
SETTLED = timedelta(minutes=15)
#: From so much on, `status` says so, and the alert drift is raised: the part of all persons that were compared.
MUCH = 0.05


@dataclass(frozen=True, slots=True)
class Drift:
    """Persons that were compared with their rows, those that differ, by field as well, and rows without a person.

    `at`: when the sweep came to its end.
    """

    compared: int = 0
    differing: int = 0
    missing: int = 0
    fields: Mapping[str, int] = field(default_factory=dict)
    at: str = ""

    def __add__(self, other: Drift) -> Drift:
        """Both together."""
        return Drift(
            self.compared + other.compared,
            self.differing + other.differing,
            self.missing + other.missing,
            dict(Counter(self.fields) + Counter(other.fields)),
        )

    @property
    def counts(self) -> dict[str, int]:
        """The numbers by what they count."""
        return {"compared": self.compared, "differing": self.differing, "missing": self.missing}

    @property
    def part(self) -> float:
        """The part of the rows that are not in Marketo as they should be."""
        rows = self.compared + self.missing
        return (self.differing + self.missing) / rows if rows else 0.0


async def keep(state: State, kind: str, found: Mapping[str, Drift], now: datetime) -> None:
    """A sweep has come to its end, with this in each table."""
    total = sum(found.values(), Drift())
    if total.compared or total.missing:
        await state.put(kind, ROW, {**asdict(total), "at": timestamp(now)})


@dataclass(frozen=True)
class DriftCount:
    """Counts the drift of rows that have been read with their persons. `tables`: those that are mapped."""

    dataverse: DataverseClient
    schema: Schema
    _: KW_ONLY
    tables: Collection[str]

    async def columns(self, table: str) -> frozenset[str]:
        """The columns to be read of a table beside those of the write-back."""
        schema = await self._of(table)
        return schema.columns if schema else frozenset()

    async def fields(self, table: str) -> frozenset[str]:
        """The fields to be read of its persons."""
        schema = await self._of(table)
        return frozenset(_own(schema, {*schema.fields.names, *schema.own_fields("")})) if schema else frozenset()

    def forget(self) -> None:
        """One of both systems does not have a field or column any more."""
        self.schema.forget()

    async def of(
        self, table: str, rows: Mapping[str, Row], persons: Mapping[str, Mapping[str, Any]], now: datetime
    ) -> Drift:
        """The drift of these rows by id, which are synced. `persons`: those that Marketo has, also by id."""
        schema = await self._of(table)
        if schema is None:
            return Drift()
        settled = {
            id_: row
            for id_, row in rows.items()
            if schema.columns <= row.keys() and not _is_recent(row, now) and not winner_of(table, row)
        }
        fields: Counter[str] = Counter()
        compared = differing_ = 0
        for id_ in settled.keys() & persons.keys():
            names = _differing(schema, table, id_, settled[id_], persons[id_])
            compared += names is not None
            differing_ += bool(names)
            fields.update(names or ())
        absent = {id_: row for id_, row in settled.items() if id_ not in persons and not is_qualified(table, row)}
        replaced = await self._replaced(table, list(absent))
        return Drift(compared, differing_, len(absent) - len(replaced), dict(fields))

    async def _of(self, table: str) -> TableSchema | None:
        try:
            return await self.schema.of(table)
        except MsiSyncError as error:
            log.warning("drift_not_counted table=%s %s", table, error)
            return None

    async def _replaced(self, table: str, absent: list[str]) -> set[str]:
        """Leads that a contact stands for: nothing is created for them."""
        found: set[str] = set()
        try:
            for part in chunked(absent, MAX_IDS) if table == "lead" and "contact" in self.tables else ():
                chosen = await self.schema.filter_of("contact")
                found |= (await contacts_of(self.dataverse, chosen, dict.fromkeys(part, False))).keys()
        except MsiSyncError as error:
            log.warning("drift_not_counted table=%s %s", table, error)
            return set(absent)
        return found


def _differing(
    schema: TableSchema, table: str, id_: str, row: Row, person: Mapping[str, Any]
) -> tuple[str, ...] | None:
    """The fields that differ; None where nobody can say."""
    try:
        sent = schema.record(id_, row).record
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:  # as the sync's reader does
        log.warning("drift_not_counted table=%s id=%s error=%s", table, id_, described(error))
        return None
    return differing({name: sent[name] for name in _own(schema, sent) if name in person}, person)


def _own(schema: TableSchema, names: Collection[str]) -> list[str]:
    """Those of these fields that are the person's own, and not of its company."""
    of_company = frozenset(schema.company_fields_in(names))
    return [name for name in names if name not in of_company]


def _is_recent(row: Row, now: datetime) -> bool:
    changed = moment(row.get(MODIFIED_ON))
    return changed is not None and now - changed < SETTLED
