"""What operators do in the console: asked, agreed to, told, kept; by mouse, by keyboard, by two of them at once."""

import asyncio
import re

from playwright.async_api import Locator, Page, expect

from local.harness import System, eventually
from local.harness.commands import run
from tests.browser.conftest import Open
from tests.browser.desk import PATIENCE, Desk, agreed, ended, over, settled

expect.set_options(timeout=PATIENCE)


async def status_of(system: System, setting: str) -> str:
    """What the broker itself says of a queue, as the command shows it."""
    found = (await run(system.stack.settings_file, "status", "--json")).json
    return str(found["entities"][setting]["status"])


def row_of(tab: Page, name: str) -> Locator:
    """A line of the table of queues."""
    return tab.locator("tr", has=tab.locator("th", has_text=re.compile(f"^{name}")))


async def done_last(tab: Page) -> list[str]:
    """What the overview says operators did last, the newest first."""
    return await tab.locator("section", has_text="What operators did last").locator("tbody a").all_inner_texts()


async def test_a_queue_is_paused_and_resumed_and_both_are_kept(operator: Desk, system: System) -> None:
    tab = await operator.open("/")
    await row_of(tab, "Persons").get_by_role("link", name="pause").click()
    assert await tab.locator("h1").inner_text() == "Pause persons?"
    assert await status_of(system, "person") == "Active", "nothing is done before it is agreed to"
    assert "paused" in await agreed(tab)
    assert await status_of(system, "person") == "ReceiveDisabled"
    address = tab.url
    await tab.reload()
    assert "paused" in await over(tab)
    assert tab.url == address
    await tab.get_by_role("link", name="Back").click()
    await settled(tab)
    await expect(row_of(tab, "Persons").locator(".pill", has_text="paused")).to_be_visible()
    await row_of(tab, "Persons").get_by_role("link", name="resume").click()
    assert "active" in await agreed(tab)
    assert await status_of(system, "person") == "Active"
    await operator.go(tab, "/")
    done = tab.locator("section", has_text="What operators did last").locator("tbody tr")
    assert [await done.nth(number).locator("a").inner_text() for number in (0, 1)] == [
        "Resume persons",
        "Pause persons",
    ]


async def test_a_question_can_be_cancelled(operator: Desk, system: System) -> None:
    tab = await operator.open("/queues/pause?queue=opportunity")
    await tab.get_by_role("link", name="Cancel").click()
    await settled(tab)
    assert tab.url == f"{operator.address}/"
    assert await status_of(system, "opportunity") == "Active"


async def test_the_back_button_and_a_refresh_do_nothing_twice(operator: Desk) -> None:
    tab = await operator.open("/queues/pause?queue=opportunity")
    await agreed(tab)
    await tab.go_back()  # to the question, which nobody answers again
    assert await tab.locator("h1").inner_text() == "Pause opportunities?"
    await tab.go_forward()
    await tab.reload()
    assert "paused" in await over(tab)
    await operator.go(tab, "/")
    assert (await done_last(tab)).count("Pause opportunities") == 1
    await operator.go(tab, "/queues/resume?queue=opportunity")
    await agreed(tab)


async def test_the_keyboard_alone_is_enough(operator: Desk, system: System) -> None:
    tab = await operator.open("/queues/pause?queue=opportunity_role")
    await tab.keyboard.press("Tab")
    await tab.keyboard.press("Enter")  # skip to the page
    await tab.keyboard.press("Tab")
    assert await tab.evaluate("() => document.activeElement.innerText") == "Pause opportunity-roles"
    await tab.keyboard.press("Enter")
    assert "paused" in await over(tab)
    assert await status_of(system, "opportunity_role") == "ReceiveDisabled"
    await operator.go(tab, "/queues/resume?queue=opportunity_role")
    await tab.locator("form[method=post] button").focus()
    await tab.keyboard.press("Space")
    assert "active" in await over(tab)


async def test_two_operators_at_once(operator: Desk, open_desk: Open, system: System) -> None:
    """Both are asked, both agree: each sees what has become of it, and both see both."""
    async with open_desk("ben") as other:
        tabs = [await each.open("/queues/pause?queue=sales_person") for each in (operator, other)]
        told = await asyncio.gather(*(agreed(tab) for tab in tabs))
        assert all("paused" in each for each in told)
        assert await status_of(system, "sales_person") == "ReceiveDisabled"
        address = tabs[1].url.removeprefix(other.address)
        await operator.go(tabs[0], address)
        seen = await tabs[0].locator("main").inner_text()
        assert "begun by ben" in seen
        assert "paused" in seen, "what the other one did, and its result"
        await operator.go(tabs[0], "/queues/resume?queue=sales_person")
        await agreed(tabs[0])
        await other.go(tabs[1], "/")
        assert (await done_last(tabs[1]))[:3] == ["Resume sales-persons", "Pause sales-persons", "Pause sales-persons"]
        assert other.complaints == []


async def test_a_page_follows_what_happens_without_being_touched(operator: Desk, system: System) -> None:
    tab = await operator.open("/")
    await system.broker.set_status("opportunity_role", "ReceiveDisabled")
    await expect(row_of(tab, "Opportunity roles").locator(".pill", has_text="paused")).to_be_visible()
    await system.broker.set_status("opportunity_role", "Active")
    await expect(row_of(tab, "Opportunity roles").locator(".pill", has_text="paused")).to_have_count(0)


async def test_a_page_says_when_its_console_has_ended(open_desk: Open) -> None:
    async with open_desk("ann") as leaving:
        tab = await leaving.open("/")
        await expect(tab.locator("#stale")).to_be_hidden()
        assert await ended(leaving.process) == 0
        await expect(tab.locator("#stale")).to_be_visible()
        assert "What is shown is not current" in await tab.locator("#stale").inner_text()


async def test_the_verdict_leads_to_what_helps(operator: Desk, system: System) -> None:
    """Companies are paused, which is what keeps their persons parked."""
    tab = await operator.open("/")
    verdict = tab.locator("section.verdict")
    await expect(verdict).to_contain_text("companies is paused")
    await verdict.locator("a.button").click()
    assert await tab.locator("h1").inner_text() == "Resume companies?"
    assert "active" in await agreed(tab)
    await eventually(
        lambda: status_of(system, "company"), lambda status: status == "Active", what="companies to be active"
    )
