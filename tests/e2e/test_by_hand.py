"""Somebody merges or deletes persons in Marketo by hand: rows and roles follow, and nobody is created for it."""

from local.harness import Made, Rows, System
from local.harness.insight import TIMER, Insight


async def in_a_deal(system: System) -> tuple[Made, Made, Made, int]:
    """A contact with a role in a deal, its owner, and its person's id."""
    rows = Rows()
    seller = rows.user()
    account = rows.account(seller)
    contact = rows.contact(account, seller, createdon="2020-05-06T07:08:09Z")
    deal = rows.opportunity(account, seller)
    rows.connection(deal, contact, "Decision Maker")
    await system.seed(rows)
    await system.notify(*rows)
    (record, _) = await system.synced(contact, deal)
    await system.has_roles(deal, (contact, "Decision Maker"))
    await system.run_timer(function=TIMER)
    await system.broker.idle()
    return contact, deal, seller, int(record["id"])


async def test_the_row_of_a_merged_person_goes_on_with_the_one_that_is_left(system: System) -> None:
    contact, deal, seller, number = await in_a_deal(system)
    ids = await system.marketo("/seed", {"leads": [{"email": "somebody@example.org", "firstName": "From a form"}]})
    (left,) = ids["leads"]
    await system.marketo("/merge", {"winner": {"id": left}, "losers": [{"id": number}]})
    record = await system.record(contact)
    assert record
    assert (record["id"], record["firstName"]) == (left, "From a form")
    await system.run_timer(function=TIMER)
    await system.changed(contact, id=left, firstName=contact.values["firstname"], externalSalesPersonId=seller.id)
    await system.broker.idle()
    (role,) = await system.roles(deal)
    assert (role["leadId"], role["role"]) == (left, "Decision Maker")
    assert not await system.broker.dead_letters()


async def test_a_deleted_person_comes_back_with_its_roles_when_its_row_changes(system: System) -> None:
    contact, deal, _, number = await in_a_deal(system)
    await system.marketo("/delete", {"leads": [{"id": number}]})
    insight = Insight(system)
    read = (await insight.state("changes"))["deletions"]
    await insight.change_state("changes", deletions={**read, "since": "2026-01-01T00:00:00Z"})  # more than an hour ago
    await insight.run()
    assert (await insight.state("changes"))["deletions"]["token"] != read["token"]
    await system.broker.idle()
    assert await system.record(contact) is None
    rows = Rows()
    contact.values.update(jobtitle="New")
    rows.made += [contact]
    await system.save(rows, contact)
    record = await system.changed(contact, title="New")
    assert record["id"] != number
    await system.has_roles(deal, (contact, "Decision Maker"))
    assert not await system.broker.dead_letters()
