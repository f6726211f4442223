"""What is looked at on every page, in one visit: for such a visit asks both vendors, which takes its time."""

from dataclasses import dataclass
from typing import Literal

from playwright.async_api import Page

from tests.browser.desk import NARROW, WINDOW, ZOOMED, findings, settled

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


@dataclass(frozen=True, slots=True)
class Look:
    """What is wrong with one page, a line each; a page that is right has none."""

    axe: list[str]
    too_wide: list[str]
    keyboard: list[str]
    refresh: list[str]


async def look(tab: Page) -> Look:
    """Look at the page that is open in this tab. It is the same page afterwards, read anew."""
    return Look(await _axe(tab), await _too_wide(tab), await _tabbed_through(tab), await _refreshed(tab))


async def _axe(tab: Page) -> list[str]:
    """By day and by night."""
    found = []
    for scheme in SCHEMES:
        await tab.emulate_media(color_scheme=scheme)
        found += [f"{scheme}: {each}" for each in await findings(tab)]
    await tab.emulate_media(color_scheme=SCHEMES[0])
    return found


async def _too_wide(tab: Page) -> list[str]:
    """On a telephone, at a zoom of 400 %, and in a window."""
    found = []
    for window in (NARROW, ZOOMED, WINDOW):
        await tab.set_viewport_size(window)
        if over := await tab.evaluate(_TOO_WIDE):
            found.append(f"at {window['width']}: {over}")
    return found


async def _tabbed_through(tab: Page) -> list[str]:
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


async def _refreshed(tab: Page) -> list[str]:
    """Whether a refresh shows another page."""
    before = await _shown(tab)
    await tab.reload()
    await settled(tab)
    after = await _shown(tab)
    return [] if after == before else [f"{before} has become {after}"]


async def _shown(tab: Page) -> tuple[str, str, list[str]]:
    return tab.url, await tab.title(), await tab.locator("h1").all_inner_texts()
