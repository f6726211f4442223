"""From notifications to work: which records changed, for which entity, in how few messages. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from ..azure.service_bus import Outgoing, Properties
from ..config.settings import QueueSettings
from ..dataverse.notifications import Notification
from ..model.entities import (
    DECIDING_COLUMNS,
    OPPORTUNITY,
    OPPORTUNITY_COLUMNS,
    OPPORTUNITY_ROLE,
    REFERENCE_TABLES,
    ROLE_KEY_COLUMNS,
    TABLES,
)
from ..model.record import MAX_RECORDS, Record, coalesce, encode

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A notification that is not routed, with the reason that the operator reads."""

    code: str
    message: str


@dataclass(slots=True)
class Routed:
    """The work of one batch of notifications: records by entity, coalesced."""

    records: dict[str, list[Record]] = field(default_factory=dict)

    def add(self, records: Iterable[Record]) -> None:
        """Take over the records of one notification."""
        for record in records:
            self.records.setdefault(TABLES[record.table][0].name, []).append(record)

    def add_roles(self, opportunities: Iterable[Record]) -> None:
        """Take over opportunities whose roles are to be as in Dynamics."""
        for record in opportunities:
            self.records.setdefault(OPPORTUNITY_ROLE.name, []).append(record)

    def put_off_comparisons(self) -> Routed:
        """Take out what only has roles compared (shared/sync/roles.py), to be sent later; what is new goes now.

        Of a connection that is there, both: the role that it gives now, and later nothing but the comparison with the
        one that it gave before. What an operator has asked for is not put off.
        """
        later, now = Routed(), list[Record]()
        for record in self.records.pop(OPPORTUNITY_ROLE.name, ()):
            if record.additive or record.wants_fresh:
                now.append(record)
            elif record.operation == "upsert" and record.table != OPPORTUNITY.name:
                now.append(replace(record, additive=True))
                later.add_roles([replace(record, compared_only=True)])
            else:
                later.add_roles([record])
        self.add_roles(now)
        return later

    def groups(self) -> list[tuple[str, list[Record]]]:
        """(entity, at most MAX_RECORDS records) per message to send, parents' entities first."""
        return [
            (entity, group)
            for entity in sorted(self.records, key=lambda name: _TIER[name])
            for group in chunked(coalesce(self.records[entity]), MAX_RECORDS)
        ]


_CREATES = frozenset({"create", "createmultiple"})
_MAKES_OPPORTUNITIES = _CREATES | {"qualifylead"}
_UPDATES = frozenset({"update", "updatemultiple", "upsertmultiple"})
_TIER = {entity.name: entity.tier for entity, _ in TABLES.values()}


def records_of(
    notification: Notification,
    *,
    enqueued: datetime,
    organization_id: str,
    tables: Mapping[str, Collection[str]],
    last_seen: datetime | None = None,
) -> list[Record] | Refusal:
    """The records that a notification asks for, or why it is refused.

    `enqueued`: when it first reached the queue. `last_seen`: when this message of it did, by the broker's clock.
    `tables` are the tables that sync.toml maps, each with the columns of its filter; what is sent of them depends on
    teams and roles as well. `organization_id` is the one organisation that may post here (a copied
    sandbox keeps posting to the production queue, dataverse.md 6.5).
    """
    if notification.organization_id and notification.organization_id != organization_id:
        return Refusal(
            "WrongOrganization",
            f"posted by organisation {notification.organization_id} ({notification.organization_name or 'unnamed'}), "
            f"but this app serves {organization_id}: remove the service endpoint from that environment",
        )
    known = [change for change in notification.changes if change.table in tables or change.table in REFERENCE_TABLES]
    if not known:
        named = ", ".join(sorted({change.table for change in notification.changes})) or "none"
        return Refusal(
            "UnknownTable",
            f"no mapped table among: {named}; remove the step in Dynamics, or map the table in sync.toml",
        )
    return [
        Record(
            change.table,
            change.id,
            enqueued,
            change.operation,
            notification.correlation_id,
            filter_changed=_may_have_written(notification, tables.get(change.table, ())),
            deciding=_decides(notification, change.table),
            last_seen=last_seen,
            additive=_is_additive(notification, change.table),
        )
        for change in known
    ]


def opportunities_before(
    notification: Notification, *, enqueued: datetime, last_seen: datetime | None = None
) -> list[Record]:
    """The opportunities that a connection or a legacy role was part of before it was deleted, or moved to another one.

    Records of opportunity roles: one of their roles may be no more. The pre-image tells, where one is registered; of an
    update that cannot have moved the row, the row itself does.
    """
    columns = OPPORTUNITY_COLUMNS.get(notification.changes[0].table, ())
    if notification.message.lower() != "delete" and not _may_have_written(notification, columns):
        return []
    before = [notification.before[column] for column in columns if column in notification.before]
    return [
        Record(table, id_, enqueued, correlation_id=notification.correlation_id, last_seen=last_seen)
        for table, id_ in dict.fromkeys(before)
        if table == OPPORTUNITY.name
    ]


def _decides(notification: Notification, table: str) -> bool:
    """Whether other rows may have to be synced again. A new opportunity may have a primary contact."""
    if table == OPPORTUNITY.name and notification.message.lower() in _MAKES_OPPORTUNITIES:
        return True
    return _may_have_written(notification, DECIDING_COLUMNS.get(table, ()))


def _is_additive(notification: Notification, table: str) -> bool:
    """Whether no role in Marketo can be out of date for what has changed. Each later change says so itself."""
    message = notification.message.lower()
    if message in _CREATES:
        return table == OPPORTUNITY.name or table in ROLE_KEY_COLUMNS
    return (
        message in _UPDATES
        and table in ROLE_KEY_COLUMNS
        and not _may_have_written(notification, ROLE_KEY_COLUMNS[table])
    )


def _may_have_written(notification: Notification, columns: Collection[str]) -> bool:
    """Whether an update may have written one of these columns: one that does not name its columns may have."""
    if not columns or notification.message.lower() not in _UPDATES:
        return False
    return notification.columns is None or not notification.columns.isdisjoint(columns)


def worth_packing(records: Sequence[Record], messages: int) -> list[Record]:
    """The distinct records of so many messages, if they fit into at most half as many; none otherwise.

    A batch has so many messages, however little is in them. In a burst, records of half-empty ones come again in full
    ones, behind those that wait already: more records in a batch make fuller calls.
    """
    unique = coalesce(records)
    return unique if 2 * math.ceil(len(unique) / MAX_RECORDS) <= messages else []


def messages_of(
    queues: QueueSettings,
    entity: str,
    records: Sequence[Record],
    *,
    burst: datetime | None = None,
    at: datetime | None = None,
    properties: Properties | None = None,
) -> list[Outgoing]:
    """The messages that bring these records to the queue of their entity, `at` that moment; `burst` as in Work."""
    return [
        Outgoing(queues.of(entity), encode(entity, group, burst), session=entity, at=at, properties=properties or {})
        for group in chunked(records, MAX_RECORDS)
    ]


def chunked(items: Sequence[T], size: int) -> list[list[T]]:
    """Slices of at most `size`, in order."""
    return [list(items[i : i + size]) for i in range(0, len(items), size)]
