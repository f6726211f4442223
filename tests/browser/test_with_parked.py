"""Parked records in the browser: who waits for whom, and all that waits for one parent sent on."""

from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

import pytest
from playwright.async_api import expect

from local.harness import Made, Rows, System, eventually
from local.harness.commands import run
from tests.browser.conftest import Open
from tests.browser.desk import PATIENCE, Desk, agreed, settled

expect.set_options(timeout=PATIENCE)
CHILDREN = 3


@pytest.fixture
async def waiting(system: System, person: Made) -> AsyncIterator[tuple[Made, Sequence[Made]]]:  # noqa: ARG001  (in trouble)
    """An account that does not come, for companies are paused, and the persons that wait for it."""
    status = (await run(system.stack.settings_file, "status", "--json")).json["entities"]["company"]["status"]
    await system.broker.set_status("company", "ReceiveDisabled")
    rows = Rows()
    account = rows.account(name=f"Gorse Mills {uuid4().hex[:6]}")
    children = [rows.contact(account) for _ in range(CHILDREN)]
    await system.save(rows, *children)
    await eventually(
        system.parked, lambda found: sum(account.id in row["RowKey"] for row in found) >= CHILDREN, what="they wait"
    )
    yield account, children
    await system.broker.set_status("company", status)


async def test_all_that_wait_for_a_parent_are_released(
    operator: Desk, system: System, waiting: tuple[Made, Sequence[Made]]
) -> None:
    account, children = waiting
    tab = await operator.open(f"/parked?parent={account.id}")
    await tab.get_by_role("link", name=f"{CHILDREN} records of {account.id}").click()
    await settled(tab)
    assert await tab.locator("h1").inner_text() == f"What waits for company {account.id}"
    for child in children:
        await expect(tab.get_by_role("link", name=f"contact {child.id}")).to_be_visible()
    await tab.get_by_role("link", name=f"Release all ({CHILDREN})…").click()
    assert await tab.locator("h1").inner_text() == f"Release {CHILDREN} parked records?"
    assert await tab.locator("form[method=post] button").inner_text() == f"Release {CHILDREN} parked records"
    assert f"{CHILDREN} of {CHILDREN} parked records sent on" in await agreed(tab)
    assert await tab.locator(".findings li", has_text="sent").count() == CHILDREN

    async def history() -> list[tuple[str, str]]:
        ended = await run(system.stack.settings_file, "history", children[0].id, "--json")
        return [(event["what"], event["by"]) for event in ended.json["events"]]

    # Their parent is still missing, so they wait again, and everybody sees why they were sent.
    again = [("resync", "ann"), ("released", ""), ("parked", "")]
    await eventually(history, lambda events: events[-3:] == again, what="they are parked again")
    await tab.get_by_role("link", name="Back").click()
    await settled(tab)
    assert tab.url == f"{operator.address}/parked?of=company&parent={account.id}"


async def test_a_question_that_is_opened_first_reads_what_it_is_about_itself(
    open_desk: Open, waiting: tuple[Made, Sequence[Made]]
) -> None:
    account, _ = waiting
    async with open_desk("cleo") as fresh:
        tab = await fresh.open(f"/parked/release?of=company&parent={account.id}")
        assert await tab.locator("h1").inner_text() == f"Release {CHILDREN} parked records?"
        await fresh.go(tab, "/dead-letters/discard?scope=all")
        await expect(tab.locator("h1")).to_contain_text("Discard ")
        await expect(tab.locator("form[method=post] button")).to_be_visible()
        assert fresh.complaints == []
