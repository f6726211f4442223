"""Create, update and delete: one row at a time, inside a transaction, with everything the platform adds."""

from typing import Final
from uuid import uuid4

from emulators.dataverse import connections, constants, errors, rules
from emulators.dataverse.columns import Table
from emulators.dataverse.registration import check_deletion
from emulators.dataverse.store import Change, Row, Transaction, lookup_value
from emulators.dataverse.tables import TABLES

_DEFAULTS: Final[dict[str, Row]] = {
    table.name: {column.name: column.default for column in table.columns.values() if column.default is not None}
    for table in TABLES.values()
}
# Dataverse: these are specialised updates; mixed with other columns the Update pipeline runs twice.
_STATE_COLUMNS: Final = frozenset({"statecode", "statuscode"})
_SPECIAL: Final = {"systemuser": _STATE_COLUMNS | {"businessunitid"}, "team": _STATE_COLUMNS | {"businessunitid"}}


def create(transaction: Transaction, table: Table, values: Row, row_id: str | None = None) -> str:
    """Create a row and return its id. Raises ApiError (412) when the id is taken, or what a rule refuses."""
    key = table.primary_id
    row_id = row_id or values.get(key) or str(uuid4())
    if transaction.store.get(table.name, row_id) is not None:
        raise errors.already_exists()
    row: Row = {key: row_id, **_DEFAULTS[table.name], **_standard(transaction, table), **(values | {key: row_id})}
    row |= rules.state_and_status(table, values, None)
    if "ownerid" in table.columns:
        row |= rules.ownership(transaction.store, row)
    rules.check_required(table, row)
    row |= rules.derive(transaction.store, table, row, None, values)
    if table.name == "connection":
        for half in connections.pair(transaction.store, row):
            _insert(transaction, table, half)
    else:
        _insert(transaction, table, row)
    return row_id


def _insert(transaction: Transaction, table: Table, row: Row) -> None:
    row_id = row[table.primary_id]
    transaction.put(table.name, row_id, row)
    transaction.changes.append(Change(message="Create", table=table.name, id=row_id, row=row, output={"id": row_id}))


def _standard(transaction: Transaction, table: Table) -> Row:
    columns = table.columns
    if "createdon" not in columns:
        return {}
    row: Row = {"createdon": transaction.now, "modifiedon": transaction.now}
    row |= lookup_value(columns["createdby"], "systemuser", transaction.user)
    row |= lookup_value(columns["modifiedby"], "systemuser", transaction.user)
    if "ownerid" in columns:
        row |= lookup_value(columns["ownerid"], "systemuser", transaction.user)
    if "transactioncurrencyid" in columns and "exchangerate" in columns:
        row |= lookup_value(columns["transactioncurrencyid"], "transactioncurrency", constants.CURRENCY_ID)
        row["exchangerate"] = 1.0
    return row


def update(transaction: Transaction, table: Table, row_id: str, values: Row) -> None:
    """Change a row. Raises ApiError (404) when it is not there, or what a rule refuses."""
    before = transaction.store.get(table.name, row_id)
    if before is None:
        raise errors.not_found(table.name, row_id)
    values = {key: value for key, value in values.items() if key != table.primary_id}
    values |= rules.state_and_status(table, values, before)
    row = {**before, **values}
    if "_ownerid_value" in values:
        row |= rules.ownership(transaction.store, row)
    rules.check_required(table, row)
    derived = rules.derive(transaction.store, table, row, before, values)
    row |= derived
    if "modifiedon" in table.columns:
        row["modifiedon"] = transaction.now
        row |= lookup_value(table.columns["modifiedby"], "systemuser", transaction.user)
    included = [table.by_key[key].name for key in {**values, **derived} if key in table.by_key]
    _save(transaction, table, row, before, included)
    if table.name == "connection":
        _update_mirror(transaction, table, row, included)


def _update_mirror(transaction: Transaction, table: Table, row: Row, included: list[str]) -> None:
    other = transaction.store.get("connection", row.get("_relatedconnectionid_value") or "")
    if other is not None:
        changed = {**other, **connections.mirrored(transaction.store, row), "modifiedon": row["modifiedon"]}
        _save(transaction, table, changed, other, connections.mirrored_columns(included))


def _save(transaction: Transaction, table: Table, row: Row, before: Row, included: list[str]) -> None:
    """Put a changed row in and note its Update event, or both of them when state and other columns are mixed."""
    row_id = row[table.primary_id]
    transaction.put(table.name, row_id, row)
    special = _SPECIAL.get(table.name, _STATE_COLUMNS)
    ordinary = tuple(name for name in included if name not in special)
    specialised = tuple(name for name in included if name in special)
    for columns in (ordinary, specialised):
        if columns or not included:
            transaction.changes.append(
                Change(message="Update", table=table.name, id=row_id, row=row, before=before, columns=columns)
            )
        if not included:
            break


def delete(transaction: Transaction, table: Table, row_id: str) -> None:
    """Delete a row, what goes with it, and the references to it. Raises ApiError (404) when it is not there."""
    store = transaction.store
    before = store.get(table.name, row_id)
    if before is None:
        raise errors.not_found(table.name, row_id)
    if table.name == "systemuser":
        raise errors.ApiError(405, "0x80040800", "The 'Delete' method does not support entities of type 'systemuser'.")
    check_deletion(store, table.name, row_id)
    transaction.remove(table.name, row_id)
    transaction.changes.append(Change(message="Delete", table=table.name, id=row_id, row=before, before=before))
    for other, other_id, column_name in list(store.referrers(row_id)):
        other_table = TABLES[other]
        other_row = store.get(other, other_id)
        column = other_table.columns[column_name]
        if other_row is None or other_row.get(column.key) != row_id:
            continue
        if table.name in column.cascade_delete or column_name == "relatedconnectionid":
            delete(transaction, other_table, other_id)
        else:
            # Dataverse: the relationship's "Remove Link" behaviour, which raises no Update.
            transaction.put(other, other_id, {**other_row, **lookup_value(column, None, None)})
