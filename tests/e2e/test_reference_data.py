"""Reference data that changes: what is sent follows it, in every process, and what was sent before is sent again."""

from uuid import uuid4

from azure.data.tables.aio import TableClient

from emulators.dataverse.seeding import fixed_id
from emulators.marketo.objects import LEADS
from local.harness import Made, Rows, System
from local.harness.commands import run_here
from local.harness.showing import settings_of, way_to
from local.harness.system import body_of
from local.world.model import lookup


async def save(system: System, made: Made, **values: object) -> None:
    """A person in Dynamics changes these columns of a row, and Dynamics tells of it."""
    made.values.update(values)
    await system.dataverse("/seed", {made.table: [made.row()]})
    columns = [name[1:-6] if name.endswith("_value") else name for name in values if "@" not in name]
    await system.broker.post("changes", [body_of(made, "Update", columns=columns)])


async def test_a_role_that_is_made_while_the_app_runs_arrives_with_its_own_name(system: System, rows: Rows) -> None:
    deal, first, second = rows.opportunity(), rows.contact(), rows.contact()
    known = rows.connection(deal, first, "Champion")
    await system.save(rows, known, deal)
    await system.has_roles(deal, (first, "Champion"))
    name = f"Role {uuid4().hex[:8]}"
    await system.dataverse(
        "/seed", {"connectionrole": [{"connectionroleid": fixed_id("connectionrole", name), "name": name}]}
    )
    later = Rows()
    connection = later.connection(deal, second, name)
    await system.seed(later)
    await system.notify(connection)
    await system.has_roles(deal, (first, "Champion"), (second, name))


async def test_an_owner_who_gets_an_address_is_the_sales_person_of_earlier_records(system: System, rows: Rows) -> None:
    seller = rows.user(internalemailaddress=None)
    account = rows.account(seller)
    contact, lead, deal = rows.contact(account, seller), rows.lead(account, seller), rows.opportunity(account, seller)
    await system.save(rows, contact, lead, deal)
    for record in await system.synced(account, contact, lead, deal):
        assert record.get("externalSalesPersonId") is None
    await save(system, seller, internalemailaddress=f"{uuid4().hex[:8]}@contoso.example")
    for made in (account, contact, lead, deal):
        await system.changed(made, externalSalesPersonId=seller.id)
    await save(system, seller, isdisabled=True)
    for made in (account, contact, lead, deal):
        await system.changed(made, externalSalesPersonId=None)
    await system.broker.idle()
    before = await system.received("account")
    await save(system, seller, mobilephone="+49 40 1")
    await system.changed(seller, mobilePhone="+49 40 1")
    await system.broker.idle()
    assert await system.received("account") == before, "another telephone number has sent the user's accounts again"


async def test_the_records_of_a_team_follow_its_administrator(system: System, rows: Rows) -> None:
    first, second = rows.user(), rows.user()
    team = rows.team(first)
    account = rows.account(team)
    await system.save(rows, account)
    await system.changed(account, externalSalesPersonId=first.id)
    await save(system, team, **lookup("administratorid", "systemuser", second.id))
    await system.changed(account, externalSalesPersonId=second.id)


async def test_a_renamed_role_is_sent_again(system: System, rows: Rows) -> None:
    name = f"Role {uuid4().hex[:8]}"
    role = rows.add("connectionrole", name=name)
    deal, person = rows.opportunity(), rows.contact()
    connection = rows.connection(deal, person)
    connection.values.update(lookup("record2roleid", "connectionrole", role.id))
    await system.save(rows, connection, deal)
    await system.has_roles(deal, (person, name))
    await save(system, role, name=f"{name} B")
    # What becomes of the role with the old name is another matter: it is a record of its own.
    roles = await system.has_roles(deal, (person, name), (person, f"{name} B"))
    assert len(roles) == 2


async def test_the_company_of_an_opportunity_follows_the_contact_in_between(system: System, rows: Rows) -> None:
    old, new = rows.account(), rows.account()
    above = rows.contact(old)
    below = rows.contact(above)
    deal, deeper = rows.opportunity(above), rows.opportunity(below)
    await system.save(rows, deal, deeper, below)
    for made in (deal, deeper, below):
        await system.changed(made, externalCompanyId=old.id)
    await save(system, above, **lookup("parentcustomerid", "account", new.id))
    for made in (above, deal, deeper, below):
        await system.changed(made, externalCompanyId=new.id)


