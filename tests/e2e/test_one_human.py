"""One human is one person in Marketo: adopted by e-mail, or qualified; also when the app is killed meanwhile."""

import pytest

from local.harness import Made, Rows, System
from local.harness.commands import run_here
from local.harness.showing import way_to
from local.world.model import lookup

LEADS = "/rest/v1/leads.json"


async def known_to_marketing(system: System, person: Made) -> int:
    """Marketing has somebody with the row's address, from a form."""
    ids = await system.marketo("/seed", {"leads": [{"email": person.values["emailaddress1"].upper()}]})
    return int(ids["leads"][0])


async def with_address(system: System, person: Made) -> list[dict[str, object]]:
    """Marketo's persons that have the row's address."""
    address = person.values["emailaddress1"]
    records = await system.marketo("/records/leads")  # of other tests too, some of which have no address
    return [record for record in records if str(record.get("email")).lower() == address]


async def contacts(system: System, count: int = 1) -> list[Made]:
    rows = Rows()
    seller = rows.user()
    account = rows.account(seller)
    made = [rows.contact(account, seller) for _ in range(count)]
    await system.seed(rows)
    return made


async def test_a_contact_that_marketing_has_is_adopted_with_owner_and_company(system: System) -> None:
    (contact,) = await contacts(system)
    number = await known_to_marketing(system, contact)
    await system.notify(contact, message="Create")
    record = await system.changed(contact, id=number)
    assert record["externalCompanyId"]
    assert record["externalSalesPersonId"]
    assert len(await with_address(system, contact)) == 1


@pytest.mark.parametrize(
    ("moment", "contains", "when"),
    [
        ("the look", "filterType=email", "after"), ("the adoption", '"lookupField": "id"', "during"),
        ("the adoption", '"lookupField": "id"', "after"),
    ],
)  # fmt: skip
async def test_a_kill_leaves_neither_a_double_nor_a_loss(system: System, moment: str, contains: str, when: str) -> None:
    first, second = await contacts(system, 2)
    second.values["emailaddress1"] = first.values["emailaddress1"]
    rows = Rows()
    rows.made += [second]
    await system.seed(rows)
    number = await known_to_marketing(system, first)
    await system.fault("hold", gate=moment, path=LEADS, contains=contains, when=when)
    await system.notify(first, second)
    await system.held(moment)
    await system.stack.kill_functions()
    await system.let_go(moment)
    await system.stack.start_functions()
    await system.synced(first, second)
    await system.broker.idle()
    found = await with_address(system, first)
    assert sorted(str(record["externalPersonId"]) for record in found) == sorted([first.id, second.id])
    assert number in {record["id"] for record in found}
    assert not await system.broker.dead_letters()


async def test_of_several_a_person_chooses(system: System) -> None:
    (contact,) = await contacts(system)
    numbers = [await known_to_marketing(system, contact) for _ in range(2)]
    await system.notify(contact)
    letter = await system.broker.dead_letter_of(contact.id)
    assert letter.code == "AmbiguousPerson"
    assert f"{numbers[0]}, {numbers[1]}" in str(letter.properties["message"])
    command = ("link", "contact", contact.id, str(numbers[1]))
    with way_to(system):
        person = await run_here(system.stack.settings_file, "show", "person", contact.id)
        shown = await run_here(system.stack.settings_file, *command)
        linked = await run_here(system.stack.settings_file, *command, "--apply")
    assert (shown.code, linked.code) == (1, 0), linked
    assert f"may be person {numbers[0]}, {numbers[1]}" in person.out
    assert f" {' '.join(command)} --apply" in shown.out
    assert "its dead letter is gone" in linked.out
    await system.changed(contact, id=numbers[1], lastName=contact.values["lastname"])
    await system.broker.idle()
    assert len(await with_address(system, contact)) == 2
    assert len(await system.broker.dead_letters()) == 1, "it came back"


async def test_what_the_first_sync_does_is_known_before(system: System) -> None:
    known, twice, new = await contacts(system, 3)
    number = await known_to_marketing(system, known)
    numbers = [await known_to_marketing(system, twice) for _ in range(2)]
    query = " or ".join(f"contactid eq {row.id}" for row in (known, twice, new))
    command = ("lifecycle", "preview", "contact", "--query", query)
    with way_to(system):
        shown, data = [await run_here(system.stack.settings_file, *command, *more) for more in ((), ("--json",))]
    assert (shown.code, data.code) == (1, 1), shown
    assert f"contact {twice.id}: persons {numbers[0]}, {numbers[1]}" in shown.out
    said = data.json
    assert {fate: count for fate, count in said["counts"].items() if count} == {
        "adopted": 1, "ambiguous": 1, "created": 1,
    }  # fmt: skip
    assert said["adopted"] == [{"id": known.id, "marketo_ids": [number]}]
    assert not await with_address(system, new)
    assert not any(person.get("externalPersonId") for person in await with_address(system, known))
    await system.notify(known, twice, new)
    await system.changed(known, id=number)
    await system.synced(new)
    assert (await system.broker.dead_letter_of(twice.id)).code == "AmbiguousPerson"


async def test_a_qualified_lead_and_its_contact_are_one_person_in_either_order(system: System) -> None:
    for contact_first in (True, False):
        rows = Rows()
        seller = rows.user()
        account = rows.account(seller)
        lead = rows.lead(None, seller, companyname="Fabrikam")
        await system.save(rows, lead)
        (before,) = await system.synced(lead)
        contact = rows.contact(account, seller, **lookup("originatingleadid", "lead", lead.id))
        lead.values.update(statecode=1, statuscode=3)
        await system.seed(rows)
        order = (contact, lead) if contact_first else (lead, contact)
        for row in order:
            await system.notify(row)
            await system.broker.idle()
        record = await system.changed(contact, id=before["id"], externalCompanyId=account.id)
        assert record["externalSalesPersonId"] == seller.id
        await system.notify(lead, contact)
        await system.broker.idle()
        assert await system.record(lead) is None
    # What commands say of both, whichever came first.
    with way_to(system):
        left, right = [await run_here(system.stack.settings_file, "show", "person", r.id) for r in (lead, contact)]
        refused = await run_here(system.stack.settings_file, "link", "lead", lead.id, str(before["id"]), "--apply")
    assert (left.code, right.code) == (0, 0), (left, right)
    assert refused.code == 2, refused
    assert f"link contact {contact.id}" in refused.out
    assert f"was qualified into contact {contact.id}" in left.out
    assert f"continues lead {lead.id}" in right.out


async def test_rows_that_were_merged_leave_nothing_new_and_the_winner_goes_on_with_its_children(system: System) -> None:
    rows = Rows()
    seller = rows.user()
    account, loser_account = rows.account(seller), rows.account(seller)
    winner, loser = rows.contact(account, seller), rows.contact(loser_account, seller)
    await system.seed(rows)
    await system.notify(winner, loser)
    await system.synced(winner, loser)
    # What Dynamics does: the loser is deactivated and names the winner, its children belong to the winner.
    loser_account.values.update(statecode=1, merged=True, **lookup("masterid", "account", account.id))
    loser.values.update(lookup("parentcustomerid", "account", account.id))
    await system.seed(rows)
    await system.notify(loser_account)
    await system.changed(loser, externalCompanyId=account.id)
    loser.values.update(statecode=1, merged=True, **lookup("masterid", "contact", winner.id))
    winner.values.update(firstname="Merged")
    await system.seed(rows)
    await system.notify(loser)
    await system.changed(winner, firstName="Merged")
    assert not await system.broker.dead_letters()
