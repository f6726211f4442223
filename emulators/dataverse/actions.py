"""The actions of sales: merge two rows, qualify a lead, win or lose an opportunity."""

from typing import Any, Final

from emulators.dataverse import constants, errors, notifications, writes
from emulators.dataverse.calls import Call
from emulators.dataverse.columns import LOOKUP_TABLE, Table
from emulators.dataverse.messages import ApiResponse, json_response
from emulators.dataverse.privileges import check_privilege
from emulators.dataverse.query import Options, projector
from emulators.dataverse.schema import visible_row
from emulators.dataverse.store import Change, Row, lookup_value
from emulators.dataverse.tables import TABLES
from emulators.dataverse.values import normalise_id, parse_reference, read_payload

_NAMESPACE: Final = "Microsoft.Dynamics.CRM."
_MERGEABLE: Final = ("account", "contact", "lead")
_PERSON: Final = (
    *("salutation", "firstname", "middlename", "lastname", "jobtitle", "description"),
    *("emailaddress1", "telephone1", "mobilephone", "fax", "websiteurl"),
    *("address1_line1", "address1_line2", "address1_line3", "address1_city"),
    *("address1_stateorprovince", "address1_postalcode", "address1_country"),
    *("donotemail", "donotbulkemail", "donotphone", "donotfax", "donotpostalmail", "donotsendmm", "new_synctomkto"),
)
# Links between rows of a merge that are not children to be handed over.
_NOT_CHILDREN: Final = frozenset({"masterid", "relatedconnectionid"})


def merge(call: Call) -> ApiResponse:
    """Merge: the subordinate is deactivated and tells its master, its children go to the target."""
    body = call.request.json()
    table, target_id = _entity_parameter(call, body, "Target")
    other_table, loser_id = _entity_parameter(call, body, "Subordinate")
    if table.name not in _MERGEABLE or other_table is not table or target_id == loser_id:
        raise errors.invalid_argument("Merge needs two different rows of one table: account, contact or lead.")
    check_privilege(call, table, "Write")
    call.environment.stats.count("merge", table.name)
    transaction = call.transaction
    for row_id in (target_id, loser_id):
        if transaction.store.get(table.name, row_id) is None:
            raise errors.not_found(table.name, row_id)
    content = read_payload(table, body.get("UpdateContent") or {}, transaction.store, creating=False)
    _hand_over_children(call, table, loser_id, target_id)
    if content:
        writes.update(transaction, table, target_id, content)
    inactive: Row = {"statecode": 2, "statuscode": 7} if table.name == "lead" else {"statecode": 1, "statuscode": 2}
    master = lookup_value(table.columns["masterid"], table.name, target_id)
    writes.update(transaction, table, loser_id, {**inactive, "merged": True, **master})
    row = transaction.store.rows[table.name][target_id]
    parameters = dict(notifications.merge(table.name, target_id, loser_id, content))
    transaction.changes.append(
        Change(message="Merge", table=table.name, id=target_id, row=row, before=row, parameters=parameters)
    )
    return ApiResponse(204, {"OData-Version": "4.0"})


def _entity_parameter(call: Call, body: dict[str, Any], name: str) -> tuple[Table, str]:
    value = body.get(name)
    kind = str(value.get("@odata.type", "")).lstrip("#") if isinstance(value, dict) else ""
    table = call.environment.store.tables.get(kind.removeprefix(_NAMESPACE))
    row_id = normalise_id(value.get(table.primary_id)) if table and isinstance(value, dict) else None
    if table is None or row_id is None:
        raise errors.bad_payload("", f"The parameter '{name}' needs an '@odata.type' and the key of its row.")
    return table, row_id


def _hand_over_children(call: Call, table: Table, loser_id: str, target_id: str) -> None:
    store = call.transaction.store
    for child, child_id, column_name in list(store.referrers(loser_id)):
        if column_name in _NOT_CHILDREN or (child, child_id) == (table.name, target_id):
            continue
        column = TABLES[child].columns[column_name]
        row = store.get(child, child_id)
        if column.update and row is not None and row.get(column.key) == loser_id:
            writes.update(call.transaction, TABLES[child], child_id, lookup_value(column, table.name, target_id))


