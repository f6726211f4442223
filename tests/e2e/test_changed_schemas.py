"""Columns and fields that disappear while it runs cost themselves only; keys of one's own; a filter of rules."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from emulators.marketo.objects import COMPANIES, LEADS
from local.harness import Rows, System, eventually, running_system
from local.harness.commands import run_here
from local.harness.showing import way_to

PERSON_KEY, COMPANY_KEY = 'person = "dynamicsPersonId"', 'company = "dynamicsAccountId"'
RULE = """[contact]
filter = [{ jobtitle = "present" }, { department = ["Board"] }]

[contact.fields]"""
GUID = {"dataType": "string", "length": 36, "searchable": True}
ENVIRONMENT = {"RELEASE_SCHEDULE": "0 0 0 1 1 *", "BURST_WINDOW_SECONDS": "1", "MARKETO_CALLS_PER_20_SECONDS": "100"}


def own_config(directory: Path) -> Path:
    """The default sync.toml with keys of one's own and a rule for contacts."""
    text = Path("sync.toml").read_text(encoding="utf-8")
    for usual, ours in (('person = "externalPersonId"', PERSON_KEY), ('company = "externalCompanyId"', COMPANY_KEY)):
        text = text.replace(usual, ours)
    if PERSON_KEY not in text:
        text = text.replace("\n[owner]", f"\n[keys]\n{PERSON_KEY}\n{COMPANY_KEY}\n\n[owner]", 1)
    config = directory / "own.toml"
    text = text.replace("[contact.fields]", f'{RULE}\ncompanyTier = "salutation"', 1)
    config.write_text(text.replace("[lead.fields]", '[lead.fields]\ncompanyTier = "salutation"', 1), encoding="utf-8")
    return config


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """A stack whose sync.toml has keys of its own, a rule for contacts, and opt-outs on."""
    directory = tmp_path_factory.mktemp("own")
    config = own_config(directory)
    environment = {**ENVIRONMENT, "SYNC_CONFIG": str(config)}
    async with running_system(directory / "stack", functions_environment=environment) as running:
        tier = {"name": "companyTier", "dataType": "string"}
        custom = {
            LEADS: [{"name": "dynamicsPersonId", **GUID}],
            COMPANIES: [{"name": "dynamicsAccountId", **GUID}, tier],
        }
        await running.marketo("/switches", {"custom_fields": custom})
        yield running


async def people_of(system: System) -> dict[str, dict[str, Any]]:
    found = await system.marketo(f"/records/{LEADS}")
    return {row["dynamicsPersonId"]: row for row in found if row.get("dynamicsPersonId")}


async def wait_for_person(system: System, id_: str) -> dict[str, Any]:
    found = await eventually(lambda: people_of(system), lambda people: id_ in people, what=f"person {id_}")
    return found[id_]


async def test_fields_of_one_s_own_hold_the_ids_and_the_relations_stand(own: System, rows: Rows) -> None:
    seller = rows.user()
    account = rows.account(seller)
    contact = rows.contact(account, seller, jobtitle="Buyer")
    deal = rows.opportunity(account, seller)
    role = rows.connection(deal, contact, "Champion")
    await own.seed(rows)
    await own.notify(role, contact, deal, account)
    await own.synced(deal, account)
    person = await wait_for_person(own, contact.id)
    (company,) = [row for row in await own.marketo(f"/records/{COMPANIES}") if row["externalCompanyId"] == account.id]
    assert company["dynamicsAccountId"] == account.id
    assert person["externalCompanyId"] == account.id
    assert person["externalSalesPersonId"] == seller.id
    assert person.get("externalPersonId") is None
    roles = await eventually(lambda: own.roles(deal), bool, what="the role")
    assert [(role["leadId"], role["role"]) for role in roles] == [(person["id"], "Champion")]


@pytest.mark.parametrize("table", ["contact", "lead"])
async def test_an_own_company_field_is_left_out_of_a_linked_person_and_seen(own: System, table: str) -> None:
    """The describe of companies says which fields are theirs: Marketo refuses those of a linked lead (1021)."""
    rows = Rows()
    account = rows.account()
    person = rows.contact if table == "contact" else rows.lead
    linked = person(account, salutation="Dr.", jobtitle="Buyer")
    free = person(salutation="Prof.", jobtitle="Buyer")
    await own.seed(rows)
    await own.notify(linked, free)
    found = await wait_for_person(own, linked.id)
    assert (found["externalCompanyId"], found["salutation"], found.get("companyTier")) == (account.id, "Dr.", None)
    assert (await wait_for_person(own, free.id))["companyTier"] == "Prof."
    assert not await own.broker.dead_letters()
    await own.broker.idle()
    with way_to(own):
        shown, synced = [
            await run_here(own.stack.settings_file, "show", "person", each.id, "--json") for each in (linked, free)
        ]
    verdict = shown.json["verdict"]
    assert (shown.code, verdict["code"]) == (2, "FieldsLeftOut")
    assert "companyTier (CompanyField" in verdict["sentence"]
    assert verdict["remedy"] == "map companyTier in [account.fields] of sync.toml instead"
    assert (synced.code, synced.json["verdict"]["code"]) == (0, "Synced")


async def test_a_rule_keeps_out_who_does_not_meet_it(own: System, rows: Rows) -> None:
    buyer, board = rows.contact(jobtitle="Buyer"), rows.contact(department="Board")
    nobody = rows.contact(department="Kitchen")
    await own.seed(rows)
    await own.notify(nobody, buyer, board)
    await wait_for_person(own, buyer.id)
    await wait_for_person(own, board.id)
    await own.broker.idle()
    assert nobody.id not in await people_of(own)


async def test_a_column_that_is_deleted_in_dynamics_costs_its_field_and_nothing_else(own: System, rows: Rows) -> None:
    before, after = (rows.contact(jobtitle="Buyer", fax="+49 40 1") for _ in range(2))
    await own.seed(rows)
    await own.notify(before)
    assert (await wait_for_person(own, before.id))["fax"] == "+49 40 1"
    await own.dataverse("/switches", {"removed_columns": {"contact": ["fax"]}})
    await own.notify(after)
    person = await wait_for_person(own, after.id)
    assert person.get("fax") is None
    assert person["title"] == "Buyer"
    assert not await own.broker.dead_letters()


async def test_a_field_that_is_deleted_in_marketo_costs_itself_and_nothing_else(own: System, rows: Rows) -> None:
    before, after = (rows.contact(jobtitle="Buyer", department="Sales") for _ in range(2))
    await own.seed(rows)
    await own.notify(before)
    assert (await wait_for_person(own, before.id))["department"] == "Sales"
    await own.marketo("/switches", {"removed_fields": {LEADS: ["department"]}})
    await own.notify(after)
    person = await wait_for_person(own, after.id)
    assert person["title"] == "Buyer"
    assert "department" not in person
    assert not await own.broker.dead_letters()
