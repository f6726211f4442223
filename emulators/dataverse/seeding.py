"""Fills the store without events: the rows that are always there, and the rows that a test or the demo seeds."""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from emulators.dataverse import constants, errors, writes
from emulators.dataverse.columns import LOOKUP_TABLE, Column, Table
from emulators.dataverse.environment import Environment
from emulators.dataverse.store import Row, Store, Transaction, lookup_value
from emulators.dataverse.tables import TABLES
from emulators.dataverse.values import convert, normalise_id, parse_reference

# The id of the message Update is the same in every environment; so are the others, here made from their names.
_UPDATE_ID: Final = "20bebb1b-ea3e-db11-86a7-000a3a5473e8"
_ROW_MESSAGES: Final = ("Create", "Update", "Delete", "Assign", "SetState", "SetStateDynamicEntity")
_BULK_MESSAGES: Final = ("CreateMultiple", "UpdateMultiple")
_OTHER_MESSAGES: Final = ("Associate", "Disassociate")
_TABLE_MESSAGES: Final = {
    "Merge": ("account", "contact", "lead"),
    "QualifyLead": ("lead",),
    "WinOpportunity": ("opportunity",),
    "LoseOpportunity": ("opportunity",),
}
CONNECTION_ROLES: Final = (
    ("Stakeholder", 1000),
    ("Decision Maker", 1000),
    ("Economic Buyer", 1000),
    ("Influencer", 1000),
    ("Champion", 1000),
    ("Technical Buyer", 1000),
    ("Account Manager", 1001),
    ("Sales Professional", 1001),
    ("Employer", 1),
    ("Employee", 1),
)
REGISTRATION_TABLES: Final = ("serviceendpoint", "sdkmessageprocessingstep", "sdkmessageprocessingstepimage")


def fixed_id(*names: str) -> str:
    """The id of a row that is the same in every run."""
    return str(uuid5(NAMESPACE_URL, "/".join(names)))


def message_id(name: str) -> str:
    """The id of an SDK message."""
    return _UPDATE_ID if name == "Update" else fixed_id("sdkmessage", name)


def base_rows() -> dict[str, list[Row]]:
    """What even an empty environment has, in the form that `seed` takes."""
    unit = {"_businessunitid_value": constants.BUSINESS_UNIT_ID}
    user = {
        "systemuserid": constants.SYNC_USER_ID,
        "domainname": constants.USERNAME,
        "internalemailaddress": constants.USERNAME,
        "firstname": "Marketo",
        "lastname": "Sync",
        "azureactivedirectoryobjectid": fixed_id("entra", constants.USERNAME),
        **unit,
    }
    applications = [
        {
            "systemuserid": user_id,
            "domainname": f"{client}@{constants.TENANT_DOMAIN}",
            "applicationid": client,
            "firstname": "#",
            "lastname": name,
            "accessmode": 4,
            **unit,
        }
        for user_id, client, name in (
            (constants.APPLICATION_USER_ID, constants.CLIENT_ID, "Marketo sync application"),
            (constants.MANAGED_IDENTITY_USER_ID, constants.MANAGED_IDENTITY_CLIENT_ID, "Marketo sync managed identity"),
        )
    ]
    roles = [
        {"connectionroleid": fixed_id("connectionrole", name), "name": name, "category": category}
        for name, category in CONNECTION_ROLES
    ]
    return {
        "businessunit": [{"businessunitid": constants.BUSINESS_UNIT_ID, "name": "Contoso"}],
        "transactioncurrency": [
            {
                "transactioncurrencyid": constants.CURRENCY_ID,
                "currencyname": "Euro",
                "isocurrencycode": "EUR",
                "currencysymbol": "€",
            }
        ],
        "organization": [
            {
                "organizationid": constants.ORGANIZATION_ID,
                "name": constants.ORGANIZATION_UNIQUE_NAME,
                "_basecurrencyid_value": constants.CURRENCY_ID,
            }
        ],
        "systemuser": [user, *applications],
        "connectionrole": roles,
        **_messages(),
    }


