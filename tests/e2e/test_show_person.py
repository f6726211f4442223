"""`msisync show person` on records that have really come to where they stand, with every part running."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from emulators.marketo.objects import LEADS
from local.harness import Made, Rows, System, eventually
from local.harness.commands import run_here
from local.harness.showing import run, settings_of, show, show_all, way_to

MARKETO_CALLS = 10


@pytest.fixture(autouse=True)
def _network(system: System) -> Iterator[None]:
    with way_to(system):
        yield


async def by_hand_in_marketo(system: System, made: Made, **fields: Any) -> None:
    """Change Marketo's record of a person by hand."""
    record = await system.record(made)
    assert record is not None
    await patch_record(system, record["id"], **fields)


async def patch_record(system: System, id_: int, **fields: Any) -> None:
    url = f"{system.stack.control()['marketo']}/records/{LEADS}"
    (await system.http.patch(url, json=[{"id": id_, **fields}])).raise_for_status()


async def calls_of_marketo(system: System) -> int:
    stats = await system.marketo("/stats")
    return sum(sum(by.values()) for path in stats["calls"].values() for by in path.values())


async def test_a_synced_person_with_everything_around_it(system: System, rows: Rows) -> None:
    manager, seller = rows.user(), rows.user()
    team = rows.team(manager, name="Team North")
    account = rows.account(seller)
    contact = rows.contact(account, team)
    deal = rows.opportunity(account, seller)
    tie = rows.connection(deal, contact, "Influencer")
    await system.save(rows, contact, deal, tie)
    await system.has_roles(deal, (contact, "Influencer"))
    await system.broker.idle()
    before = await calls_of_marketo(system)
    shown = await show(system, contact.id.upper())
    assert await calls_of_marketo(system) - before <= MARKETO_CALLS
    assert (shown.exit, shown.code) == (0, "Synced")
    owner, company = shown.person["relations"]
    assert (owner["parent"]["id"], owner["in_marketo"]) == (manager.id, True)
    assert "Team North" in owner["how"]
    assert owner["email"] == owner["email_in_marketo"] == manager.values["internalemailaddress"]
    assert (company["parent"]["id"], company["name"], company["in_marketo"]) == (
        account.id, account.values["name"], True,
    )  # fmt: skip
    (record,) = shown.person["records"]
    assert (record["externalPersonId"], record["externalCompanyId"]) == (contact.id, account.id)
    assert record["externalSalesPersonId"] == manager.id
    (role,) = shown.person["roles"]
    assert (role["opportunity"], role["role"], role["expected"], role["actual"]) == (deal.id, "Influencer", True, True)
    assert shown.data["not_looked_at"] == []
    (code, text, _), (code_of_json, printed, _) = await asyncio.gather(
        run(system, contact.values["emailaddress1"]), run(system, contact.id, "--json")
    )
    assert (code, code_of_json) == (0, 0)
    assert text.startswith("Synced ")
    assert json.loads(printed)["verdict"]["code"] == "Synced"
    for word in (contact.id, account.values["name"], "Team North", "Influencer", str(record["id"])):
        assert word in text
    named = ("SECRET", "PASSWORD", "KEY", "Connection")
    secrets = [value for name, value in settings_of(system).items() if name.endswith(named)]
    assert len(secrets) >= 4
    assert [secret for secret in secrets if secret in text + printed] == []


async def test_what_differs_in_marketo_is_named(system: System, rows: Rows) -> None:
    seller, renamed = rows.user(), rows.user()
    account = rows.account(seller)
    by_hand, unlinked, tab = (
        rows.contact(account, seller), rows.contact(account, seller), rows.contact(account, renamed),
    )  # fmt: skip
    deal = rows.opportunity(account, seller)
    untied = rows.lead(account, seller)
    await system.save(rows, by_hand, unlinked, tab, deal, untied)
    await system.synced(by_hand, unlinked, tab, deal, untied)
    await system.broker.idle()
    await by_hand_in_marketo(system, by_hand, email="other@customer.example")
    await by_hand_in_marketo(system, unlinked, externalCompanyId=None)
    rows.connection(deal, untied, "Champion")
    renamed.values["internalemailaddress"] = "new.address@contoso.example"
    await system.seed(rows)
    first, second, third, fourth = await show_all(system, by_hand, unlinked, tab, untied)
    assert {(each.exit, each.code) for each in (first, second, third)} == {(2, "Differs")}
    assert first.differences == {"email": (by_hand.values["emailaddress1"], "other@customer.example")}
    assert second.differences == {"externalCompanyId": (account.id, None)}
    assert list(third.differences) == ["sales person's email"]
    assert third.differences["sales person's email"][0] == "new.address@contoso.example"
    assert third.data["verdict"]["remedy"].startswith(f"msisync resync systemuser {renamed.id}")
    assert list(fourth.differences) == [f"role Champion in {deal.values['name']}"]
    assert (fourth.exit, fourth.code) == (1, "RoleMissing")
    assert fourth.data["verdict"]["remedy"].startswith("msisync resync opportunity_role ")


