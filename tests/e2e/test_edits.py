"""Rows that change: what reaches Marketo is always the row as it is now, in as few calls as the changes allow."""

import time
from typing import Any

from emulators.dataverse.notifications import Origin
from local.harness import Made, Rows, System
from local.harness.system import body_of
from local.world.model import lookup


async def edit(system: System, rows: Rows, made: Made, **values: object) -> None:
    """Change a row in Dynamics and send the notification of it, which names these columns only."""
    made.values.update(values)
    await system.seed(rows)
    named = [name for name in values if not name.startswith("_")]
    await system.broker.post("changes", [body_of(made, columns=named)])


def shown(record: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {name: record.get(name) for name in fields}


async def test_the_current_row_is_sent_whatever_the_notification_names(system: System, rows: Rows) -> None:
    contact = rows.contact(None, rows.user(), jobtitle="Buyer", telephone1="1", department="East", donotphone=True)
    await system.save(rows, contact, message="Create")
    await system.changed(contact, title="Buyer", phone="1", department="East", doNotCall=True)
    contact.values["telephone1"] = "2"
    await edit(system, rows, contact, jobtitle="Chief Buyer")
    await system.changed(contact, title="Chief Buyer", phone="2", department="East", doNotCall=True)
    assert not await system.broker.dead_letters()


async def test_an_emptied_column_empties_the_field(system: System, rows: Rows) -> None:
    seller = rows.user(title="Dr.", mobilephone="5")
    account = rows.account(
        seller, sic="99", revenue=12.5, numberofemployees=4, industrycode=7, websiteurl="https://a.example"
    )
    contact = rows.contact(None, seller, jobtitle="Buyer", birthdate="1980-02-29", donotphone=True)
    deal = rows.opportunity(None, seller, estimatedvalue=5, closeprobability=10, estimatedclosedate="2026-01-02")
    await system.save(rows, seller, account, contact, deal)
    full = await system.synced(seller, account, contact, deal)
    fields = (
        ("title", "mobilePhone"),
        ("sicCode", "annualRevenue", "numberOfEmployees", "industry", "website"),
        ("title", "dateOfBirth", "email"),
        ("amount", "probability", "closeDate"),
    )
    assert all(record.get(name) is not None for record, names in zip(full, fields, strict=True) for name in names)
    empty = dict.fromkeys(("title", "mobilephone"))
    await edit(system, rows, seller, **empty)
    emptied = ("sic", "revenue", "numberofemployees", "industrycode", "websiteurl")
    await edit(system, rows, account, **dict.fromkeys(emptied))
    await edit(system, rows, contact, jobtitle=None, birthdate=None, emailaddress1="", donotphone=None)
    await edit(system, rows, deal, **dict.fromkeys(("estimatedvalue", "closeprobability", "estimatedclosedate")))
    for made, names in zip((seller, account, contact, deal), fields, strict=True):
        await system.changed(made, **dict.fromkeys(names))
    # A boolean has no third state in Marketo.
    assert not (await system.record(contact) or {}).get("doNotCall")
    assert not await system.broker.dead_letters()


async def test_text_that_is_too_long_for_marketo_is_cut(system: System, rows: Rows) -> None:
    seller = rows.user(firstname="Ä" * 256)
    deal = rows.opportunity(None, seller, name="é" * 300, description="d" * 2000)
    await system.save(rows, deal)
    await system.changed(deal, name="é" * 255, description="d" * 2000)
    await system.changed(seller, firstName="Ä" * 255)
    assert not await system.broker.dead_letters()


async def test_choices_arrive_as_their_english_labels(system: System, rows: Rows) -> None:
    seller = rows.user()
    account = rows.account(seller, industrycode=7)
    lead = rows.lead(account, seller, leadsourcecode=8, leadqualitycode=1, statuscode=2)
    deal = rows.opportunity(account, seller, stepname="2-Develop", estimatedvalue=10)
    await system.save(rows, account, lead, deal)
    assert (await system.synced(account))[0]["industry"]
    await system.changed(lead, leadSource="Web", rating="Hot", leadStatus="Contacted")
    await system.changed(deal, stage="2-Develop", isClosed=False, isWon=False, amount=10.0)
    closed = {"statecode": 1, "statuscode": 3, "actualvalue": 11, "actualclosedate": "2026-03-04"}
    await edit(system, rows, deal, **closed)
    await system.changed(deal, stage="Won", isClosed=True, isWon=True, amount=11.0, closeDate="2026-03-04")
    await edit(system, rows, deal, statecode=2, statuscode=5)
    await system.changed(deal, stage="Out-Sold", isClosed=True, isWon=False, amount=10.0)
    assert not await system.broker.dead_letters()


async def test_new_owners_and_new_accounts_are_followed(system: System, rows: Rows) -> None:
    first, second = rows.user(), rows.user()
    old, new = rows.account(first, name="Old Inc."), rows.account(first, name="New Inc.")
    kin = [rows.contact(old, first), rows.lead(old, first), rows.opportunity(old, first)]
    columns = ("parentcustomerid", "parentaccountid", "customerid")
    await system.save(rows, *kin)
    for made in kin:
        await system.changed(made, externalCompanyId=old.id, externalSalesPersonId=first.id)
    for made, column in zip(kin, columns, strict=True):
        owner = {**lookup("ownerid", "systemuser", second.id), **lookup("owninguser", "systemuser", second.id)}
        await edit(system, rows, made, **lookup(column, "account", new.id), **owner)
    for made in kin:
        await system.changed(made, externalCompanyId=new.id, externalSalesPersonId=second.id)
    await edit(system, rows, new, **lookup("ownerid", "systemuser", second.id))
    await system.changed(new, externalSalesPersonId=second.id)
    assert not await system.broker.dead_letters()
    await system.nothing_parked()


async def test_an_owner_who_is_no_sales_person_is_taken_off(system: System, rows: Rows) -> None:
    seller, mailless = rows.user(), rows.user(internalemailaddress=None)
    kin = [rows.account(seller), rows.contact(None, seller), rows.opportunity(None, seller)]
    await system.save(rows, *kin)
    for made in kin:
        await system.changed(made, externalSalesPersonId=seller.id)
    for made in kin:
        await edit(system, rows, made, **lookup("ownerid", "systemuser", mailless.id))
        await system.changed(made, externalSalesPersonId=None)


async def test_a_burst_of_edits_to_one_row_costs_few_calls(system: System, rows: Rows) -> None:
    contact = rows.contact(None, rows.user())
    await system.save(rows, contact)
    await system.synced(contact)
    await system.broker.idle()
    sent = await system.received("contact")
    for number in range(50):
        await edit(system, rows, contact, jobtitle=f"Job {number}")
    await system.changed(contact, title="Job 49")
    await system.broker.idle()
    assert 1 <= await system.received("contact") - sent <= 25
    together = [body_of(contact, columns=["jobtitle"]) for _ in range(50)]
    contact.values["jobtitle"] = "Last job"
    await system.seed(rows)
    sent = await system.received("contact")
    await system.broker.post("changes", together)
    await system.changed(contact, title="Last job")
    await system.broker.idle()
    assert await system.received("contact") - sent == 1


async def test_duplicates_and_old_notifications_that_come_late_change_nothing(system: System, rows: Rows) -> None:
    contact = rows.contact(None, rows.user(), jobtitle="Old job")
    deal = rows.opportunity(None, rows.made[0], name="Old name")
    yesterday = Origin(at=time.time() - 86_400)
    old = [body_of(made, "Create", origin=yesterday) for made in (contact, deal)]
    contact.values["jobtitle"], deal.values["name"] = "New job", "New name"
    await system.save(rows, contact, deal)
    await system.changed(contact, title="New job")
    await system.changed(deal, name="New name")
    await system.broker.idle()
    before = [await system.received(made.table) for made in (contact, deal)]
    await system.broker.post("changes", [*old, *old, *[body_of(made) for made in (contact, deal) for _ in range(5)]])
    await system.broker.idle()
    assert shown(await system.record(contact) or {}, "title") == {"title": "New job"}
    assert shown(await system.record(deal) or {}, "name") == {"name": "New name"}
    after = [await system.received(made.table) for made in (contact, deal)]
    assert all(now - then <= 2 for now, then in zip(after, before, strict=True)), "seven notifications of each row"
    assert not await system.broker.dead_letters()
