"""Links that lead nowhere: parents that Marketo refuses or has lost, rows that come late, rows that are hidden."""

from collections import Counter
from collections.abc import Callable

import pytest

from local.harness import Made, Rows, System, eventually
from local.harness.showing import show, way_to
from local.harness.system import body_of
from local.world.model import lookup


async def linked_later(system: System) -> list[str]:
    """Ids of the records that are in Marketo without a link, and will be sent again."""
    return sorted(row["RowKey"].split("|")[2] for row in await system.parked() if row.get("LinkedLater"))


async def refuse(system: System, path: str, field: str, made: Made) -> None:
    """Marketo does not take this row, for its content, however often it is sent."""
    await system.fault("record", path=f"/rest/v1/{path}.json", field=field, value=made.id, code="1001", count=None)


async def test_a_refused_user_holds_neither_his_account_nor_its_contacts(system: System, rows: Rows) -> None:
    seller = rows.user()
    account = rows.account(seller)
    contacts = [rows.contact(account, seller) for _ in range(3)]
    await system.seed(rows)
    await refuse(system, "salespersons", "externalSalesPersonId", seller)
    await system.notify(*contacts, account)
    await system.changed(account, externalSalesPersonId=None)
    for contact in contacts:
        await system.changed(contact, externalCompanyId=account.id, externalSalesPersonId=None)
    await system.broker.idle()
    (letter,) = await system.broker.dead_letters()
    assert (letter.code, letter.properties["record_id"]) == ("1001", seller.id)
    assert await linked_later(system) == sorted(made.id for made in (account, *contacts))
    with way_to(system):
        shown = await show(system, contacts[0].id)
    assert (shown.exit, shown.code) == (2, "LinkedLater")
    assert "1001" in shown.sentence
    assert f"msisync dead-letters replay --id {seller.id}" in shown.person["verdict"]["remedy"]
    await system.forget_faults()
    await system.notify(seller)
    for made in (account, *contacts):
        await system.changed(made, externalSalesPersonId=seller.id)
    await system.nothing_parked()


async def test_an_opt_out_does_not_wait_for_a_new_owner_whom_marketo_refuses(system: System, rows: Rows) -> None:
    first = rows.user()
    contact = rows.contact(None, first, donotphone=False)
    await system.save(rows, contact)
    await system.changed(contact, externalSalesPersonId=first.id)
    second = rows.user()
    await refuse(system, "salespersons", "externalSalesPersonId", second)
    contact.values.update(lookup("ownerid", "systemuser", second.id), donotphone=True)
    await system.save(rows, contact)
    await system.changed(contact, doNotCall=True, externalSalesPersonId=first.id)
    await system.broker.dead_letter_of(second.id)
    await system.broker.idle()
    assert await linked_later(system) == [contact.id]
    await system.forget_faults()
    await system.notify(second)
    await system.changed(contact, externalSalesPersonId=second.id)
    assert len(await system.broker.dead_letters()) == 1
    await system.nothing_parked()


async def calls(system: System) -> Counter[str]:
    """Calls that Marketo has counted so far, by path and verb. The clock alone decides about looks at the day's use."""
    made = (await system.marketo("/stats"))["calls"]
    return Counter(
        {
            f"{verb} {path}": sum(made[path][verb].values())
            for path in made
            for verb in made[path]
            if not path.endswith("/stats/usage.json")
        }
    )


@pytest.mark.parametrize("answer", ["skip", "ignore"])
async def test_a_company_that_was_deleted_in_marketo_comes_back_with_its_people(system: System, answer: str) -> None:
    """However Marketo takes a link to a company that it does not have; each function has a process of its own."""
    await system.marketo("/switches", {"delete_with_children": "allow", "missing_company": answer})
    rows = Rows()
    seller = rows.user()
    account = rows.account(seller, createdon="2020-05-06T07:08:09Z")
    contacts = [rows.contact(account, seller) for _ in range(3)]
    deal = rows.opportunity(account, seller)
    children = [*contacts, deal]
    await system.save(rows, *children)
    for child in children:
        await system.changed(child, externalCompanyId=account.id)
    await system.broker.idle()
    await system.delete_in_marketo("companies", [{"externalCompanyId": account.id}], deleteBy="dedupeFields")
    before = await calls(system)
    saved = contacts[0] if answer == "skip" else account
    saved.values.update({"jobtitle": "New"} if saved is contacts[0] else {"name": "New Ltd."})
    await system.save(rows, saved)
    for child in children:
        await system.changed(child, externalCompanyId=account.id)
    await system.broker.idle()
    assert await system.record(account)
    made = await calls(system) - before
    assert made.total() - 1 <= 10, f"beside the one for the row that was saved: {made}"
    assert not await system.broker.dead_letters()
    await system.nothing_parked()


async def scheduled(system: System, queue: str) -> int:
    return (await system.broker.counts())[system.broker.queue(queue)].scheduled


async def eventually_scheduled(system: System, is_right: Callable[[int], bool]) -> None:
    await eventually(lambda: scheduled(system, "person"), is_right, what="a record that is looked for again")


async def test_a_row_that_is_committed_after_its_notification_is_synced(system: System, rows: Rows) -> None:
    contact = rows.contact(None, rows.user())
    await system.broker.post("changes", [body_of(contact, "Create")])
    await eventually_scheduled(system, lambda count: count == 1)
    await system.seed(rows)
    await system.synced(contact)
    assert not await system.broker.dead_letters()


async def test_a_row_that_is_not_there_is_let_go_in_the_end(system: System) -> None:
    contact = Rows().contact()
    await system.broker.post("changes", [body_of(contact, "Create")])
    for _ in range(2):
        await eventually_scheduled(system, lambda count: count == 1)
        await system.broker.hurry(system.broker.queue("person"))
    await system.broker.idle()
    assert not await system.broker.dead_letters()


async def test_an_account_that_the_security_role_hides_is_told_and_not_waited_for(system: System, rows: Rows) -> None:
    seller = rows.user()
    account = rows.account(seller)
    contact = rows.contact(account, seller)
    await system.seed(rows)
    await system.dataverse("/switches", {"hidden_rows": [account.id]})
    try:
        await system.notify(contact)
        await system.changed(contact, externalSalesPersonId=seller.id, externalCompanyId=None)
        letter = await system.broker.dead_letter_of(account.id)
        await system.broker.idle()
        assert (letter.code, len(await system.broker.dead_letters())) == ("RowHidden", 1)
        assert "Read on the table account" in letter.properties["message"]
    finally:
        await system.dataverse("/switches", {"hidden_rows": []})
    await system.notify(account)
    await system.changed(contact, externalCompanyId=account.id)
    await system.nothing_parked()
