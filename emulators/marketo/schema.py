"""An object's fields at work: finding them by name and reading records out of JSON."""

from collections.abc import Iterable, Mapping
from typing import Any

from emulators.marketo.errors import CallError, RecordError
from emulators.marketo.fields import Coerce, Field, Strictness, coercion, in_basic_plane, plain_length
from emulators.marketo.objects import ObjectType

Values = dict[str, Any]


# What reading a value needs: the field's proper name, its conversion, and the length up to which a string is stored as
# it is, without asking the conversion (-1: never). A tuple and that shortcut, because this runs once per value.
Reader = tuple[str, Coerce, int]


class Schema:
    """The fields of one object on this instance, custom ones included."""

    def __init__(self, kind: ObjectType, strictness: Strictness) -> None:
        self.kind = kind
        # Names are matched without case on input. Spellings seen are remembered, to fold each of them only once.
        self._folded = {field.name.lower(): field for field in self.kind.fields}
        self._readers: dict[str, Reader] = {}
        self._strictness = strictness
        self._booleans = frozenset(field.name for field in self.kind.fields if field.data_type == "boolean")
        self.protected = frozenset(field.name for field in self.kind.fields if not field.writable)
        self.required = tuple(field.name for field in self.kind.fields if field.required)
        self.of_company = frozenset(field.name for field in self.kind.fields if field.of_company)

    @property
    def searchable(self) -> tuple[str, ...]:
        """Return the names of the fields a query may filter by."""
        return tuple(field.name for field in self.kind.fields if field.searchable)

    def find(self, name: str) -> Field | None:
        """Return the field of that name, whatever its case."""
        return self._folded.get(name.lower())

    def names(self, requested: Iterable[str]) -> list[str]:
        """Return the proper spelling of the requested field names.

        Raises:
            CallError: 1006 for a name that the object does not have.
        """
        found = []
        for name in requested:
            field = self.find(name)
            if field is None:
                raise CallError("1006", f"Field '{name}' not found")
            found.append(field.name)
        return found

    def empty(self, name: str) -> bool | None:
        """Return what the field holds when nothing was stored: null, but false for a boolean."""
        return False if name in self._booleans else None

    def read(self, record: Mapping[str, Any]) -> Values:
        """Return the record's values under their proper names; null and the empty string both empty a field.

        Raises:
            RecordError: 1006 for an unknown field, 1003 for a value of the wrong type or length.
        """
        values: Values = {}
        readers = self._readers
        for spelling, value in record.items():
            name, coerce, plain_up_to = readers.get(spelling) or self._reader(spelling)
            if value is None or value == "":
                values[name] = self.empty(name)
            elif type(value) is str and len(value) <= plain_up_to:
                values[name] = self._stored(value)
            else:
                try:
                    values[name] = self._stored(coerce(value))
                except (ValueError, OverflowError):
                    raise RecordError("1003", f"Invalid value for field '{name}' and value '{value}'") from None
        return values

    def _stored(self, value: Any) -> Any:
        if self._strictness.cuts and type(value) is str:
            return in_basic_plane(value) or None
        return value

    def _reader(self, spelling: str) -> Reader:
        field = self.find(spelling)
        if field is None:
            raise RecordError("1006", f"Field '{spelling}' not found")
        reader = (field.name, coercion(field, self._strictness), plain_length(field))
        self._readers[spelling] = reader
        return reader
