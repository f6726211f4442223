"""The native connector's column new_synctomkto through the whole system: in, out, and what hangs on a row kept out."""

from typing import Any

from local.harness import Made, Rows, System
from local.harness.system import body_of


async def set_flag(system: System, made: Made, *, flag: bool | None) -> None:
    """A person in Dynamics sets or clears the flag of a row."""
    made.values["new_synctomkto"] = flag
    await system.dataverse("/seed", {made.table: [made.row()]})
    await system.broker.post("changes", [body_of(made, "Update", columns=["new_synctomkto"])])


def company_of(person: dict[str, Any]) -> Any:
    return person.get("externalCompanyId")


async def test_no_keeps_a_row_out_yes_starts_at_once_and_no_leaves_it_as_it_is(system: System, rows: Rows) -> None:
    out, empty = rows.contact(new_synctomkto=False), rows.contact(new_synctomkto=None)
    await system.save(rows, out, empty)
    await system.synced(empty)
    await system.broker.idle()
    assert await system.record(out) is None
    await set_flag(system, out, flag=True)
    (person,) = await system.synced(out)
    assert person["lastName"] == out.values["lastname"]
    out.values["lastname"] = "Unseen"
    await set_flag(system, out, flag=False)
    await system.broker.idle()
    assert (await system.record(out) or {})["lastName"] == person["lastName"]
    assert not await system.broker.dead_letters()


async def test_a_child_of_an_excluded_row_gets_its_link_when_the_parent_is_let_in(system: System, rows: Rows) -> None:
    account = rows.account(new_synctomkto=False)
    contact, deal = rows.contact(account), rows.opportunity(account)
    await system.save(rows, contact, deal)
    person, opportunity = await system.synced(contact, deal)
    assert company_of(person) is None
    assert company_of(opportunity) is None
    await system.nothing_parked()
    await set_flag(system, account, flag=True)
    await system.synced(account)
    await system.changed(contact, externalCompanyId=account.id)
    await system.changed(deal, externalCompanyId=account.id)


async def test_a_child_that_waits_goes_without_a_parent_that_is_kept_out(system: System, rows: Rows) -> None:
    account = rows.account()
    contact = rows.contact(account)
    await system.seed(rows)
    await system.fault(
        "record", path="/rest/v1/companies.json", field="externalCompanyId", value=account.id, code="1001", count=None
    )
    await system.notify(contact)
    await system.broker.dead_letter_of(account.id)
    assert await system.parked()
    await set_flag(system, account, flag=False)
    (person,) = await system.synced(contact)
    assert company_of(person) is None
    await system.nothing_parked()


async def test_the_roles_of_a_person_kept_out_come_when_the_person_is_let_in(system: System, rows: Rows) -> None:
    person, deal = rows.contact(new_synctomkto=False), rows.opportunity()
    role = rows.connection(deal, person, "Champion")
    await system.save(rows, role, deal)
    await system.synced(deal)
    await system.broker.idle()
    assert await system.roles(deal) == []
    assert not await system.broker.dead_letters()
    await set_flag(system, person, flag=True)
    await system.has_roles(deal, (person, "Champion"))
