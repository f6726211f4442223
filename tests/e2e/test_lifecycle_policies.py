"""What [lifecycle] of sync.toml chooses: deleted persons are flagged or unlinked, and merged rows are merged."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from emulators.marketo.objects import LEADS
from local.harness import Made, Rows, System, eventually, running_system
from local.harness.showing import settings_of, way_to
from shared.cli.context import Context
from shared.dataverse.client import API
from shared.model.entities import TABLES
from tests.e2e.conftest import ENVIRONMENT, LIMITS

FLAG = "dynamicsDeleted"
MERGE = "/rest/v1/leads/*/merge.json"
#: The lines of the delivered sync.toml, and what they become.
FLAGGED_AND_MERGED = {f'# deleted_flag = "{FLAG}"': f'deleted_flag = "{FLAG}"', 'merged = "keep" ': 'merged = "merge" '}
UNLINKED = {'# person = "unlink"': 'person = "unlink"'}


def configure(directory: Path, changes: Mapping[str, str]) -> Path:
    """The delivered sync.toml with these policies, where the stack reads it."""
    text = Path("sync.toml").read_text(encoding="utf-8")
    for usual, ours in changes.items():
        assert usual in text
        text = text.replace(usual, ours, 1)
    config = directory / "own.toml"
    config.write_text(text, encoding="utf-8")
    return config


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    directory = tmp_path_factory.mktemp("policies")
    environment = {**ENVIRONMENT, "SYNC_CONFIG": str(configure(directory, FLAGGED_AND_MERGED))}
    async with running_system(directory / "stack", marketo=LIMITS, functions_environment=environment) as running:
        await running.marketo("/switches", {"custom_fields": {LEADS: [{"name": FLAG, "dataType": "boolean"}]}})
        yield running


async def in_dynamics(system: System, method: str, path: str, body: Mapping[str, Any] | None = None) -> None:
    """What sales do there."""
    with way_to(system):
        context = Context(settings_of(system))
        await context.dataverse.write(method, f"{API}/{path}", body)
        await context.close()


async def deleted(system: System, row: Made) -> None:
    await in_dynamics(system, "DELETE", f"{TABLES[row.table][1].entity_set}({row.id})")
    await system.notify(row, message="Delete")


async def contact_in_marketo(system: System) -> tuple[Rows, Made, dict[str, Any]]:
    rows = Rows()
    seller = rows.user()
    contact = rows.contact(rows.account(seller), seller)
    await system.save(rows, contact)
    return rows, contact, (await system.synced(contact))[0]


async def person(system: System, number: int) -> dict[str, Any]:
    (found,) = [record for record in await system.marketo(f"/records/{LEADS}") if record["id"] == number]
    return dict(found)


def again(rows: Rows, contact: Made) -> Made:
    """A row with another id, and otherwise the same."""
    made = rows.contact()
    made.values.update(contact.values)
    return made


async def test_a_deleted_person_is_flagged_until_its_row_is_restored_or_made_anew(own: System) -> None:
    rows, contact, before = await contact_in_marketo(own)
    await deleted(own, contact)
    flagged = await own.changed(contact, **{FLAG: True})
    assert flagged["externalSalesPersonId"] == before["externalSalesPersonId"]
    await own.save(rows, contact, message="Create")
    await own.changed(contact, **{FLAG: False})
    await deleted(own, contact)
    await own.changed(contact, **{FLAG: True})
    rows.made.remove(contact)
    newer = again(rows, contact)
    await own.save(rows, newer, message="Create")
    await own.changed(newer, id=before["id"], **{FLAG: False})
    assert await own.record(contact) is None
    assert not await own.broker.dead_letters()


async def test_merged_rows_become_one_person_also_when_the_app_is_killed_after_the_merge(own: System) -> None:
    rows = Rows()
    seller = rows.user()
    account = rows.account(seller)
    winner, loser = rows.contact(account, seller), rows.contact(account, seller)
    deal = rows.opportunity(account, seller)
    rows.connection(deal, loser, "Decision Maker")
    await own.seed(rows)
    await own.notify(*rows)
    records = await own.synced(winner, loser)
    await own.has_roles(deal, (loser, "Decision Maker"))
    await own.broker.idle()
    await own.fault("hold", gate="merge", path=MERGE, when="after")
    await in_dynamics(
        own, "POST", "Merge",
        {
            "Target": {"@odata.type": "Microsoft.Dynamics.CRM.contact", "contactid": winner.id},
            "Subordinate": {"@odata.type": "Microsoft.Dynamics.CRM.contact", "contactid": loser.id},
            "PerformParentingChecks": False,
        },
    )  # fmt: skip
    await own.notify(loser, winner)
    await own.held("merge")
    await own.stack.kill_functions()
    await own.let_go("merge")
    await own.stack.start_functions()
    await own.has_roles(deal, (winner, "Decision Maker"))
    await own.broker.idle()
    numbers = [record["id"] for record in await own.marketo(f"/records/{LEADS}")]
    assert records[0]["id"] in numbers
    assert records[1]["id"] not in numbers
    assert (await own.marketo("/stats"))["calls"]["/rest/v1/leads/{id}/merge.json"]["POST"] == {"ok": 1}
    await own.notify(loser)
    await own.broker.idle()
    assert await own.record(loser) is None
    assert not await own.broker.dead_letters()


async def test_an_unlinked_person_is_found_again_by_its_address(own: System) -> None:
    configure(own.stack.settings_file.parents[1], UNLINKED)
    await own.stack.kill_functions()
    await own.stack.start_functions()
    rows, contact, before = await contact_in_marketo(own)
    await deleted(own, contact)
    left = await eventually(
        lambda: person(own, before["id"]), lambda now: not now.get("externalPersonId"), what="a person without an id"
    )
    assert not left.get("externalSalesPersonId")
    assert (left["email"], left["externalCompanyId"]) == (before["email"], before["externalCompanyId"])
    rows.made.remove(contact)
    newer = again(rows, contact)
    await own.save(rows, newer, message="Create")
    record = await own.changed(newer, id=before["id"])
    assert record["externalSalesPersonId"] == before["externalSalesPersonId"]
    assert not await own.broker.dead_letters()
