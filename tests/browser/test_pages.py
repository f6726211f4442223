"""What holds for every page of the console: both colour schemes, widths, keyboard, refresh, no JavaScript."""

from typing import Literal

from playwright.async_api import Browser, Page

from tests.browser.crawl import navigation
from tests.browser.desk import NARROW, WINDOW, ZOOMED, Desk, findings, settled

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
#: How far the page can be scrolled sideways, and what reaches beyond its edge without a box of its own that scrolls.
_TOO_WIDE = """() => {
  const page = document.documentElement;
  const over = page.scrollWidth - page.clientWidth;
  const wide = over <= 0 ? [] : [...document.querySelectorAll('body *')].filter((each) =>
    each.getBoundingClientRect().right > page.clientWidth + 0.5 && !each.closest('.scroll > *'));
  return over <= 0 ? '' : `${over}px: ` + wide.slice(0, 3).map((each) => each.outerHTML.slice(0, 120)).join(' | ');
}"""
_STOP_POLLING = """() => document.querySelectorAll('[hx-trigger]').forEach(
  (each) => each.replaceWith(each.cloneNode(true)))"""
#: What can have the focus, in the order of the page. A closed <details> hides what is in it.
_FOCUSABLE = """() => {
  const all = [...document.querySelectorAll(
    'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]')];
  window.focusable = all.filter((each) => !each.disabled && each.checkVisibility({visibilityProperty: true}) &&
    !(each.type === 'radio' && !each.checked));
  return window.focusable.length;
}"""
_FOCUSED = """() => {
  const each = document.activeElement, style = getComputedStyle(each);
  const is_seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
  const box = each.getBoundingClientRect();
  // Chromium also stops at what scrolls and holds no control.
  if (!window.focusable.includes(each) && each.scrollWidth > each.clientWidth) return null;
  return {place: window.focusable.indexOf(each), seen: is_seen && box.bottom > 0 && box.top < innerHeight,
          html: each.outerHTML.slice(0, 120)};
}"""


async def test_the_navigation_leads_to_every_page_and_says_where_one_is(operator: Desk) -> None:
    tab = await operator.open("/")
    for path in await navigation(tab):
        await tab.click(f'nav a[href="{path}"]')
        await settled(tab)
        here = tab.locator("nav a[aria-current=page]")
        assert await here.get_attribute("href") == path
        assert await tab.title() != ""
        assert await tab.locator("h1").count() == 1, path


async def test_no_page_has_serious_findings_of_axe_by_day_and_by_night(operator: Desk, paths: list[str]) -> None:
    tab = await operator.open("/")
    found = []
    for path in paths:
        await operator.go(tab, path)
        for scheme in SCHEMES:
            await tab.emulate_media(color_scheme=scheme)
            found += [f"{path} {scheme}: {each}" for each in await findings(tab)]
    assert not found, "\n".join(found)


async def test_no_page_scrolls_sideways_on_a_telephone_or_at_a_zoom_of_400_percent(
    operator: Desk, paths: list[str]
) -> None:
    tab = await operator.open("/")
    found = []
    for path in paths:
        await operator.go(tab, path)
        for window in (NARROW, ZOOMED, WINDOW):
            await tab.set_viewport_size(window)
            if over := await tab.evaluate(_TOO_WIDE):
                found.append(f"{path} at {window['width']}: {over}")
    assert not found, "\n".join(found)


async def test_every_control_is_reached_with_the_tab_key_in_order_and_is_seen_to_be(
    operator: Desk, paths: list[str]
) -> None:
    tab = await operator.open("/")
    found = []
    for path in paths:
        await operator.go(tab, path)
        found += [f"{path}: {each}" for each in await tabbed_through(tab)]
    assert not found, "\n".join(found)


async def tabbed_through(tab: Page) -> list[str]:
    """What is wrong with the way through a page with the Tab key. Polling is off: nothing is swapped meanwhile."""
    await tab.evaluate(_STOP_POLLING)
    number: int = await tab.evaluate(_FOCUSABLE)
    wrong: list[str] = []
    for place in range(number):
        focused = None
        while focused is None:
            await tab.keyboard.press("Tab")
            focused = await tab.evaluate(_FOCUSED)
        if focused["place"] != place:
            return [*wrong, f"{focused['html']} has the focus instead of number {place} of {number}"]
        if not focused["seen"]:
            wrong.append(f"the focus is not seen: {focused['html']}")
    return wrong


async def test_a_refresh_shows_the_same_page(operator: Desk, paths: list[str]) -> None:
    tab = await operator.open("/")
    for path in paths:
        await operator.go(tab, path)
        before = await tab.title(), await tab.locator("h1").all_inner_texts()
        await tab.reload()
        await settled(tab)
        assert (await tab.title(), await tab.locator("h1").all_inner_texts()) == before, path
        assert tab.url.removeprefix(operator.address) == path


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
