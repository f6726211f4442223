"""Connections come in pairs. Dataverse: each connection is two rows, mirror images that follow each other."""

from uuid import uuid4

from emulators.dataverse.columns import LOOKUP_TABLE
from emulators.dataverse.store import Row, Store, lookup_value
from emulators.dataverse.tables import TABLES

_SWAPPED = {
    "record1id": "record2id",
    "record1roleid": "record2roleid",
    "record2id": "record1id",
    "record2roleid": "record1roleid",
}
_SAME = (
    "description",
    "effectivestart",
    "effectiveend",
    "statecode",
    "statuscode",
    "_ownerid_value",
    "_owninguser_value",
    "_owningteam_value",
    "_owningbusinessunit_value",
)


def pair(store: Store, row: Row) -> tuple[Row, Row]:
    """A new connection and its mirror, each naming the other."""
    related = TABLES["connection"].columns["relatedconnectionid"]
    mirror_id = row.get(related.key) or str(uuid4())
    first = {**row, **lookup_value(related, "connection", mirror_id), "ismaster": True}
    second = {**row, **mirrored(store, row), "connectionid": mirror_id, "ismaster": False}
    return first, second | lookup_value(related, "connection", row["connectionid"])


def mirrored(store: Store, row: Row) -> Row:
    """The values that the other row of the pair has."""
    columns = TABLES["connection"].columns
    found: Row = {}
    for here, there in _SWAPPED.items():
        source = columns[here].key
        found |= lookup_value(columns[there], row.get(source + LOOKUP_TABLE), row.get(source))
    for name in _SAME:
        found |= {key: row[key] for key in (name, name + LOOKUP_TABLE) if key in row}
    found["record1objecttypecode"] = row.get("record2objecttypecode")
    found["record2objecttypecode"] = row.get("record1objecttypecode")
    key = "_record2id_value"
    found["name"] = store.name_of(found.get(key + LOOKUP_TABLE), found.get(key) or "")
    return found


def mirrored_columns(included: list[str]) -> list[str]:
    """The columns of the other row that change with these."""
    return [_SWAPPED.get(name, name) for name in included]
