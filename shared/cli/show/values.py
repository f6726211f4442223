"""A record field by field: what Dynamics holds, what would be sent now, what Marketo has. Pure.

For `show --values`, and for whoever else shows a record's values to those who may see them. Never for a log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...config.sync_toml import SyncConfig
from ...model.entities import TABLES
from ...sync.equality import same
from ...write_back.values import Target, column_value
from ...write_back.values import differs as column_differs
from .facts import Person, ValueRow

#: Why nothing is sent for a field, where no value of the row is to blame.
_DROPPED = "not in Marketo, or not to be written there: msisync fields check"
_LEFT = "nothing is sent, and Marketo keeps what it has"


def side_by_side(person: Person, config: SyncConfig, insight: Mapping[str, Sequence[Target]]) -> list[ValueRow]:
    """All fields of a record: keys and links first, then those of sync.toml in its order, then Sales Insight's.

    `insight`: the columns that take Marketo's fields, by table. Where Marketo has no record nothing differs: all of it
    is missing there. Empty for a record that is not in Dynamics.
    """
    if not person.row:
        return []
    rules = config.fields_of(person.subject.table)
    return [
        *_own(person, {name.lower() for name in rules}),
        *_links(person),
        *(_mapped(person, name, [c for rule in each for c in rule.columns]) for name, each in rules.items()),
        *_written_back(person, insight.get(person.subject.table, ())),
    ]


def _row(person: Person, field: str, dynamics: Mapping[str, Any], sent: Any, **more: Any) -> ValueRow:
    present = person.records[0].get(field) if person.records else None
    differs = bool(person.records) and more.get("is_sent", True) and not same(sent, present)
    return ValueRow(field, dynamics, sent, present, differs, **more)


def _own(person: Person, in_toml: set[str]) -> Iterator[ValueRow]:
    """What the sync itself sets: the key, and the flag of deleted rows."""
    key = TABLES[person.subject.table][1].key
    for name, value in (person.mapped or {}).items():
        if name.lower() not in in_toml:
            yield _row(person, name, {key: person.subject.id} if value == person.subject.id else {}, value)


def _links(person: Person) -> Iterator[ValueRow]:
    for link in person.relations:
        dynamics = {link.parent.table: f"{link.name or 'without name'} ({link.parent.id})"} if link.parent else {}
        yield _row(person, link.field, dynamics, link.expected, note=link.kept_out or ("" if link.parent else link.how))


def _mapped(person: Person, name: str, columns: Sequence[str]) -> ValueRow:
    known = {field.lower(): field for field in person.fields}
    field, record = known.get(name.lower(), name), person.mapped or {}
    dynamics = {column: person.row.get(column) for column in dict.fromkeys(columns)}
    left_out = next((each for each in person.subject.left_out if each.field.lower() == name.lower()), None)
    note = str(left_out) if left_out else ""
    if field not in record:
        note = note or (_LEFT if name.lower() in known else _DROPPED)
    return _row(person, field, dynamics, record.get(field), is_sent=field in record, note=note)


def _written_back(person: Person, targets: Sequence[Target]) -> Iterator[ValueRow]:
    record = person.records[0] if person.records else {}
    for target in targets:
        has = person.row.get(target.column)
        given = record.get(target.field)
        try:
            wanted, note = column_value(given, target), ""
        except ValueError as error:
            wanted, note = None, f"the column cannot hold it: {error}"
        different = bool(record) and not note and column_differs(wanted, has, target)
        yield ValueRow(
            target.field, {target.column: has}, wanted, given, different, is_sent=not note, back=True, note=note
        )
