"""What arrives in Marketo is what Dynamics says: hidden columns, odd values, fields of a company."""

from typing import Any

import pytest

from emulators.marketo.objects import COMPANIES
from local.harness import Rows, System
from local.world.model import lookup


async def company_of(system: System, id_: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = await system.marketo(f"/records/{COMPANIES}")
    return next(row for row in rows if row["externalCompanyId"] == id_)


async def test_a_column_that_becomes_hidden_keeps_its_value_and_its_links(system: System, rows: Rows) -> None:
    seller = rows.user()
    account = rows.account(seller)
    contact = rows.contact(account, seller, jobtitle="Buyer", department="Kitchen")
    await system.save(rows, contact, account, seller)
    await system.changed(contact, title="Buyer", externalCompanyId=account.id)
    secured = {"contact": {"jobtitle": "hidden", "department": "read", "parentcustomerid": "hidden"}}
    await system.dataverse("/switches", {"secured_columns": secured})
    contact.values.update(firstname="Renamed", jobtitle=None, department=None)
    await system.save(rows, contact)
    await system.changed(contact, firstName="Renamed", title="Buyer", department=None, externalCompanyId=account.id)
    assert not await system.broker.dead_letters()
    await system.dataverse("/switches", {"secured_columns": {}})
    await system.notify(contact)
    await system.changed(contact, title=None)


@pytest.mark.parametrize("policy", ["skip", "shared"])
async def test_a_lead_that_leaves_its_account_does_not_rename_the_account(system: System, policy: str) -> None:
    await system.marketo("/switches", {"company_fields_on_lead": policy})
    rows = Rows()
    seller = rows.user()
    account = rows.account(seller, name="Contoso")
    made = "2026-03-01T08:00:00Z"
    lead = rows.lead(account, seller, companyname="as typed", createdon=made, modifiedon=made)
    await system.save(rows, lead, account, seller)
    await system.changed(lead, externalCompanyId=account.id)
    lead.values.update(lookup("parentaccountid", None, None), companyname="My own shop", firstname="Renamed")
    lead.values["modifiedon"] = "2026-03-02T08:00:00Z"
    await system.save(rows, lead)
    await system.changed(lead, firstName="Renamed", externalCompanyId=account.id)
    assert (await company_of(system, account.id))["company"] == "Contoso"
    free = rows.lead(None, seller, companyname="Free")
    await system.save(rows, free)
    await system.changed(free, company="Free")
    free.values["companyname"] = "Freer"
    await system.save(rows, free)
    await system.changed(free, company="Freer")
    assert not await system.broker.dead_letters()


async def test_odd_values_cost_no_record_and_no_neighbour(system: System, rows: Rows) -> None:
    blank = rows.contact(emailaddress1="li@x.example\u00a0", lastname=" Wang\u200b", jobtitle=" \t")
    named = rows.contact(emailaddress1="Li Wang <li2@x.example>", jobtitle="Buyer \U0001f338 of flowers")
    wrong = rows.contact(emailaddress1="li at x", firstname="Li")
    long = rows.contact(jobtitle="\U0001f600x" * 40, firstname="Lo")
    await system.save(rows, blank, named, wrong, long)
    await system.changed(blank, email="li@x.example", lastName="Wang", title=None)
    await system.changed(named, email="li2@x.example", title="Buyer  of flowers")
    await system.changed(wrong, email=None, firstName="Li")
    await system.changed(long, title="x" * 40)
    assert not await system.broker.dead_letters()