async def msisync(system: System, *words: str) -> None:
    with way_to(system):
        await run_here(system.stack.settings_file, *words)


async def sent_without_its_department(system: System, rows: Rows) -> Made:
    """A contact that was sent when Marketo did not have that field yet."""
    contact = rows.contact(department="Board")
    await system.seed(rows)
    await system.marketo("/switches", {"removed_fields": {LEADS: ["department"]}})
    await msisync(system, "fields", "check")
    await system.notify(contact)
    (person,) = await system.synced(contact)
    assert "department" not in person
    await system.marketo("/switches", {"removed_fields": {}})
    return contact


async def test_a_new_field_is_sent_with_the_next_change_after_fields_check(system: System, rows: Rows) -> None:
    contact = await sent_without_its_department(system, rows)
    await msisync(system, "fields", "check")
    await save(system, contact, jobtitle="Buyer")
    await system.changed(contact, department="Board")


async def test_a_new_field_is_sent_by_resync(system: System, rows: Rows) -> None:
    contact = await sent_without_its_department(system, rows)
    await msisync(system, "resync", "contact", contact.id)
    await system.changed(contact, department="Board")


async def test_a_renamed_choice_has_the_rows_with_its_old_label_sent_again(system: System, rows: Rows) -> None:
    """The label of the choice is all that changes: Dynamics posts nothing for the rows."""
    before, after = rows.account(industrycode=1), rows.account(industrycode=1)
    await system.save(rows, before)
    (old,) = await system.synced(before)
    name = f"Industry {uuid4().hex[:8]}"
    assert old["industry"] not in (None, name)
    await system.dataverse("/switches", {"renamed_options": {"account": {"industrycode": {"1": name}}}})
    await msisync(system, "fields", "check")
    await system.notify(after)
    await system.changed(after, industry=name)
    await system.run_timer()
    await system.changed(before, industry=name)


async def look_again(system: System) -> None:
    """The timer runs, and a quarter of an hour has passed since it asked for rows that could not be seen."""
    values = settings_of(system)
    storage = system.endpoints["storage"]["connection_string"]
    async with TableClient.from_connection_string(storage, values.get("STATE_TABLE", "state")) as table:
        await table.delete_entity("reference", "unseen")
    await system.run_timer()


async def test_an_owner_who_becomes_visible_is_linked_without_another_change(system: System, rows: Rows) -> None:
    known, unknown = rows.user(), rows.user()
    owned = [(owner, rows.account(owner)) for owner in (known, unknown)]
    await system.save(rows, known)
    await system.synced(known)
    await system.dataverse("/switches", {"hidden_rows": [known.id, unknown.id]})
    await system.notify(*(account for _, account in owned))
    for record in await system.synced(*(account for _, account in owned)):
        assert record.get("externalSalesPersonId") is None
    await system.broker.idle()
    await system.run_timer()
    await system.dataverse("/switches", {"hidden_rows": []})
    await look_again(system)
    for owner, account in owned:
        await system.changed(account, externalSalesPersonId=owner.id)
    await system.nothing_parked()


async def test_a_user_whose_address_is_hidden_keeps_it_and_gets_other_fields(system: System, rows: Rows) -> None:
    seller, new = rows.user(title="Dr."), rows.user()
    account = rows.account(new)
    await system.save(rows, seller)
    (before,) = await system.synced(seller)
    await system.dataverse("/switches", {"secured_columns": {"systemuser": {"internalemailaddress": "hidden"}}})
    await save(system, seller, title="Prof.")
    await system.changed(seller, title="Prof.", email=before["email"])
    await system.notify(new, account)
    (record,) = await system.synced(account)
    assert record.get("externalSalesPersonId") is None
    await system.broker.idle()
    assert await system.record(new) is None, "without an address, a sales person is of no use"
    assert not await system.broker.dead_letters()
    await system.run_timer()
    await system.dataverse("/switches", {"secured_columns": {}})
    await look_again(system)
    await system.changed(account, externalSalesPersonId=new.id)
