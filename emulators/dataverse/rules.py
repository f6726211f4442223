"""What the platform itself fills in or insists on when a row is written."""

from collections.abc import Callable, Mapping
from typing import Final

from emulators.dataverse import constants, errors
from emulators.dataverse.columns import LOOKUP_TABLE, Table
from emulators.dataverse.registration import check_image, check_service_endpoint, check_step
from emulators.dataverse.store import Row, Store, lookup_value
from emulators.dataverse.tables import TABLES

# A rule gets the row as it will be, the row as it was, and what the request sets; it returns what follows from them.
Rule = Callable[[Store, Row, Row | None, Row], Row]


def state_and_status(table: Table, values: Row, before: Row | None) -> Row:
    """Bring state and status reason together; Dataverse: a state alone takes its first status reason."""
    states = table.state_of_status
    if not states:
        return {}
    current: int = before["statecode"] if before else 0
    state = current if values.get("statecode") is None else int(values["statecode"])
    status = values.get("statuscode")
    if status is None:
        if before is not None and "statecode" not in values:
            return {}
        status = next(value for value, of_state in states.items() if of_state == state)
    elif states[status] != state:
        name = table.columns["statecode"].labels[state].label
        row_id = before[table.primary_id] if before else "(new)"
        message = (
            f"{status} is not a valid status code for state code {table.schema_name}State.{name} on {table.name} with "
            f"Id {row_id}."
        )
        raise errors.ApiError(400, "0x80048408", message)
    return {"statuscode": status} if before else {"statecode": state, "statuscode": status}


def ownership(store: Store, values: Row) -> Row:
    """Who owns the row decides owning user, team and business unit."""
    owner, owner_table = values["_ownerid_value"], values["_ownerid_value" + LOOKUP_TABLE]
    if owner is None:
        raise errors.invalid_argument("Attribute 'ownerid' cannot be NULL.")
    holder = store.get(owner_table, owner) or {}
    unit = holder.get("_businessunitid_value") or constants.BUSINESS_UNIT_ID
    is_user = owner_table == "systemuser"
    return {
        "_owninguser_value": owner if is_user else None,
        "_owninguser_value" + LOOKUP_TABLE: "systemuser" if is_user else None,
        "_owningteam_value": None if is_user else owner,
        "_owningteam_value" + LOOKUP_TABLE: None if is_user else "team",
        "_owningbusinessunit_value": unit,
        "_owningbusinessunit_value" + LOOKUP_TABLE: "businessunit",
    }


def _person(_store: Store, row: Row, _before: Row | None, values: Row) -> Row:
    if not values.keys() & {"firstname", "lastname"}:
        return {}
    return {"fullname": " ".join(filter(None, (row.get("firstname"), row.get("lastname")))) or None}


def _contact(store: Store, row: Row, before: Row | None, values: Row) -> Row:
    found = _person(store, row, before, values)
    if "_parentcustomerid_value" in values:
        parent, kind = row["_parentcustomerid_value"], row["_parentcustomerid_value" + LOOKUP_TABLE]
        columns = TABLES["contact"].columns
        for name, target in (("accountid", "account"), ("parentcontactid", "contact")):
            found |= lookup_value(columns[name], target, parent if kind == target else None)
    return found


def _opportunity(_store: Store, row: Row, _before: Row | None, values: Row) -> Row:
    if "_customerid_value" not in values:
        return {}
    customer, kind = row["_customerid_value"], row["_customerid_value" + LOOKUP_TABLE]
    columns = TABLES["opportunity"].columns
    found: Row = {}
    for derived, parent, target in (
        ("accountid", "parentaccountid", "account"),
        ("contactid", "parentcontactid", "contact"),
    ):
        reference = customer if kind == target else None
        found |= lookup_value(columns[derived], target, reference)
        if reference is not None and columns[parent].key not in values:
            found |= lookup_value(columns[parent], target, reference)
    return found


def _connection(store: Store, row: Row, _before: Row | None, _values: Row) -> Row:
    found: Row = {}
    for which in (1, 2):
        table = row.get(f"_record{which}id_value" + LOOKUP_TABLE)
        if table is not None:
            found[f"record{which}objecttypecode"] = TABLES[table].type_code
    found["name"] = store.name_of(row.get("_record2id_value" + LOOKUP_TABLE), row.get("_record2id_value") or "")
    return found


def _opportunity_role(store: Store, row: Row, _before: Row | None, _values: Row) -> Row:
    role = row.get("_opportunityroleid_value")
    return {"opportunityroleidname": store.name_of("relationshiprole", role) if role else None}


_RULES: Final[Mapping[str, Rule]] = {
    "systemuser": _person,
    "lead": _person,
    "contact": _contact,
    "opportunity": _opportunity,
    "connection": _connection,
    "customeropportunityrole": _opportunity_role,
    "serviceendpoint": check_service_endpoint,
    "sdkmessageprocessingstep": check_step,
    "sdkmessageprocessingstepimage": check_image,
}


def derive(store: Store, table: Table, row: Row, before: Row | None, values: Row) -> Row:
    """What follows from the request's values for this table. Raises ApiError when a rule is broken."""
    found: Row = {}
    rule = _RULES.get(table.name)
    if rule is not None:
        found |= rule(store, row, before, values)
    for name in values:
        if f"{name}_base" in table.columns:
            found[f"{name}_base"] = row[name]  # one currency, so the exchange rate is 1
    return found


def check_required(table: Table, row: Row) -> None:
    """Raise ApiError for a missing value of a column that the platform requires."""
    for column in table.required:
        if row.get(column.key) is None:
            message = f"Attribute '{column.name}' cannot be NULL."
            raise errors.invalid_argument(message)
