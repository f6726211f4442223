"""What Marketo's documents leave open is a switch of the simulator: the end is right under every setting."""

from typing import Any

import pytest

from emulators.marketo.switches import CHOICES
from local.harness import Made, Rows, System
from local.world.model import lookup

LONG = "ö" * 300
TOKENS: list[dict[str, Any]] = [
    {"token_on_last_page": []},
    {"token_on_last_page": ["salespersons", "companies", "leads", "opportunities"], "token_lifetime": 5.0},
    {"reported_expires_in": 40},
    {"token_lifetime": 4.0},
]
#: Every value of every switch is in one of these.
SETTINGS = [
    {**{name: values[min(number, len(values) - 1)] for name, values in CHOICES.items()}, **TOKENS[number]}
    for number in range(max(map(len, CHOICES.values())))
]


def organisation(rows: Rows) -> list[Made]:
    """Everything that the switches are about: long text, a company's address, links, roles. Children first."""
    seller = rows.user(firstname=LONG[:256])
    account = rows.account(seller, websiteurl="https://www.customer.example", address1_line1="x" * 250)
    contact, lead = rows.contact(account, seller), rows.lead(account, seller, companyname="as typed")
    deal = rows.opportunity(account, seller, name=LONG)
    ties = [rows.connection(deal, contact, "Influencer"), rows.connection(lead, deal)]
    return [*ties, deal, contact, lead, account, seller]


@pytest.mark.parametrize("setting", SETTINGS, ids=["first choices", "second choices", "third", "fourth"])
async def test_a_small_organisation_in_the_worst_order(system: System, setting: dict[str, Any]) -> None:
    await system.marketo("/switches", setting)
    await system.marketo("/token/revoke", {})
    rows = Rows()
    *_, deal, contact, lead, account, seller = children_first = organisation(rows)
    await system.save(rows, *children_first)
    related = {"externalSalesPersonId": seller.id, "externalCompanyId": account.id}
    for made in (contact, lead, deal):
        await system.changed(made, **related)
    await system.changed(deal, name=LONG[:255])
    await system.changed(seller, firstName=LONG[:255])
    await system.changed(account, externalSalesPersonId=seller.id, billingStreet="x" * 250)
    await system.has_roles(deal, (contact, "Influencer"), (lead, "Stakeholder"))
    await system.marketo("/token/revoke", {})
    contact.values.update(lookup("parentcustomerid", None, None), jobtitle="Alone now")
    await system.save(rows, contact)
    await system.changed(contact, title="Alone now", externalSalesPersonId=seller.id)
    await system.broker.idle()
    assert not await system.broker.dead_letters()
    await system.nothing_parked()


@pytest.mark.parametrize("level", CHOICES["opportunity_sales_person"])
async def test_parents_that_vanished_from_marketo_are_brought_back(system: System, level: str) -> None:
    await system.marketo("/switches", {"opportunity_sales_person": level, "delete_with_children": "allow"})
    rows = Rows()
    seller, other = rows.user(), rows.user()
    company, person, deal = rows.account(other), rows.lead(None, other), rows.opportunity(None, other)
    await system.save(rows, *rows)
    known = await system.synced(*rows)
    await system.broker.idle()
    await system.delete_in_marketo("salespersons", [{"externalSalesPersonId": seller.id}], deleteBy="dedupeFields")
    await system.delete_in_marketo("companies", [{"externalCompanyId": company.id}], deleteBy="dedupeFields")
    await system.delete_in_marketo("leads", [{"id": known[3]["id"]}])
    account, orphan = rows.account(seller), rows.contact(company, other)
    owned, sold = rows.opportunity(None, seller), rows.opportunity(company, other)
    tie = rows.connection(deal, person)
    await system.save(rows, tie, owned, sold, orphan, account)
    await system.changed(account, externalSalesPersonId=seller.id)
    await system.changed(owned, externalSalesPersonId=seller.id)
    await system.changed(orphan, externalCompanyId=company.id, externalSalesPersonId=other.id)
    await system.changed(sold, externalCompanyId=company.id, externalSalesPersonId=other.id)
    await system.has_roles(deal, (person, "Stakeholder"))
    await system.synced(seller, company, person)
    await system.nothing_parked()
    assert not await system.broker.dead_letters()


async def test_a_mail_address_that_marketo_does_not_let_change_is_told(system: System, rows: Rows) -> None:
    seller = rows.user()
    await system.save(rows, seller)
    await system.synced(seller)
    await system.marketo("/switches", {"sales_person_email_change": "skip"})
    seller.values["internalemailaddress"] = f"new.{seller.values['internalemailaddress']}"
    await system.save(rows, seller)
    letter = await system.broker.dead_letter_of(seller.id)
    assert letter.code == "1003"
    assert "email" in letter.properties["message"]


async def test_an_address_without_protocol_holds_nobody_up(system: System) -> None:
    await system.marketo("/switches", {"url_without_protocol": "skip"})
    rows = Rows()
    seller = rows.user()
    contact = rows.contact(rows.account(seller, websiteurl="www.customer.example"), seller)
    await system.save(rows, contact)
    await system.synced(contact)
    assert not await system.broker.dead_letters()
