"""Children whose parents do not come: how long they wait, who releases them at last, and what tells an operator."""

from datetime import UTC, datetime, timedelta
from typing import Any

from emulators.marketo.objects import COMPANIES
from local.harness import Made, Rows, System, eventually

#: The default of PARENT_WAIT_SECONDS is a day.
LONG_AGO = timedelta(days=2)


async def parked_under(system: System, rows: Rows) -> tuple[Made, Made]:
    """An account that Marketo cannot take for a while, and a contact that is parked until it comes."""
    seller = rows.user()
    account = rows.account(seller)
    contact = rows.contact(account, seller)
    await system.seed(rows)
    await system.fault(
        "record", path="/rest/v1/companies.json", field="externalCompanyId", value=account.id, code="1016", count=None
    )
    await system.notify(contact)
    await eventually(system.parked, is_asked_for, what="a parked contact whose account was asked for")
    assert await system.record(contact) is None
    return account, contact


async def let_time_pass(system: System, age: timedelta = timedelta(0)) -> None:
    """Make all waiting older, and the next look of the timer due."""
    now = datetime.now(UTC)
    async with system.table() as table:
        for row in await system.parked():
            due = {"NextCheck": now - timedelta(seconds=1)} if "NextCheck" in row else {}
            await table.update_entity({**row, "Since": now - age, **due})


async def waiting(system: System) -> list[dict[str, Any]]:
    return [row for row in await system.parked() if not row["RowKey"].startswith("!")]


def is_asked_for(rows: list[dict[str, Any]]) -> bool:
    """Whether what was parked has done all that parking is."""
    return {row.get("State") for row in rows if row["RowKey"].startswith("!")} == {"asked"} and len(rows) == 2


async def test_a_child_that_waited_too_long_is_a_dead_letter_that_names_its_parent(system: System, rows: Rows) -> None:
    account, contact = await parked_under(system, rows)
    await let_time_pass(system)
    await system.run_timer()
    assert len(await waiting(system)) == 1  # its time is not over
    await let_time_pass(system, LONG_AGO)
    await system.run_timer()
    letter = await system.broker.dead_letter_of(contact.id)
    assert letter.code == "ParentMissing"
    expected = {"entity": "person", "table": "contact", "system": "msisync", "source_queue": "persons"}
    assert {name: letter.properties[name] for name in expected} == expected
    assert account.id in letter.properties["message"]
    assert "account" in letter.properties["message"]
    await system.nothing_parked()


async def test_a_mended_parent_releases_its_children_at_once(system: System, rows: Rows) -> None:
    account, contact = await parked_under(system, rows)
    await system.forget_faults()
    account.values["name"] = "Fixed Ltd."
    await system.save(rows, account)
    await system.changed(contact, externalCompanyId=account.id)
    await system.nothing_parked()


async def test_the_timer_finds_a_parent_that_came_unnoticed(system: System, rows: Rows) -> None:
    account, contact = await parked_under(system, rows)
    await system.marketo("/seed", {COMPANIES: [{"externalCompanyId": account.id, "company": "From elsewhere"}]})
    await let_time_pass(system)
    await system.run_timer()
    await system.changed(contact, externalCompanyId=account.id)
    await system.nothing_parked()


async def test_a_child_parked_while_its_parent_was_synced_is_found_by_the_timer(system: System, rows: Rows) -> None:
    seller = rows.user()
    account = rows.account(seller)
    await system.save(rows, seller)
    await system.synced(seller)
    await system.broker.idle()
    # What is left when a host dies after a child asked for its parent and before it noted how to go on.
    now = datetime.now(UTC)
    child: dict[str, Any] = {
        "PartitionKey": "sales_person", "RowKey": f"{seller.id}|account|{account.id}", "Entity": "company",
    }  # fmt: skip
    child |= {"FirstSeen": now, "Correlation": "", "Attempt": 0, "Requested": False, "Since": now}
    note: dict[str, Any] = {
        "PartitionKey": "sales_person", "RowKey": f"!{seller.id}", "Table": "systemuser", "Since": now,
    }  # fmt: skip
    note |= {"NextCheck": now, "Checks": 0, "Leaving": False}
    await system.have_table()
    async with system.table() as table:
        await table.upsert_entity(child)
        await table.upsert_entity(note)
    await system.run_timer()
    await system.changed(account, externalSalesPersonId=seller.id)
    await system.nothing_parked()


async def test_a_parent_that_cannot_send_its_children_on_comes_again(system: System, rows: Rows) -> None:
    account, contact = await parked_under(system, rows)
    await system.forget_faults()
    account.values["name"] = "Fixed Ltd."
    await system.seed(rows)
    failures = await failed_batches(system)
    await system.broker.set_status("person", "SendDisabled")
    await system.notify(account)
    await eventually(lambda: failed_batches(system), lambda now: now > failures, seconds=40, what="a failed release")
    assert len(await waiting(system)) == 1
    await system.broker.set_status("person", "Active")
    await system.changed(contact, externalCompanyId=account.id)
    await system.nothing_parked()


async def failed_batches(system: System) -> int:
    failures: int = (await system.host_stats())["functions"]["sync_companies"]["failures"]
    return failures
