"""Runs in the browser: planned, started, seen to their end, paused, resumed, cancelled, and their reports saved."""

import csv
import io
import json
import re

from playwright.async_api import Page, expect

from local.harness import System, eventually
from local.harness.commands import run
from tests.browser.conftest import Open
from tests.browser.desk import PATIENCE, Desk, agreed, settled
from tests.browser.troubles import REFUSED

expect.set_options(timeout=PATIENCE)
#: The function that carries on runs, a minute apart where nobody waits for it.
CARRIER = "carry_on_runs"


async def state_of(system: System, run_id: str) -> str:
    """The state of a run, as the command shows it."""
    return str((await run(system.stack.settings_file, "initial-sync", "status", run_id, "--json")).json["state"])


def shown(tab: Page) -> str:
    """The run that an address names."""
    return tab.url.partition("run=")[2]


async def steered(tab: Page, word: str) -> str:
    """Press a run's button, agree, and go back to its page. Gives what was done."""
    await tab.get_by_role("link", name=f"{word}…").click()
    told = await agreed(tab)
    await tab.get_by_role("link", name="Back").click()
    await settled(tab)
    return told


async def started(tab: Page, table: str) -> str:
    """Plan a run of a table and start it, whatever the checks say. Gives its id."""
    await tab.get_by_label(table, exact=True).check()
    await tab.get_by_role("button", name="Plan").click()
    await settled(tab)
    await tab.get_by_role("link", name=re.compile("^Start")).click()
    assert "is started" in await agreed(tab)
    await tab.get_by_role("link", name="Back").click()
    await settled(tab)
    return shown(tab)


async def test_a_run_is_started_seen_to_its_end_and_steered(operator: Desk, open_desk: Open, system: System) -> None:
    tab = await operator.open("/runs")
    first = await tab.locator("section h2").first.inner_text()
    other = re.search(r"initial-sync (\S+):", first)
    assert other, first
    assert "paused" in await steered(tab, "Pause")  # it must not go on while this test lets the timer run
    assert await state_of(system, other[1]) == "paused"
    async with open_desk("ben") as second:
        theirs = await second.open("/runs")
        new = await started(theirs, "systemuser")
        await expect(theirs.locator("h2", has_text=f"initial-sync {new}: running")).to_be_visible()

        async def carried() -> str:
            await system.run_timer(function=CARRIER)
            return await state_of(system, new)

        await eventually(carried, lambda state: state == "complete", seconds=120, what="the run to be complete")
        # Nobody touches the page: it follows.
        await expect(theirs.locator("h2", has_text=f"initial-sync {new}: complete")).to_be_visible()
        await theirs.get_by_role("link", name="Report").click()
        await settled(theirs)
        report = theirs.locator("section", has_text="Report: rows that").locator("tbody tr")
        await expect(report).to_contain_text("ApplicationUser")  # the platform's own users are no sales persons
        assert "Run started: initial-sync; of systemuser; in the console, by ben" in await theirs.inner_text("main")
        assert second.complaints == []
    await operator.go(tab, f"/runs?run={other[1]}")
    assert "goes on" in await steered(tab, "Resume")
    assert await state_of(system, other[1]) == "running"
    acts = await tab.locator("ol.time li").all_inner_texts()
    assert [re.sub(r"^.*UTC\s*", "", text, flags=re.DOTALL) for text in acts] == [
        "Run resumed: initial-sync; in the console, by ann", "Run paused: initial-sync; in the console, by ann",
    ]  # fmt: skip


async def test_a_run_is_cancelled_and_its_history_says_by_whom(operator: Desk, system: System) -> None:
    tab = await operator.open("/runs")
    new = await started(tab, "lead")
    assert "cancelled" in await steered(tab, "Cancel")
    assert await state_of(system, new) == "cancelled"
    await expect(tab.get_by_role("link", name="Pause…")).to_have_count(0)
    ended = await run(system.stack.settings_file, "history", "--json")
    acts = [(event["what"], event["by"]) for event in ended.json["events"] if event["run"] == new]
    assert acts == [("run_started", "ann"), ("run_cancelled", "ann")]


async def saved(tab: Page, name: str) -> str:
    """The text of a file that a link gives."""
    async with tab.expect_download() as saving:
        await tab.get_by_role("link", name=name, exact=True).click()
    path = await (await saving.value).path()
    return path.read_text()


async def test_a_report_is_saved_as_a_file(operator: Desk) -> None:
    tab = await operator.open("/runs")
    await tab.locator("section", has_text="All runs").get_by_role("link").last.click()
    await settled(tab)
    await tab.get_by_role("link", name="Report").click()
    await settled(tab)
    rows = list(csv.DictReader(io.StringIO(await saved(tab, "CSV"))))
    assert [row["reason"] for row in rows].count("1007") == REFUSED
    assert json.loads(await saved(tab, "JSON"))["rows"] == rows