async def test_values_stand_side_by_side_on_request_with_sales_insight_s(system: System, rows: Rows) -> None:
    contact = rows.contact()
    await system.save(rows, contact)
    await system.synced(contact)
    await system.broker.idle()
    await by_hand_in_marketo(system, contact, firstName="Somebody", priority=3)
    before = await calls_of_marketo(system)
    shown = await show(system, contact.id, "--values")
    assert await calls_of_marketo(system) - before <= MARKETO_CALLS
    values = {row["field"]: row for row in shown.person["values"]}
    first = values["firstName"]
    assert (first["sent"], first["marketo"], first["differs"]) == (contact.values["firstname"], "Somebody", True)
    assert first["dynamics"] == {"firstname": contact.values["firstname"]}
    assert values["email"]["differs"] is False
    insight = [name for name, row in values.items() if row["back"]]
    assert len(insight) == 7
    assert (values["priority"]["marketo"], values["priority"]["differs"]) == (3, True)
    assert "values" not in (await show(system, contact.id)).person


async def test_accounts_opportunities_and_users_are_shown_as_persons_are(system: System, rows: Rows) -> None:
    seller = rows.user()
    account = rows.account(seller)
    deal = rows.opportunity(account, seller)
    await system.save(rows, seller, account, deal)
    await system.synced(seller, account, deal)
    await system.broker.idle()
    links = {seller: {}, account: {"externalSalesPersonId": seller.id}}
    links[deal] = {**links[account], "externalCompanyId": account.id}
    for made in (seller, account, deal):
        before = await calls_of_marketo(system)
        shown = await show(system, made.id, "--values")
        assert await calls_of_marketo(system) - before <= MARKETO_CALLS
        assert (shown.exit, shown.code) == (0, "Synced"), shown.sentence
        values = {row["field"]: row for row in shown.person["values"]}
        assert [name for name, row in values.items() if row["differs"]] == []
        assert {name: values[name]["marketo"] for name in links[made]} == links[made]
    renamed = account.values["name"] = f"{account.values['name']} Ltd"
    await system.seed(rows)  # without a notification
    shown = await show(system, account.id, "--values")
    assert (shown.exit, shown.code) == (2, "Differs")
    assert shown.data["verdict"]["remedy"].startswith(f"msisync resync account {account.id}")
    values = {row["field"]: row for row in shown.person["values"]}
    assert (values["company"]["sent"], values["company"]["differs"]) == (renamed, True)


async def test_an_opportunity_that_was_never_sent_is_named_with_the_command_that_sends_it(
    system: System, rows: Rows
) -> None:
    seller = rows.user()
    account = rows.account(seller)
    contact = rows.contact(account, seller)
    await system.save(rows, contact)
    await system.synced(contact)
    await system.broker.idle()
    deal = rows.opportunity(account, seller)
    tie = rows.connection(deal, contact, "Influencer")
    await system.seed(rows)
    shown = await show(system, contact.id)
    assert (shown.exit, shown.code) == (1, "RoleMissing")
    assert f"opportunity {deal.values['name']} ({deal.id}) was not sent yet" in shown.sentence
    (known,) = shown.data["opportunities"]
    assert (known["id"], known["in_marketo"]) == (deal.id, 0)
    words = shown.data["verdict"]["remedy"].split()
    (role,) = shown.person["roles"]
    assert {tie.id, words[3]} <= {id_ for _, id_ in role["rows"]}  # of a connection's two rows, either does
    assert words == ["msisync", "resync", "opportunity_role", words[3]]
    ended = await run_here(system.stack.settings_file, *words[1:])
    assert ended.code == 0, ended
    await system.has_roles(deal, (contact, "Influencer"))
    assert (await show(system, contact.id)).code == "Synced"


