"""How values, rows and references look inside a RemoteExecutionContext."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from emulators.dataverse.annotations import formatted_value
from emulators.dataverse.columns import CHOICES, LOOKUP_TABLE, Column, Kind, Table
from emulators.dataverse.constants import EMPTY_ID

EMPTY_GUID: Final = EMPTY_ID
_CONTRACTS: Final = "http://schemas.microsoft.com/xrm/2011/Contracts"
_FORMATTED: Final = frozenset({*CHOICES, Kind.CHOICES, Kind.BOOLEAN, Kind.MONEY})
_DATES: Final = frozenset({Kind.DATETIME, Kind.DATE})


def typed(type_name: str, **values: Any) -> dict[str, Any]:
    """An object with its `__type` first; a bare name belongs to the xrm contracts."""
    return {"__type": type_name if ":" in type_name else f"{type_name}:{_CONTRACTS}", **values}


def reference(table: str, row_id: str, name: str | None = None) -> dict[str, Any]:
    """An EntityReference."""
    return {
        "__type": f"EntityReference:{_CONTRACTS}",
        "Id": row_id,
        "KeyAttributes": [],
        "LogicalName": table,
        "Name": name,
        "RowVersion": None,
    }


@lru_cache(maxsize=65536)
def wire_date(text: str) -> str:
    """A date or point in time of the Web API as `/Date(milliseconds)/`."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return f"/Date({int(moment.timestamp()) * 1000})/"


def _option(value: int) -> dict[str, Any]:
    return {"__type": f"OptionSetValue:{_CONTRACTS}", "Value": value}


_ENCODERS: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    Kind.CHOICE: _option,
    Kind.STATE: _option,
    Kind.STATUS: _option,
    Kind.CHOICES: lambda value: [_option(int(part)) for part in value.split(",")],
    Kind.MONEY: lambda value: {"__type": f"Money:{_CONTRACTS}", "Value": value},
    Kind.DATETIME: wire_date,
    Kind.DATE: wire_date,
}


def encode(column: Column, row: Mapping[str, Any], name: str | None = None) -> Any:
    """The wire form of a column's value; `name` is the name shown with a lookup."""
    value = row.get(column.key)
    if value is None:
        return None
    if column.is_lookup:
        return reference(row.get(column.key + LOOKUP_TABLE) or column.targets[0], value, name)
    encoder = _ENCODERS.get(column.kind)
    return value if encoder is None else encoder(value)


def entity(
    table: Table,
    row: Mapping[str, Any],
    columns: Collection[str] | None,
    *,
    formatted: bool = False,
    with_id: bool = True,
    name_of: Callable[[str, str], str | None] | None = None,
) -> dict[str, Any]:
    """An Entity with the given columns (None: every column the row has), the key first unless `with_id` is off."""
    key = table.primary_id
    if columns is None:
        names = [c.name for c in table.columns.values() if c.key in row and c.name not in {key, "versionnumber"}]
    else:
        names = [name for name in columns if name != key or not with_id]
    attributes: list[dict[str, Any]] = [{"key": key, "value": row.get(key)}] if with_id else []
    labels: list[dict[str, Any]] = []
    for name in names:
        column = table.columns[name]
        shown = _name(column, row, name_of)
        attributes.append({"key": name, "value": encode(column, row, shown)})
        if formatted:
            label = shown or _label(column, row.get(column.key))
            if label is not None:
                labels.append({"key": name, "value": label})
    return {
        "__type": f"Entity:{_CONTRACTS}",
        "Attributes": attributes,
        "EntityState": None,
        "FormattedValues": labels,
        "Id": row.get(key, EMPTY_GUID),
        "KeyAttributes": [],
        "LogicalName": table.name,
        "RelatedEntities": [],
        "RowVersion": None,
    }


def _name(column: Column, row: Mapping[str, Any], name_of: Callable[[str, str], str | None] | None) -> str | None:
    if name_of is None or not column.is_lookup or row.get(column.key) is None:
        return None
    return name_of(row[column.key + LOOKUP_TABLE], row[column.key])


def _label(column: Column, value: Any) -> str | None:
    if value is None:
        return None
    if column.kind in _FORMATTED:
        return formatted_value(column, value, 1033)
    return str(value).replace("Z", "-00:00") if column.kind in _DATES else None


def entity_collection(
    table: Table, rows: Sequence[Mapping[str, Any]], columns: Collection[str] | None
) -> dict[str, Any]:
    """The EntityCollection of CreateMultiple and UpdateMultiple; its entities carry no `__type`."""
    entities = []
    for row in rows:
        found = entity(table, row, columns)
        del found["__type"]
        entities.append(found)
    return {
        "__type": f"EntityCollection:{_CONTRACTS}",
        "Entities": entities,
        "EntityName": table.name,
        "MinActiveRowVersion": None,
        "MoreRecords": False,
        "PagingCookie": None,
        "TotalRecordCount": 0,
        "TotalRecordCountLimitExceeded": False,
    }