def _messages() -> dict[str, list[Row]]:
    names = (*_ROW_MESSAGES, *_BULK_MESSAGES, *_OTHER_MESSAGES, *_TABLE_MESSAGES)
    filters = []
    for table in TABLES.values():
        allowed = [*_ROW_MESSAGES, *(_BULK_MESSAGES if table.bulk else ())] if table.event else []
        allowed += [name for name, tables in _TABLE_MESSAGES.items() if table.name in tables]
        for name in allowed:
            row = {
                "sdkmessagefilterid": fixed_id("sdkmessagefilter", name, table.name),
                "primaryobjecttypecode": table.name,
                "secondaryobjecttypecode": "none",
                "iscustomprocessingstepallowed": True,
                "_sdkmessageid_value": message_id(name),
            }
            filters.append(row)
    return {
        "sdkmessage": [{"sdkmessageid": message_id(name), "name": name} for name in names],
        "sdkmessagefilter": filters,
    }


def reset(environment: Environment, *, keep_registration: bool = False) -> None:
    """Back to an empty environment, with or without the registered endpoints and steps."""
    store = environment.store
    kept = {name: list(store.rows[name].values()) for name in REGISTRATION_TABLES} if keep_registration else {}
    store.clear()
    seed(environment, base_rows())
    for name, rows in kept.items():
        for row in rows:
            store.put(name, row[TABLES[name].primary_id], row)


def seed(environment: Environment, tables: Mapping[str, Any]) -> dict[str, list[str]]:
    """Put rows in without events and return their ids by table. Raises ApiError, and then leaves nothing behind.

    `tables` maps logical table names to rows in Web API form: columns by logical name, lookups as `_x_value` with
    `_x_value@Microsoft.Dynamics.CRM.lookuplogicalname` beside it where the lookup has several targets (or as
    `…@odata.bind`). Read-only columns such as createdon may be given. A row whose id exists is replaced. References
    may point to rows that come later in the same call.
    """
    transaction = Transaction(environment.store, user=constants.SYNC_USER_ID, now=environment.moment())
    ids: dict[str, list[str]] = {}
    try:
        for name, rows in tables.items():
            table = TABLES.get(name)
            if table is None or not isinstance(rows, list):
                raise errors.unknown_segment(name)
            ids[name] = [_seed_row(transaction, table, row) for row in rows]
        _check_references(environment.store, ids)
    except errors.ApiError:
        transaction.rollback()
        raise
    return ids


def _seed_row(transaction: Transaction, table: Table, given: Row) -> str:
    values: Row = {}
    for name, value in given.items():
        if name.endswith("@odata.bind"):
            values |= _seed_bind(table, name.removesuffix("@odata.bind"), value)
        elif name in table.by_key and table.by_key[name].is_lookup:
            values |= _seed_lookup(table.by_key[name], value, given.get(name + LOOKUP_TABLE))
        elif "@" not in name and name in table.columns and not table.columns[name].is_lookup:
            values[name] = convert(table, table.columns[name], value)
        elif "@" not in name:
            raise errors.unknown_property(name, table.name)
    row_id = values.get(table.primary_id)
    if row_id is not None and transaction.store.get(table.name, row_id) is not None:
        transaction.remove(table.name, row_id)
    return writes.create(transaction, table, values)


def _seed_bind(table: Table, navigation: str, value: Any) -> Row:
    if navigation not in table.navigations:
        raise errors.unknown_property(navigation, table.name)
    column = table.navigations[navigation][0]
    if value is None:
        return lookup_value(column, None, None)
    target, row_id = parse_reference(table, value)
    return lookup_value(column, target.name, row_id)


def _seed_lookup(column: Column, value: Any, target: Any) -> Row:
    if value is None:
        return lookup_value(column, None, None)
    if target is None and (len(column.targets) == 1 or column.name == "ownerid"):
        target = column.targets[0]
    row_id = normalise_id(value)
    if target not in column.targets or row_id is None:
        raise errors.invalid_argument(f"'{column.key}' needs a GUID, and beside it the table: one of {column.targets}.")
    return lookup_value(column, str(target), row_id)


def _check_references(store: Store, ids: Mapping[str, Iterable[str]]) -> None:
    for name, row_ids in ids.items():
        columns = TABLES[name].lookups
        for row_id in row_ids:
            row = store.rows[name][row_id]
            for column in columns:
                target = row.get(column.key)
                if target is not None and store.get(row[column.key + LOOKUP_TABLE], target) is None:
                    raise errors.not_found(row[column.key + LOOKUP_TABLE], target)
