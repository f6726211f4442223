"""The role of an opportunity's primary contact."""

from collections.abc import AsyncIterator

import pytest

from emulators.marketo.objects import ROLES
from tests.support.roles import LOOK, UPSERT, App, mapping, running_app


@pytest.fixture
async def app() -> AsyncIterator[App]:
    async with running_app() as found:
        yield found


async def test_the_primary_contact_has_a_role_which_changes_with_it_and_nothing_else(app: App) -> None:
    ann, bob = await app.contact(), await app.contact("Bob")
    await app.pump()
    deal = ""

    async def made() -> None:
        nonlocal deal
        deal = await app.deal(ann)

    spent = await app.spent(made())
    assert app.roles(deal) == [(ann, "Primary Contact")]
    assert (spent[UPSERT], spent[LOOK]) == (1, 0)
    (record,) = app.marketo.instance.tables[ROLES]
    assert record["isPrimary"] is True
    spent = await app.spent(app.write("PATCH", f"opportunities({deal})", {"name": "Bigger deal"}))
    assert spent == {"POST opportunities": 1}
    body = {"customerid_contact@odata.bind": f"/contacts({bob})"}
    await app.write("PATCH", f"opportunities({deal})", body)
    await app.pump()
    assert app.roles(deal) == [(bob, "Primary Contact")]
    account = await app.write("POST", "accounts", {"name": "Contoso"})
    moved = {"customerid_account@odata.bind": f"/accounts({account})", "parentcontactid@odata.bind": None}
    await app.write("PATCH", f"opportunities({deal})", moved)
    await app.pump()
    assert app.roles(deal) == []


async def test_an_opportunity_without_contact_costs_no_call_for_roles(app: App) -> None:
    spent = await app.spent(app.deal())
    assert (spent["POST opportunities"], spent[UPSERT], spent[LOOK]) == (1, 0, 0)


async def test_the_contact_beside_an_account_is_the_primary_one(app: App) -> None:
    ann = await app.contact()
    deal = await app.deal(**{"parentcontactid@odata.bind": f"/contacts({ann})"})
    await app.pump()
    assert app.roles(deal) == [(ann, "Primary Contact")]


async def test_qualifying_a_lead_gives_its_contact_the_role_in_its_opportunity(app: App) -> None:
    lead = await app.write("POST", "leads", {"firstname": "Lea", "lastname": "Li", "subject": "New line"})
    await app.pump()
    body = {"CreateAccount": False, "CreateContact": True, "CreateOpportunity": True, "Status": 3}
    answer = await app.dynamics.call("POST", f"leads({lead})/Microsoft.Dynamics.CRM.QualifyLead", body)
    made = {row["@odata.type"].rpartition(".")[2]: row for row in answer.json()["value"]}
    await app.pump()
    deal, contact = made["opportunity"]["opportunityid"], made["contact"]["contactid"]
    assert app.roles(deal) == [(contact, "Primary Contact")]


async def test_without_a_name_in_sync_toml_there_is_no_such_role_and_an_old_one_goes(app: App) -> None:
    ann = await app.contact()
    deal = await app.deal(ann)
    await app.pump()
    assert app.roles(deal) == [(ann, "Primary Contact")]
    app.restart(mapping(roles={"customer_contact": ""}))
    await app.resync("opportunity", deal)
    assert app.roles(deal) == []
