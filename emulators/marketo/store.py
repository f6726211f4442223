"""The records of one object in memory, found through indexes only."""

import itertools
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from emulators.marketo.fields import Field
from emulators.marketo.objects import ObjectType

Record = dict[str, Any]
Names = tuple[str, ...]
FIRST_ID = 1001


class Index:
    """Rows by value. One row per value is the usual case and is kept without a container of its own."""

    def __init__(self) -> None:
        self._rows: dict[Any, int | dict[int, None]] = {}

    def add(self, value: Any, row: int) -> None:
        """Note that `row` has `value`."""
        present = self._rows.get(value)
        if present is None:
            self._rows[value] = row
        elif isinstance(present, dict):
            present[row] = None
        else:
            self._rows[value] = {present: None, row: None}

    def remove(self, value: Any, row: int) -> None:
        """Forget that `row` has `value`."""
        present = self._rows[value]
        if isinstance(present, dict):
            del present[row]
            if len(present) > 1:
                return
            self._rows[value] = next(iter(present))
        else:
            del self._rows[value]

    def rows(self, value: Any) -> Iterable[int]:
        """Return the rows that have `value`."""
        present = self._rows.get(value)
        if present is None:
            return ()
        return present if isinstance(present, dict) else (present,)

    def repeated(self) -> Iterator[tuple[Any, int]]:
        """Yield each value that several rows have, and their number."""
        for value, present in self._rows.items():
            if isinstance(present, dict):
                yield value, len(present)


class Table:
    """One object's records. A record is a dict that holds its id; rows number them in order of creation."""

    def __init__(self, kind: ObjectType) -> None:
        self.kind = kind
        self._records: dict[int, Record] = {}
        self._row_of: dict[Any, int] = {}
        self._next_row = itertools.count(FIRST_ID)
        keys = {(field.name,) for field in kind.fields if field.searchable} | {kind.dedupe_fields}
        keys.discard((kind.id_field,))
        self._indexes: dict[Names, Index] = {names: Index() for names in keys}
        self._standard_emails = frozenset(field.name for field in kind.fields if field.data_type == "email")
        self._emails = self._standard_emails
        self._custom: list[Field] = []

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def find(self, names: Names, value: Any) -> list[Record]:
        """Return the records whose field has `value`, or whose fields have the tuple `value`, oldest first."""
        if names == (self.kind.id_field,):
            row = self._row_of.get(value)
            return [] if row is None else [self._records[row]]
        if names[0] in self._emails:
            value = value.casefold()
        rows = self._indexes[names].rows(value)
        return [self._records[row] for row in sorted(rows)]

    def find_any(self, names: Names, values: Iterable[Any]) -> list[Record]:
        """Return the records that have any of the values, in order of creation, each once."""
        found = {id(record): record for value in values for record in self.find(names, value)}
        return sorted(found.values(), key=lambda record: self._row_of[record[self.kind.id_field]])

    def has(self, name: str, value: Any) -> bool:
        """Say whether any record has `value` in that field."""
        return bool(self._indexes[name,].rows(value))

    def insert(self, values: Record) -> Record:
        """Store a new record under a new id and return it."""
        row = next(self._next_row)
        identity: Any = row if self.kind.id_field == "id" else str(uuid.uuid4())
        record: Record = {self.kind.id_field: identity, **{name: v for name, v in values.items() if v is not None}}
        self._records[row] = record
        self._row_of[identity] = row
        for names, index in self._indexes.items():
            value = self._value(names, record)
            if value is not None:
                index.add(value, row)
        return record

    def update(self, record: Record, values: Record) -> list[tuple[str, Any, Any]]:
        """Change the record and return what changed: field, old value, new value."""
        changes = [(name, record.get(name), new) for name, new in values.items() if record.get(name) != new]
        changed = {name for name, _, _ in changes}
        stale = [names for names in self._indexes if not changed.isdisjoint(names)]
        row = self._row_of[record[self.kind.id_field]]
        for names in stale:
            self._unindex(names, record, row)
        for name, _, new in changes:
            record[name] = new
        for names in stale:
            value = self._value(names, record)
            if value is not None:
                self._indexes[names].add(value, row)
        return changes

    def search_custom(self, fields: list[Field]) -> None:
        """Make these custom fields searchable, and those of the last time no longer."""
        if fields == self._custom:
            return
        for field in self._custom:
            del self._indexes[field.name,]
        self._custom = fields
        self._emails = self._standard_emails | {field.name for field in fields if field.data_type == "email"}
        for names in [(field.name,) for field in fields]:
            index = self._indexes[names] = Index()
            for row, record in self._records.items():
                value = self._value(names, record)
                if value is not None:
                    index.add(value, row)

    def delete(self, record: Record) -> None:
        """Remove the record."""
        row = self._row_of.pop(record[self.kind.id_field])
        for names in self._indexes:
            self._unindex(names, record, row)
        del self._records[row]

    def is_stored(self, record: Record) -> bool:
        """Say whether the record has not been deleted meanwhile."""
        return record[self.kind.id_field] in self._row_of

    def repeated(self, names: Names) -> dict[str, int]:
        """Return the keys that several records share."""
        return {str(value): count for value, count in self._indexes[names].repeated()} if names in self._indexes else {}

    def _unindex(self, names: Names, record: Record, row: int) -> None:
        value = self._value(names, record)
        if value is not None:
            self._indexes[names].remove(value, row)

    def _value(self, names: Names, record: Record) -> Any:
        if len(names) > 1:
            return tuple(record.get(name) for name in names)
        value = record.get(names[0])
        return value.casefold() if value is not None and names[0] in self._emails else value
