"""Every row of the guide's tables: keys and relations of the five entities, and the rules behind the relations."""

from typing import Any

from emulators.dataverse.seeding import fixed_id
from local.harness import Made, Rows, System
from local.world.model import lookup

APPLICATION = "0b8c1f6a-52f1-4a55-9d3c-6f0d2f3f6a02"
LONG_ROLE = "Executive sponsor of the whole digital transformation programme"


async def linked(system: System, field: str, *rows: Made) -> dict[str, Any]:
    """Wait for all of these rows and tell what a relation field of each holds, by row id."""
    found = await system.synced(*rows)
    return {made.id: record.get(field) for made, record in zip(rows, found, strict=True)}


async def test_sales_persons_are_users_with_a_mail_address(system: System, rows: Rows) -> None:
    usual = rows.user(title="Dr.", jobtitle="Seller", address1_telephone1="+49 40 1", mobilephone="2", address1_fax="3")
    disabled = rows.user(isdisabled=True, jobtitle="Seller")
    application = rows.user(applicationid=APPLICATION, accessmode=4)
    mailless = rows.user(internalemailaddress=None)
    await system.save(rows, application, mailless, usual, disabled)
    first, second = await system.synced(usual, disabled)
    expected = {
        "externalSalesPersonId": usual.id, "email": usual.values["internalemailaddress"], "firstName": "Sam",
        "lastName": usual.values["lastname"], "title": "Dr.", "phone": "+49 40 1", "mobilePhone": "2", "fax": "3",
    }  # fmt: skip
    assert {name: first.get(name) for name in expected} == expected
    assert (second["externalSalesPersonId"], second["title"]) == (disabled.id, "Seller")
    await system.broker.idle()
    assert set(await system.records("systemuser", of=[application, mailless])) == set()
    assert not await system.broker.dead_letters()


async def test_owners_become_sales_persons(system: System, rows: Rows) -> None:
    seller, manager = rows.user(), rows.user()
    disabled = rows.user(isdisabled=True)
    mailless = rows.user(internalemailaddress=None)
    application = rows.user(applicationid=APPLICATION)
    nightly = rows.user(accessmode=4)
    owners = {
        "a user": (seller, seller.id),
        "a team": (rows.team(manager), manager.id),
        "a team without administrator": (rows.team(None), None),
        "a team of a disabled user": (rows.team(disabled), None),
        "a team of a user without mail": (rows.team(mailless), None),
        "a team of an application": (rows.team(application), None),
        "a team of a user who never signs in": (rows.team(nightly), None),
        "a disabled user": (disabled, None),
        "a user without mail": (mailless, None),
        "an application": (application, None),
    }
    expected: dict[str, str | None] = {}
    children = []
    for name, (owner, sales_person) in owners.items():
        made = [rows.account(owner, name=name), rows.lead(None, owner), rows.contact(None, owner)]
        made.append(rows.opportunity(None, owner))
        children += made
        expected |= dict.fromkeys([child.id for child in made], sales_person)
    await system.save(rows, *children)
    assert await linked(system, "externalSalesPersonId", *children) == expected
    assert set(await system.records("systemuser", of=rows)) == {seller.id, manager.id}
    await system.nothing_parked()
    assert not await system.broker.dead_letters()


async def test_persons_belong_to_the_account_above_them(system: System, rows: Rows) -> None:
    seller = rows.user()
    account = rows.account(seller, name="Linked Ltd.")
    contacts = [rows.contact(account, seller)]
    contacts.append(rows.contact(contacts[0], seller))
    contacts.append(rows.contact(contacts[1], seller))
    alone = rows.contact(None, seller)
    below_alone = rows.contact(alone, seller)
    circle = [rows.contact(None, seller), rows.contact(None, seller)]
    circle[0].values.update(lookup("parentcustomerid", "contact", circle[1].id))
    circle[1].values.update(lookup("parentcustomerid", "contact", circle[0].id))
    leads = [rows.lead(account, seller), rows.lead(account, seller, companyname="as typed")]
    typed, bare = rows.lead(None, seller, companyname="as typed"), rows.lead(None, seller)
    inside, outside = [*contacts, *leads], [alone, below_alone, *circle, typed, bare]
    await system.save(rows, *inside, *outside)
    expected = dict.fromkeys([made.id for made in inside], account.id) | dict.fromkeys([made.id for made in outside])
    assert await linked(system, "externalCompanyId", *inside, *outside) == expected
    assert await linked(system, "externalPersonId", *leads, *contacts) == {m.id: m.id for m in [*leads, *contacts]}
    names = await linked(system, "company", typed, bare)
    assert names == {typed.id: "as typed", bare.id: None}
    # A linked person takes its company's name from the company: sending one is refused by Marketo (1021).
    assert not await system.broker.dead_letters()
    await system.nothing_parked()


