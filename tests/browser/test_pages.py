"""What holds for every page of the console: both colour schemes, widths, keyboard, refresh, no JavaScript."""

from playwright.async_api import Browser

from tests.browser.crawl import navigation
from tests.browser.desk import Desk, findings, settled
from tests.browser.looks import Look


async def test_the_navigation_leads_to_every_page_and_says_where_one_is(operator: Desk) -> None:
    tab = await operator.open("/")
    for path in await navigation(tab):
        await tab.click(f'nav a[href="{path}"]')
        await settled(tab)
        here = tab.locator("nav a[aria-current=page]")
        assert await here.get_attribute("href") == path
        assert await tab.title() != ""
        assert await tab.locator("h1").count() == 1, path


def test_no_page_has_serious_findings_of_axe_by_day_and_by_night(looks: dict[str, Look]) -> None:
    assert wrong(looks, "axe") == ""


def test_no_page_scrolls_sideways_on_a_telephone_or_at_a_zoom_of_400_percent(looks: dict[str, Look]) -> None:
    assert wrong(looks, "too_wide") == ""


def test_every_control_is_reached_with_the_tab_key_in_order_and_is_seen_to_be(looks: dict[str, Look]) -> None:
    assert wrong(looks, "keyboard") == ""


def test_a_refresh_shows_the_same_page(looks: dict[str, Look]) -> None:
    assert wrong(looks, "refresh") == ""


def wrong(looks: dict[str, Look], what: str) -> str:
    """What is wrong with this, on all pages."""
    return "\n".join(f"{path}: {each}" for path, seen in looks.items() for each in getattr(seen, what))


async def test_back_and_forward_lead_through_the_pages(operator: Desk, paths: list[str]) -> None:
    tab = await operator.open("/")
    paths = paths[:6]
    for path in paths:
        await operator.go(tab, path)
    for path in reversed(paths[:-1]):
        await tab.go_back()
        assert tab.url.removeprefix(operator.address) == path
    for path in paths[1:]:
        await tab.go_forward()
        assert tab.url.removeprefix(operator.address) == path
    await settled(tab)
    assert await tab.locator("h1").count() == 1


async def test_without_javascript_every_page_can_be_read(operator: Desk, paths: list[str], browser: Browser) -> None:
    state = await operator.context.storage_state()
    plain = operator.listen(await browser.new_context(java_script_enabled=False, storage_state=state))
    tab = await plain.new_page()
    for path in paths:
        await tab.goto(operator.address + path)
        while await (again := tab.get_by_role("link", name="See whether it is done")).count():
            async with tab.expect_navigation():
                await again.click()
        assert await tab.locator("main :is(h1, h2)").count() >= 1, path
        assert len(await tab.locator("main").inner_text()) > 40, path
    await plain.close()


async def test_an_address_that_is_none_says_so_on_a_page_like_the_others(operator: Desk) -> None:
    tab = await operator.open("/nothing-here")
    assert await tab.locator("h1").inner_text() == "No such page"
    assert await findings(tab) == []
    assert operator.excused("404")


async def test_another_browser_is_not_let_in(operator: Desk, browser: Browser) -> None:
    stranger = operator.listen(await browser.new_context())
    tab = await stranger.new_page()
    await tab.goto(f"{operator.address}/")
    assert await tab.locator("h1").inner_text() == "Not signed in"
    assert await tab.locator("nav").count() == 0
    await stranger.close()
    assert operator.excused("401")
