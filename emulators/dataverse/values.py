"""Checks what a client sends for a row and turns it into the stored form.

Dataverse: wrong types and unknown properties are refused with 0x80048d19, texts longer than the column with
0x80044331, and columns that are not valid for the operation are left out without a word.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from emulators.dataverse import errors
from emulators.dataverse.columns import CHOICES, NUMBERS, TEXTS, Column, Kind, Table
from emulators.dataverse.store import Row, Store, lookup_value
from emulators.dataverse.tables import BY_SET

_REFERENCE = re.compile(r"^(?:https?://[^/]+)?/?(?:api/data/v9\.[0-2]/)?(?P<set>\w+)\((?P<id>[^()]+)\)$")
_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_FIRST_YEAR = 1753
_LAST_YEAR = 9999


def normalise_id(text: object) -> str | None:
    """A GUID in lower case, or None when it is not one."""
    return text.lower() if isinstance(text, str) and _GUID.fullmatch(text) else None


def format_moment(epoch: float) -> str:
    """Seconds since the epoch as the Web API writes a point in time."""
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def convert(table: Table, column: Column, value: Any) -> Any:
    """The stored form of a column's value. Raises ApiError when it does not fit the column."""
    if value is None:
        return None
    if column.kind in TEXTS:
        return _text(table, column, value)
    if column.kind in NUMBERS:
        return _number(table, column, value)
    if column.kind in CHOICES:
        return _choice(table, column, value)
    return _OTHERS[column.kind](table, column, value)


def _wrong_type(table: Table, column: Column, value: Any, expected: str) -> errors.ApiError:
    inner = f"Cannot convert a value '{value}' of property '{column.name}' to the expected type '{expected}'."
    return errors.bad_payload(table.set_name, inner)


def _text(table: Table, column: Column, value: Any) -> str | None:
    if not isinstance(value, str):
        raise _wrong_type(table, column, value, "Edm.String")
    if column.max_length is not None and len(value) > column.max_length:
        message = (
            f"A validation error occurred. The length of the '{column.name}' attribute of the '{table.name}' entity "
            f"exceeded the maximum allowed length of '{column.max_length}'."
        )
        raise errors.ApiError(400, "0x80044331", message)
    return value or None  # Dataverse keeps an empty text as null


def _number(table: Table, column: Column, value: Any) -> int | float:
    whole = column.kind in {Kind.INTEGER, Kind.BIGINT}
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise _wrong_type(table, column, value, "Edm.Int32" if whole else "Edm.Decimal")
    too_low = column.minimum is not None and value < column.minimum
    if too_low or (column.maximum is not None and value > column.maximum):
        raise _out_of_range(table, column, value)
    return value


def _out_of_range(table: Table, column: Column, value: Any, accepted: str = "") -> errors.ApiError:
    message = (
        f"A validation error occurred. The value {value} of '{column.name}' on record of type '{table.name}' is "
        f"outside the valid range.{accepted}"
    )
    return errors.ApiError(400, "0x8004431a" if accepted else "0x80044330", message)


def _choice(table: Table, column: Column, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(table, column, value, "Edm.Int32")
    if value not in column.labels:
        raise _out_of_range(table, column, value, f" Accepted Values: {','.join(map(str, column.labels))}")
    return value


def _choices(table: Table, column: Column, value: Any) -> str | None:
    if not isinstance(value, str):
        raise _wrong_type(table, column, value, "Edm.String")
    if not value:
        return None
    try:
        chosen = sorted({_choice(table, column, int(part)) for part in value.split(",")})
    except ValueError:
        raise _wrong_type(table, column, value, "comma separated options") from None
    return ",".join(map(str, chosen))


def _boolean(table: Table, column: Column, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(table, column, value, "Edm.Boolean")
    return value


def _moment(table: Table, column: Column, value: Any) -> str:
    try:
        parsed = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        parsed = None
    if parsed is None or parsed.tzinfo is None or "T" not in value:
        raise _wrong_type(table, column, value, "Edm.DateTimeOffset")
    if not _FIRST_YEAR <= parsed.year < _LAST_YEAR:
        raise _out_of_range(table, column, value)
    return parsed.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _day(table: Table, column: Column, value: Any) -> str:
    try:
        if not isinstance(value, str) or len(value) != len("2025-03-04"):
            raise ValueError
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise _wrong_type(table, column, value, "Edm.Date") from None


def _id(table: Table, column: Column, value: Any) -> str:
    found = normalise_id(value)
    if found is None:
        raise _wrong_type(table, column, value, "Edm.Guid")
    return found


_OTHERS: Mapping[Kind, Callable[[Table, Column, Any], Any]] = {
    Kind.CHOICES: _choices,
    Kind.BOOLEAN: _boolean,
    Kind.DATETIME: _moment,
    Kind.DATE: _day,
    Kind.ID: _id,
}


def read_payload(table: Table, body: Mapping[str, Any], store: Store, *, creating: bool) -> Row:
    """The stored values that a request's body sets. Raises ApiError (400, or 404 for a bound row that is missing)."""
    values: Row = {}
    for name, value in body.items():
        if name.endswith("@odata.bind"):
            values |= _bind(table, name.removesuffix("@odata.bind"), value, store)
        elif "@" not in name:
            column = _column(table, name)
            if column.locked:
                raise errors.secured(table.name, name, creating=creating)
            if column.create if creating else column.update:
                values[name] = convert(table, column, value)
    return values


def _column(table: Table, name: str) -> Column:
    column = table.columns.get(name)
    if column is not None and not column.is_lookup:
        return column
    if name in table.by_key:
        message = "CRM do not support direct update of Entity Reference properties, Use Navigation properties instead."
        raise errors.bad_query(message)
    inner = (
        f"Invalid property '{name}' was found in entity 'Microsoft.Dynamics.CRM.{table.name}'. The property '{name}' "
        f"does not exist on type 'Microsoft.Dynamics.CRM.{table.name}'. Make sure to only use property names that are "
        "defined by the type."
    )
    raise errors.bad_payload(table.set_name, inner)


def _bind(table: Table, navigation: str, value: Any, store: Store) -> Row:
    if navigation not in table.navigations:
        inner = (
            f"An undeclared property '{navigation}' which only has property annotations in the payload but no property "
            "value was found in the payload. In OData, only declared navigation properties and declared named streams "
            "can be represented as properties without values."
        )
        raise errors.bad_payload(table.set_name, inner)
    column, only_target = table.navigations[navigation]
    if column.locked:
        raise errors.secured(table.name, column.name, creating=False)
    if value is None:
        return lookup_value(column, None, None) if column.create or column.update else {}
    target, row_id = parse_reference(table, value)
    if target.name not in ((only_target,) if only_target else column.targets):
        inner = f"The entity set '{target.set_name}' does not fit the navigation property '{navigation}'."
        raise errors.bad_payload(table.set_name, inner)
    if store.get(target.name, row_id) is None:
        raise errors.not_found(target.name, row_id)
    return lookup_value(column, target.name, row_id) if column.create or column.update else {}


def parse_reference(table: Table, value: Any) -> tuple[Table, str]:
    """The table and id of a reference such as `/accounts(<id>)`."""
    match = _REFERENCE.match(value) if isinstance(value, str) else None
    target = BY_SET.get(match["set"]) if match else None
    row_id = normalise_id(match["id"]) if match else None
    if target is None or row_id is None:
        raise errors.bad_payload(table.set_name, f"Invalid resource reference '{value}'.")
    return target, row_id