async def test_opportunities_belong_to_their_customer(system: System, rows: Rows) -> None:
    seller = rows.user()
    customer, other = rows.account(seller), rows.account(seller)
    contact = rows.contact(other, seller)
    below, alone = rows.contact(contact, seller), rows.contact(None, seller)
    account_too = lookup("parentaccountid", "account", customer.id)
    expected = {
        rows.opportunity(customer, seller): customer.id, rows.opportunity(other, seller, **account_too): other.id,
        rows.opportunity(contact, seller): other.id, rows.opportunity(contact, seller, **account_too): customer.id,
        rows.opportunity(below, seller): other.id, rows.opportunity(alone, seller): None,
        rows.opportunity(alone, seller, **account_too): customer.id,
        rows.opportunity(None, seller, **account_too): customer.id, rows.opportunity(None, seller): None,
    }  # fmt: skip
    await system.save(rows, *expected)
    assert await linked(system, "externalCompanyId", *expected) == {made.id: key for made, key in expected.items()}
    await system.synced(contact, below, alone)  # primary contacts have a role
    assert not await system.broker.dead_letters()


async def test_a_connection_becomes_one_role_whichever_of_its_rows_comes_first(system: System, rows: Rows) -> None:
    seller = rows.user()
    deals = [rows.opportunity(None, seller) for _ in range(3)]
    contact, lead = rows.contact(None, seller), rows.lead(None, seller)
    role = lookup("record1roleid", "connectionrole", fixed_id("connectionrole", "Champion"))
    ties = [
        rows.connection(deals[0], contact, "Influencer"),
        rows.connection(contact, deals[1], **role),  # what record1 plays: here the contact
        rows.connection(lead, deals[2], "Economic Buyer"),  # what the deal plays is not the lead's role
    ]
    await system.seed(rows)
    mirrors = {row["_relatedconnectionid_value"]: row for row in await system.dataverse("/rows/connection")}
    twins = [Made("connection", mirrors[tie.id]["connectionid"], mirrors[tie.id]) for tie in ties]
    await system.notify(twins[0], ties[0])
    await system.notify(ties[1])
    await system.notify(twins[2])
    await system.has_roles(deals[0], (contact, "Influencer"))
    await system.has_roles(deals[1], (contact, "Champion"))
    await system.has_roles(deals[2], (lead, "Stakeholder"))
    await system.notify(twins[1], ties[2])
    await system.broker.idle()
    await system.has_roles(deals[1], (contact, "Champion"))
    await system.has_roles(deals[2], (lead, "Stakeholder"))
    assert not await system.broker.dead_letters()


async def test_roles_by_name_and_those_that_are_none(system: System, rows: Rows) -> None:
    seller = rows.user()
    account, deal, second = rows.account(seller), rows.opportunity(None, seller), rows.opportunity(None, seller)
    contact, lead, other = rows.contact(None, seller), rows.lead(None, seller), rows.contact(None, seller)
    ties = [
        rows.connection(deal, contact, "Decision Maker"),
        rows.connection(deal, contact, "Technical Buyer"),  # one person may play several roles
        rows.connection(deal, lead, LONG_ROLE),
        rows.connection(deal, lead),
        rows.connection(deal, seller, "Account Manager"),
        rows.connection(account, deal),
        rows.connection(contact, lead, "Employee"),
        rows.connection(deal, other, "Champion", statecode=1, statuscode=2),
        rows.connection(second, other, "Champion"),
    ]
    await system.save(rows, *ties)
    found = await system.has_roles(
        deal,
        (contact, "Decision Maker"),
        (contact, "Technical Buyer"),
        (lead, LONG_ROLE[:50]),
        (lead, "Stakeholder"),
    )
    await system.has_roles(second, (other, "Champion"))
    assert {role["externalOpportunityId"] for role in found} == {deal.id}
    await system.broker.idle()
    assert len(await system.roles(deal)) == 4
    assert not await system.broker.dead_letters()


async def test_keys_are_lower_case_whatever_the_notification_says(system: System, rows: Rows) -> None:
    seller = rows.user()
    await system.seed(rows)
    shouted = Made("systemuser", "{" + seller.id.upper() + "}", seller.values)
    await system.notify(shouted)
    await system.synced(seller)
    assert shouted.id not in await system.records("systemuser")
