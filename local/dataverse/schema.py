"""The schema as clients see it: the tables, less the columns that a switch has taken away."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from local.dataverse.columns import LOOKUP_TABLE, Table
from local.dataverse.store import Change, Row, Store
from local.dataverse.tables import TABLES

ColumnNames = dict[str, list[str]]  # logical names of columns, by table

# Dataverse itself works with these.
_PLATFORM: Final = frozenset(
    {
        *("statecode", "statuscode", "ownerid", "owninguser", "owningteam", "owningbusinessunit"),
        *("createdon", "modifiedon", "createdby", "modifiedby", "modifiedonbehalfby", "versionnumber"),
        *("transactioncurrencyid", "exchangerate", "merged", "masterid", "relatedconnectionid"),
    }
)


def check_column_names(names: ColumnNames) -> ColumnNames:
    """Return the names. Raises ValueError for a table or column that is not there or cannot be done without."""
    for table_name, columns in names.items():
        table = TABLES.get(table_name)
        if table is None:
            msg = f"there is no table '{table_name}'"
            raise ValueError(msg)
        needed = _PLATFORM | {table.primary_id, table.primary_name}
        for name in columns:
            if name not in table.columns or name in needed:
                msg = f"'{name}' is no column of '{table_name}' that can be taken away"
                raise ValueError(msg)
    return names


def visible_tables(removed: Mapping[str, list[str]], unreadable: Mapping[str, list[str]]) -> Mapping[str, Table]:
    """The tables without the removed columns, and with IsValidForRead off for the unreadable ones."""
    tables = dict(TABLES)
    for name in removed.keys() | unreadable.keys():
        gone = {name for column in removed.get(name, ()) for name in (column, f"{column}_base")}
        hidden = set(unreadable.get(name, ()))
        if gone or hidden:
            columns = {
                column.name: replace(column, read=False) if column.name in hidden else column
                for column in TABLES[name].columns.values()
                if column.name not in gone
            }
            tables[name] = replace(TABLES[name], columns=columns)
    return tables


def visible_row(store: Store, table: str, row: Row) -> Row:
    """The row without the values of removed columns."""
    if store.tables[table] is TABLES[table]:
        return row
    columns = TABLES[table].columns
    gone = {columns[name].key for name in columns.keys() - store.tables[table].columns.keys()}
    return {key: value for key, value in row.items() if key.removesuffix(LOOKUP_TABLE) not in gone}


def visible_change(store: Store, change: Change) -> Change:
    """The change as steps see it: nothing in it names a removed column."""
    table = store.tables[change.table]
    if table is TABLES[change.table]:
        return change
    return replace(
        change,
        row=visible_row(store, change.table, change.row),
        before=None if change.before is None else visible_row(store, change.table, change.before),
        columns=tuple(name for name in change.columns if name in table.columns),
    )
