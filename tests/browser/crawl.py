"""Every page of the console, found as a person finds them: from the navigation, through links and searches.

A page that is new in the navigation is tested without a line here.
"""

import re
from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qsl, urlsplit

from playwright.async_api import Page

from tests.browser.desk import Desk

#: Pages that are looked at, so that links that go round and round have an end.
MOST = 60
#: Addresses that a page links to, and those that its forms lead to: texts are `query`, the first box is ticked.
_LINKS = "() => [...document.querySelectorAll('a[href]:not([download])')].map(each => each.getAttribute('href'))"
_FORMS = """(query) => [...document.querySelectorAll('form:not([method=post])')].flatMap((form) => {
  const given = (submitter) => {
    const data = new FormData(form, submitter);
    for (const field of form.querySelectorAll('input[type=search], input[type=text], input:not([type])'))
      if (field.name) data.set(field.name, query);
    const box = form.querySelector('input[type=checkbox]');
    if (box) data.append(box.name, box.value);
    const target = submitter?.getAttribute('formaction') || form.getAttribute('action') || location.pathname;
    return `${target}?${new URLSearchParams(data)}`;
  };
  const buttons = [...form.querySelectorAll('button[name], button[formaction]')];
  return buttons.length ? buttons.map(given) : [given(null)];
})"""


def shape(path: str) -> str:
    """What addresses of the same kind of page have in common: ids and numbers do not count, nor do words of a query."""
    parts = urlsplit(path)
    names = sorted({name for name, value in parse_qsl(parts.query) if value})
    return re.sub(r"[0-9a-f]*\d[0-9a-f-]*", "*", parts.path) + (f"?{'&'.join(names)}" if names else "")


async def navigation(tab: Page) -> list[str]:
    """The pages of the navigation."""
    links = tab.locator("nav a")
    return [str(await link.get_attribute("href")) for link in await links.all()]


async def pages(operator: Desk, query: str) -> AsyncIterator[tuple[str, Page]]:
    """One address of each kind of page, open in a tab. `query` is searched for."""
    tab = await operator.open("/")
    waiting = await navigation(tab)
    known: set[str] = set()
    while waiting and len(known) < MOST:
        path = waiting.pop(0)
        if shape(path) in known:
            continue
        known.add(shape(path))
        await operator.go(tab, path)
        waiting += _inner(await tab.evaluate(_LINKS))
        waiting += _inner(await tab.evaluate(_FORMS, query))
        yield path, tab
    await tab.close()


def _inner(paths: list[str]) -> Iterator[str]:
    yield from (path for path in paths if path.startswith("/") and not path.startswith("//"))