def qualify_lead(call: Call, lead_id: str) -> ApiResponse:
    """QualifyLead: creates what the caller asks for; the contact has a new id and names the lead it comes from."""
    check_privilege(call, TABLES["lead"], "Write")
    call.environment.stats.count("qualify", "lead")
    body = call.request.json()
    transaction = call.transaction
    lead = transaction.store.get("lead", lead_id)
    if lead is None:
        raise errors.not_found("lead", lead_id)
    if lead["statecode"] != 0:
        raise errors.ApiError(400, "0x80048408", "The lead is already closed.")
    made: list[tuple[str, str]] = []
    values: Row = {"statecode": 1, "statuscode": body.get("Status", 3)}
    for table, wanted in (
        ("account", "CreateAccount"),
        ("contact", "CreateContact"),
        ("opportunity", "CreateOpportunity"),
    ):
        if body.get(wanted) is True:
            check_privilege(call, TABLES[table], "Create")
            row = _from_lead(table, visible_row(transaction.store, "lead", lead), dict(made))
            row = visible_row(transaction.store, table, row)
            made.append((table, writes.create(transaction, transaction.store.tables[table], row)))
    links = {"account": "parentaccountid", "contact": "parentcontactid", "opportunity": "qualifyingopportunityid"}
    for table, row_id in made:
        values |= lookup_value(TABLES["lead"].columns[links[table]], table, row_id)
    writes.update(transaction, TABLES["lead"], lead_id, values)
    parameters, output = notifications.qualify_lead(lead_id, made, status=values["statuscode"])
    row = transaction.store.rows["lead"][lead_id]
    change = Change(message="QualifyLead", table="lead", id=lead_id, row=row, before=lead)
    change.parameters, change.output = dict(parameters), dict(output)
    transaction.changes.append(change)
    return _created_rows(call, made)


def _from_lead(table: str, lead: Row, made: dict[str, str]) -> Row:
    columns = TABLES[table].columns
    owner = {key: lead[key] for key in ("_ownerid_value", "_ownerid_value" + LOOKUP_TABLE)}
    account = made.get("account") or lead.get("_parentaccountid_value")
    if table == "account":
        shared = ("telephone1", "fax", "websiteurl", "revenue", "numberofemployees", "industrycode", "sic")
        return {"name": lead.get("companyname"), **{name: lead[name] for name in shared if name in lead}, **owner}
    origin = lookup_value(columns["originatingleadid"], "lead", lead["leadid"])
    if table == "contact":
        parent = lookup_value(columns["parentcustomerid"], "account", account)
        return {**{name: lead[name] for name in _PERSON if name in lead}, **origin, **parent, **owner}
    contact = made.get("contact") or lead.get("_parentcontactid_value")
    customer = ("account", account) if account else ("contact", contact)
    linked = lookup_value(columns["customerid"], *customer) | lookup_value(
        columns["parentcontactid"], "contact", contact
    )
    return {"name": lead.get("subject") or lead.get("fullname"), **origin, **linked, **owner}


def _created_rows(call: Call, made: list[tuple[str, str]]) -> ApiResponse:
    store = call.transaction.store
    rows = []
    for name, row_id in made:
        table = TABLES[name]
        select = Options(options={"$select": table.primary_id})
        rows.append(
            {"@odata.type": f"#{_NAMESPACE}{name}", **projector(store, table, select)(store.rows[name][row_id])}
        )
    return json_response({"@odata.context": f"{constants.API_URL}$metadata#Collection(crmbaseentity)", "value": rows})


def win_opportunity(call: Call) -> ApiResponse:
    """WinOpportunity: the opportunity takes state Won, the day and the actual revenue."""
    return _close(call, state=1, default_status=3)


def lose_opportunity(call: Call) -> ApiResponse:
    """LoseOpportunity: the opportunity takes state Lost and the day."""
    return _close(call, state=2, default_status=4)


def _close(call: Call, *, state: int, default_status: int) -> ApiResponse:
    body = call.request.json()
    close = body.get("OpportunityClose")
    if not isinstance(close, dict):
        raise errors.bad_payload("", "The parameter 'OpportunityClose' is missing.")
    opportunity = call.environment.store.tables["opportunity"]
    table, row_id = parse_reference(opportunity, close.get("opportunityid@odata.bind"))
    if table.name != "opportunity":
        raise errors.bad_payload("", "The parameter 'OpportunityClose' names no opportunity.")
    check_privilege(call, opportunity, "Write")
    call.environment.stats.count("close", "opportunity")
    status = body.get("Status", -1)
    values: Row = {
        "statecode": state,
        "statuscode": default_status if status == -1 else status,
        "actualclosedate": close.get("actualend") or call.transaction.now[: len("2025-03-04")],
    }
    if close.get("actualrevenue") is not None:
        values["actualvalue"] = close["actualrevenue"]
    payload = read_payload(opportunity, values, call.transaction.store, creating=False)
    writes.update(call.transaction, opportunity, row_id, payload)
    return ApiResponse(204, {"OData-Version": "4.0"})
