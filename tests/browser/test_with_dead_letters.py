"""Dead letters in the browser: chosen, looked at by two operators at once, exported, discarded, replayed."""

from playwright.async_api import Page, expect

from local.harness import Made, System, eventually
from local.harness.commands import run
from tests.browser.conftest import Open
from tests.browser.desk import PATIENCE, Desk, agreed, over, settled
from tests.browser.troubles import NAMELESS, REFUSED, UNREADABLE

expect.set_options(timeout=PATIENCE)
REFUSED_ONES = "/dead-letters?code=1007"
NAMELESS_ONES, UNREADABLE_ONES = "/dead-letters?code=1002", "/dead-letters?code=NotJson"


async def asked(tab: Page) -> str:
    """What the console asks."""
    await tab.wait_for_selector("form[method=post]")
    return await tab.locator("h1").inner_text()


async def test_one_that_is_ticked_is_discarded_and_the_filter_stays(operator: Desk, system: System) -> None:
    before = len(await system.broker.dead_letters())
    assert before == REFUSED + NAMELESS + UNREADABLE
    tab = await operator.open(NAMELESS_ONES)
    boxes = tab.locator("input[type=checkbox][name=letter]")
    assert await boxes.count() == NAMELESS
    await boxes.first.check()
    await tab.get_by_role("button", name="Discard").click()
    assert await asked(tab) == "Discard 1 dead letter?"
    await tab.go_back()
    assert await boxes.count() == NAMELESS
    await tab.go_forward()
    assert "1 of 1 dead letter discarded" in await agreed(tab)
    await tab.get_by_role("link", name="Back").click()
    await settled(tab)
    assert tab.url == operator.address + NAMELESS_ONES
    await expect(boxes).to_have_count(NAMELESS - 1)


async def test_what_another_operator_has_done_meanwhile_is_asked_again(operator: Desk, open_desk: Open) -> None:
    tab = await operator.open(UNREADABLE_ONES)
    await operator.go(tab, "/dead-letters/discard?scope=all&code=NotJson")
    assert await asked(tab) == f"Discard {UNREADABLE} dead letters?"
    async with open_desk("ben") as other:
        theirs = await other.open(UNREADABLE_ONES)
        await theirs.locator("input[type=checkbox][name=letter]").first.check()
        await theirs.get_by_role("button", name="Discard").click()
        assert "1 of 1 dead letter discarded" in await agreed(theirs)
        assert other.complaints == []
    await tab.locator("form[method=post] button").click()
    # Letters are read anew before they are discarded; where that takes long, the action says which were gone.
    is_asked, is_done = tab.locator("[role=alert]:not([hidden])"), tab.locator("main", has_text="of 2 dead letters")
    await expect(is_asked.or_(is_done).first).to_be_visible()
    if await is_asked.count():
        assert "has changed meanwhile. Nothing was done yet" in await is_asked.inner_text()
        assert await asked(tab) == "Discard 1 dead letter?"
        assert "1 of 1 dead letter discarded" in await agreed(tab)
    else:
        assert "1 of 2 dead letters discarded" in await over(tab)


async def test_all_that_match_are_replayed_and_come_back_with_the_same_reason(operator: Desk, system: System) -> None:
    tab = await operator.open(NAMELESS_ONES)
    await tab.get_by_role("combobox", name="Take").select_option("all")
    await tab.get_by_role("button", name="Replay").click()
    number = NAMELESS - 1
    assert await asked(tab) == f"Replay {number} dead letters?"
    done = f"{number} of {number} dead letters replayed"
    assert done in await agreed(tab)
    await tab.reload()
    assert done in await tab.locator("main").inner_text()
    before = REFUSED + NAMELESS + UNREADABLE
    await eventually(
        system.broker.dead_letters, lambda seen: len(seen) >= before + number, seconds=180, what="they come back"
    )


async def test_an_export_is_downloaded(operator: Desk) -> None:
    tab = await operator.open(NAMELESS_ONES)
    await tab.get_by_role("link", name="Look again").click()  # those that were replayed have come back meanwhile
    await settled(tab)
    await tab.get_by_role("combobox", name="Take").select_option("all")
    await tab.get_by_role("button", name="Export").click()
    await asked(tab)
    await agreed(tab)
    async with tab.expect_download() as saving:
        await tab.locator("main a[href*=download], main a[href*=export], main a[download]").first.click()
    path = await (await saving.value).path()
    assert path.read_text().count("\n") >= 1
    assert "1002" in path.read_text()


async def test_what_was_synced_since_is_looked_up_and_offered_for_discard(operator: Desk, system: System) -> None:
    await system.forget_faults()  # Marketo would take them now
    tab = await operator.open(REFUSED_ONES)
    id_ = (await tab.locator("td a[href^='/records?q=']").last.inner_text()).split()[-1]
    person = Made("contact", id_, {})
    await system.notify(person)
    await system.synced(person)

    async def history() -> list[str]:
        ended = await run(system.stack.settings_file, "history", id_, "--json")
        return [event["what"] for event in ended.json["events"]]

    await eventually(history, lambda events: events[-1] == "created", what="its history says so")
    await tab.get_by_role("combobox", name="Take").select_option("all")
    await tab.get_by_role("button", name="Look up which were synced since").click()
    assert (await asked(tab)).startswith("Look up whether ")
    assert "1 of " in await agreed(tab)
    await tab.get_by_role("link", name="Back").click()
    await settled(tab)
    assert await tab.locator(".pill", has_text="synced since").count() == 1
    await tab.get_by_role("link", name="Discard 1…").click()
    assert "1 of 1 dead letter discarded" in await agreed(tab)
