"""Links between records: parents that must exist, companies that leads inherit from."""

from emulators.marketo.errors import CallError, RecordError
from emulators.marketo.instance import Instance
from emulators.marketo.objects import COMPANIES, LEADS, OPPORTUNITIES, ROLES, SALES_PERSONS
from emulators.marketo.schema import Values
from emulators.marketo.store import Record

COMPANY_KEY = "externalCompanyId"
OWNER_KEY = "externalSalesPersonId"
ROLE_KEY = ("externalOpportunityId", "leadId", "role")


def write_company(instance: Instance, values: Values, existing: Record | None, now: str) -> Values:
    """Return a lead's values less those of the company that it is (or becomes) linked to, which get stored there.

    Only where the instance lets a lead write its company: all leads of the company show them then.
    """
    linked = values.get(COMPANY_KEY, existing.get(COMPANY_KEY) if existing is not None else None)
    of_company = instance.schemas[LEADS].of_company
    if linked is None or instance.switches.company_fields_on_lead != "shared" or of_company.isdisjoint(values):
        return values
    for company in instance.tables[COMPANIES].find((COMPANY_KEY,), linked):
        instance.tables[COMPANIES].update(company, {name: values[name] for name in of_company.intersection(values)})
        company["updatedAt"] = now
    return {name: value for name, value in values.items() if name not in of_company}


def check_parents(instance: Instance, kind: str, values: Values, existing: Record | None) -> str | None:
    """See to the parents that `values` name; return the key of a company to be created along, if any.

    What the documents leave open follows the switches: a link may be refused, dropped from `values`, or kept.

    Raises:
        RecordError: the record's parent is missing, or it changes a company through a lead.
        CallError: 718, an opportunity's sales person is missing.
    """
    if kind == ROLES:
        _check_role(instance, values, existing)
        return None
    implicit = None
    if kind in {LEADS, OPPORTUNITIES}:
        implicit = _check_company(instance, values)
    if kind == OPPORTUNITIES:
        _check_opportunity_owner(instance, values)
    elif kind in {LEADS, COMPANIES}:
        _check_owner(instance, values)
    if kind == LEADS:
        _check_lead_company(instance, values, existing)
    return implicit


def _check_company(instance: Instance, values: Values) -> str | None:
    key = values.get(COMPANY_KEY)
    if key is None or instance.tables[COMPANIES].has(COMPANY_KEY, key):
        return None
    if instance.switches.missing_company == "skip":
        raise RecordError("1013")
    if instance.switches.missing_company == "implicit":
        return str(key)
    values[COMPANY_KEY] = None
    return None


def _check_owner(instance: Instance, values: Values) -> None:
    key = values.get(OWNER_KEY)
    if key is None or instance.tables[SALES_PERSONS].has(OWNER_KEY, key):
        return
    if instance.switches.missing_sales_person == "skip":
        raise RecordError("1013")
    if instance.switches.missing_sales_person == "ignore":
        values[OWNER_KEY] = None


def _check_opportunity_owner(instance: Instance, values: Values) -> None:
    key = values.get(OWNER_KEY)
    if key is None or instance.tables[SALES_PERSONS].has(OWNER_KEY, key):
        return
    # Adobe lists 718 among the response-level codes, so one bad owner fails the whole call.
    if instance.switches.opportunity_sales_person == "call":
        raise CallError("718")
    raise RecordError("718")


def _check_role(instance: Instance, values: Values, existing: Record | None) -> None:
    if existing is not None:
        return
    code = instance.switches.role_parent_code
    if not instance.tables[OPPORTUNITIES].has("externalOpportunityId", values["externalOpportunityId"]):
        raise RecordError("1013" if code == "by_parent" else code)
    if not instance.tables[LEADS].find(("id",), values["leadId"]):
        raise RecordError("1004" if code == "by_parent" else code)


def _check_lead_company(instance: Instance, values: Values, existing: Record | None) -> None:
    linked = existing.get(COMPANY_KEY) if existing is not None else None
    wanted = values.get(COMPANY_KEY)
    # Marketo: a lead cannot be removed from a company, only moved to another one.
    if linked is not None and wanted is None and instance.switches.lead_without_company == "ignore":
        values.pop(COMPANY_KEY, None)
    if instance.switches.company_fields_on_lead == "shared":
        return
    if (wanted or linked) and not instance.schemas[LEADS].of_company.isdisjoint(values):
        raise RecordError("1021")


def check_unused(instance: Instance, kind: str, record: Record) -> None:
    """Allow the deletion of a record that nothing needs.

    Of sales persons Adobe says so: not while active leads have them, nor after a company of theirs was deleted
    (sales-persons.md). For companies and opportunities the list of error codes has 1022, "object in use", and Adobe's
    CRM white paper gives the order; whether Marketo refuses it is a guess, and a switch.

    Raises:
        RecordError: 1022, it is in use.
    """
    in_use = False
    if kind == SALES_PERSONS:
        key = record.get(OWNER_KEY)
        in_use = instance.tables[LEADS].has(OWNER_KEY, key) or key in instance.owners_of_deleted_companies
    elif instance.switches.delete_with_children == "allow":
        return
    elif kind == COMPANIES:
        in_use = instance.tables[LEADS].has(COMPANY_KEY, record.get(COMPANY_KEY))
    elif kind == OPPORTUNITIES:
        in_use = bool(_roles_of(instance, record))
    if in_use:
        raise RecordError("1022")


def forget(instance: Instance, kind: str, record: Record) -> None:
    """Undo the links to a record that is being deleted."""
    if kind == COMPANIES:
        if record.get(OWNER_KEY) is not None:
            instance.owners_of_deleted_companies.add(record[OWNER_KEY])
        for lead in instance.tables[LEADS].find((COMPANY_KEY,), record.get(COMPANY_KEY)):
            instance.tables[LEADS].update(lead, {COMPANY_KEY: None})
    roles = instance.tables[ROLES]
    if kind == OPPORTUNITIES:
        for role in _roles_of(instance, record):
            roles.delete(role)
    elif kind == LEADS:
        for role in roles.find(("leadId",), record["id"]):
            roles.delete(role)


def hand_over_roles(instance: Instance, loser: Record, winner: Record) -> None:
    """Give the opportunity roles of a lead that is merged away to the lead that remains, each role once."""
    roles = instance.tables[ROLES]
    for role in roles.find(("leadId",), loser["id"]):
        key = (role["externalOpportunityId"], winner["id"], role["role"])
        if roles.find(ROLE_KEY, key):
            roles.delete(role)
        else:
            roles.update(role, {"leadId": winner["id"]})


def company_of(instance: Instance, lead: Record) -> Record | None:
    """Return the company that the lead inherits from."""
    key = lead.get(COMPANY_KEY)
    if key is None:
        return None
    return next(iter(instance.tables[COMPANIES].find((COMPANY_KEY,), key)), None)


def _roles_of(instance: Instance, opportunity: Record) -> list[Record]:
    return instance.tables[ROLES].find(("externalOpportunityId",), opportunity.get("externalOpportunityId"))
