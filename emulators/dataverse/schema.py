"""The schema as clients see it: the tables, less the columns that a switch has taken away."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, Literal, TypeVar

from emulators.dataverse.columns import LOOKUP_TABLE, Column, Table
from emulators.dataverse.store import Change, Row, Store
from emulators.dataverse.tables import TABLES

ColumnNames = dict[str, list[str]]  # logical names of columns, by table
# Secured columns by table, and what the field security profiles of our users let them do: nothing, read, or both.
SecuredColumns = dict[str, dict[str, Literal["hidden", "read", "write"]]]
# The published labels in the base language of choices that were renamed, by table, column and value.
RenamedOptions = dict[str, dict[str, dict[int, str]]]

_Names = TypeVar("_Names", bound=Mapping[str, Iterable[str]])

# Dataverse itself works with these.
_PLATFORM: Final = frozenset(
    {
        *("statecode", "statuscode", "ownerid", "owninguser", "owningteam", "owningbusinessunit"),
        *("createdon", "modifiedon", "createdby", "modifiedby", "modifiedonbehalfby", "versionnumber"),
        *("transactioncurrencyid", "exchangerate", "merged", "masterid", "relatedconnectionid"),
    }
)


def can_be_secured(table: Table, name: str) -> bool:
    """Whether column-level security is for this column: not for keys, names and what the platform works with."""
    return name not in _PLATFORM | {table.primary_id, table.primary_name}


def check_column_names(names: _Names) -> _Names:
    """Return the names. Raises ValueError for a table or column that is not there or cannot be done without."""
    for table_name, columns in names.items():
        table = TABLES.get(table_name)
        if table is None:
            msg = f"there is no table '{table_name}'"
            raise ValueError(msg)
        for name in columns:
            if name not in table.columns or not can_be_secured(table, name):
                msg = f"'{name}' is not a column of '{table_name}' that can be taken away"
                raise ValueError(msg)
    return names


def check_options(renamed: RenamedOptions) -> RenamedOptions:
    """Return the new labels. Raises ValueError for an option that is not there, or a label that Dynamics refuses.

    The label in the base language is required. Another one stays as it is when that changes.
    """
    for table_name, columns in renamed.items():
        table = TABLES.get(table_name)
        for name, labels in columns.items():
            column = table.columns.get(name) if table else None
            unknown = sorted(set(labels) - set(column.labels if column else ()))
            if unknown or not column:
                msg = f"'{name}' of '{table_name}' has no option {unknown}"
                raise ValueError(msg)
            if not all(label.strip() for label in labels.values()):
                msg = f"an option of '{name}' of '{table_name}' must have a label"
                raise ValueError(msg)
    return renamed


def visible_tables(
    removed: ColumnNames,
    unreadable: ColumnNames,
    secured: SecuredColumns,
    no_bulk: Iterable[str] = (),
    renamed: RenamedOptions | None = None,
    *,
    untracked: Iterable[str] = (),
) -> Mapping[str, Table]:
    """The tables without the removed columns, with IsValidForRead off for the unreadable and security on for the
    secured ones, with the new labels of renamed options, without CreateMultiple and UpdateMultiple for those of
    `no_bulk`, and without change tracking for the `untracked`.
    """
    renamed = renamed or {}
    tables = dict(TABLES)
    for name in {*removed, *unreadable, *secured, *no_bulk, *renamed, *untracked}:
        labels = renamed.get(name, {})
        gone = {name for column in removed.get(name, ()) for name in (column, f"{column}_base")}
        hidden = set(unreadable.get(name, ()))
        columns = {
            column.name: _secured(
                _renamed(column, labels.get(column.name, {})), secured.get(name, {}), unreadable=column.name in hidden
            )
            for column in TABLES[name].columns.values()
            if column.name not in gone
        }
        tables[name] = replace(
            TABLES[name],
            columns=columns,
            bulk=TABLES[name].bulk and name not in no_bulk,
            change_tracking=TABLES[name].change_tracking and name not in untracked,
        )
    return tables


def _renamed(column: Column, labels: Mapping[int, str]) -> Column:
    if not labels:
        return column
    options = tuple(replace(option, label=labels.get(option.value, option.label)) for option in column.options)
    return replace(column, options=options)


def _secured(column: Column, secured: Mapping[str, str], *, unreadable: bool) -> Column:
    allowed = secured.get(column.name)
    if allowed is None and not unreadable:
        return column
    return replace(
        column,
        read=column.read and not unreadable,
        secured=allowed is not None,
        hidden=allowed == "hidden",
        locked=allowed in {"hidden", "read"},
    )


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