async def test_persons_that_are_not_in_marketo_and_why(system: System, rows: Rows) -> None:
    seller = rows.user()
    account = rows.account(seller)
    child, refused = rows.contact(account, seller), rows.contact(None, seller)
    kept_out, unannounced = rows.contact(None, seller, new_synctomkto=False), rows.lead(None, seller)
    retried = rows.lead(None, seller)
    await system.seed(rows)
    company = {"field": "externalCompanyId", "value": account.id, "code": "1001", "count": None}
    await system.fault("record", path="/rest/v1/companies.json", **company)
    lead = {"field": "externalPersonId", "value": retried.id, "code": "1014", "count": None}
    await system.fault("record", path="/rest/v1/leads.json", **lead)
    twice = {"field": "externalPersonId", "value": refused.id, "code": "1007", "count": None}
    await system.fault("record", path="/rest/v1/leads.json", **twice)
    await system.notify(child, refused, kept_out, retried)
    await system.broker.dead_letter_of(account.id)
    await system.broker.dead_letter_of(refused.id)
    again = await eventually(
        lambda: show(system, retried.id), lambda shown: shown.code == "Retrying", what="another try"
    )
    await eventually(system.parked, what="a parked row")
    waits, dead, out, never = await show_all(system, child, refused, kept_out, unannounced)
    assert (waits.exit, waits.code) == (2, "LinkedLater")
    for word in (account.id, account.values["name"], "DeadLettered", "1001"):
        assert word in waits.sentence
    (parked,) = waits.person["subject"]["parked"]
    assert (parked["parent"]["id"], parked["next_check"] is not None) == (account.id, True)
    assert (dead.exit, dead.code) == (2, "DeadLettered")
    assert "1007" in dead.sentence
    (letter,) = dead.person["subject"]["letters"]
    assert (letter["queue"], letter["source_queue"], letter["attempts"]) == ("dead-letters", "persons", 1)
    assert (out.exit, out.code) == (0, "Filtered")
    assert "new_synctomkto is No" in out.sentence
    if never.code != "NotInMarketo":  # a held queue may have hidden for a moment that nothing waits for it
        never = await eventually(
            lambda: show(system, unannounced.id), lambda shown: shown.code == "NotInMarketo", what="the verdict"
        )
    assert never.exit == 2
    assert never.data["verdict"]["remedy"].startswith(f"msisync resync lead {unannounced.id}")
    assert (again.exit, again.code) == (1, "Retrying")
    (waiting,) = again.person["subject"]["waiting"]
    assert (waiting["queue"], waiting["attempt"], waiting["due"] is not None) == ("persons", 1, True)
    await system.forget_faults()
    await system.broker.hurry(system.broker.queue("person"))
    await system.synced(retried)  # looking has taken nothing away


async def test_persons_that_somebody_must_look_at_in_marketo(system: System, rows: Rows) -> None:
    twice, like = rows.contact(), rows.contact()
    gone, nowhere = Made("contact", str(uuid4()), {}), Made("lead", str(uuid4()), {})
    await system.save(rows, twice, like)
    await system.synced(twice, like)
    await system.broker.idle()
    records: list[dict[str, Any]] = [
        {"externalPersonId": twice.id}, {"email": like.values["emailaddress1"]}, {"externalPersonId": gone.id},
    ]  # fmt: skip
    twin, other, _ = (await system.marketo("/seed", {LEADS: records}))[LEADS]
    try:
        by_key, by_mail, lost, nothing = await show_all(system, twice, like, gone, nowhere)
    finally:
        await patch_record(system, twin, externalPersonId=None)
    assert (by_key.exit, by_key.code) == (2, "DuplicateInMarketo")
    assert len(by_key.person["records"]) == 2
    assert (by_mail.exit, by_mail.code) == (2, "DuplicateInMarketo")
    assert str(other) in by_mail.sentence
    assert (lost.exit, lost.code) == (0, "Kept")
    assert (nothing.exit, nothing.code) == (2, "NotFound")


async def test_one_address_of_several_persons(system: System, rows: Rows) -> None:
    mail = f"shared.{uuid4().hex}@customer.example"
    lead, contact = rows.lead(emailaddress1=mail), rows.contact(emailaddress1=mail)
    await system.save(rows, lead)
    await system.synced(lead)
    await system.broker.idle()
    shown = await show(system, mail.upper())
    found = {each["subject"]["id"]: each["verdict"]["code"] for each in shown.data["persons"]}
    assert found == {lead.id: "Synced", contact.id: "NotInMarketo"}
    assert (shown.exit, shown.code) == (2, "NotInMarketo")
