"""An object's fields at work: finding them by name and reading records out of JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from local.marketo.errors import CallError, RecordError
from local.marketo.fields import Coerce, Field, Strictness, coercion
from local.marketo.objects import ObjectType

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BoundField:
    """A field together with the function that checks and converts its values."""

    field: Field
    coerce: Coerce


class Schema:
    """The fields of one object on this instance, custom ones included."""

    def __init__(self, kind: ObjectType, custom: Iterable[Field], strictness: Strictness) -> None:
        self.kind = replace(kind, fields=(*kind.fields, *custom))
        self._bound = {field.name: BoundField(field, coercion(field, strictness)) for field in self.kind.fields}
        # Names are matched without case on input. Spellings seen are remembered, to fold each of them only once.
        self._folded = {name.lower(): bound for name, bound in self._bound.items()}
        self._spelt = dict(self._bound)
        self._booleans = frozenset(field.name for field in self.kind.fields if field.data_type == "boolean")
        self.protected = frozenset(field.name for field in self.kind.fields if not field.writable)
        self.required = tuple(field.name for field in self.kind.fields if field.required)
        self.of_company = frozenset(field.name for field in self.kind.fields if field.of_company)

    @property
    def searchable(self) -> tuple[str, ...]:
        """Return the names of the fields a query may filter by."""
        return tuple(field.name for field in self.kind.fields if field.searchable)

    def find(self, name: str) -> BoundField | None:
        """Return the field of that name, whatever its case."""
        bound = self._spelt.get(name)
        if bound is None:
            bound = self._folded.get(name.lower())
            if bound is not None:
                self._spelt[name] = bound
        return bound

    def names(self, requested: Iterable[str]) -> list[str]:
        """Return the proper spelling of the requested field names.

        Raises:
            CallError: 1006 for a name that the object does not have.
        """
        return [self._known(name).field.name for name in requested]

    def _known(self, name: str) -> BoundField:
        bound = self.find(name)
        if bound is None:
            raise CallError("1006", f"Field '{name}' not found")
        return bound

    def empty(self, name: str) -> bool | None:
        """Return what the field holds when nothing was stored: null, but false for a boolean."""
        return False if name in self._booleans else None

    def read(self, record: Mapping[str, Any]) -> Values:
        """Return the record's values under their proper names; null and the empty string both empty a field.

        Raises:
            RecordError: 1006 for an unknown field, 1003 for a value of the wrong type or length.
        """
        values: Values = {}
        for name, value in record.items():
            bound = self._spelt.get(name) or self.find(name)
            if bound is None:
                raise RecordError("1006", f"Field '{name}' not found")
            if value is None or value == "":
                values[bound.field.name] = self.empty(bound.field.name)
                continue
            try:
                values[bound.field.name] = bound.coerce(value)
            except (ValueError, OverflowError):
                raise RecordError("1003", f"Invalid value for field '{bound.field.name}' and value '{value}'") from None
        return values
