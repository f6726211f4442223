"""A stack in trouble, and operators with browsers in front of it. Needs Chromium (tools/chromium.py)."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from local.harness import Made, System, running_system
from tests.browser import troubles
from tests.browser.crawl import pages
from tests.browser.desk import Desk, agreed, desk
from tests.browser.looks import Look, look
from tests.e2e.conftest import ENVIRONMENT, LIMITS
from tests.support.values import ROOT
from tools.chromium import find_chromium, no_chromium

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]

Open = Callable[[str], AbstractAsyncContextManager[Desk]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", action="store_true", help="draw docs/images/console-*.png anew")


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    chromium = find_chromium()
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail(no_chromium())
        pytest.skip(no_chromium())
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium)
        yield running
        await running.close()


@pytest.fixture(scope="session")
async def system(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:  # noqa: ARG001  (skipped without it)
    async with running_system(
        tmp_path_factory.mktemp("browser"), marketo=LIMITS, functions_environment=ENVIRONMENT
    ) as running:
        yield running


@pytest.fixture(scope="session")
async def person(system: System) -> Made:
    """The stack is in trouble from now on; this person is synced."""
    return await troubles.make(system)


@pytest.fixture(scope="session")
async def looks(browser: Browser, system: System, person: Made) -> dict[str, Look]:
    """One address of each kind of page, with what is known of a person, and after an action: what is wrong with it."""
    async with desk(browser, system.stack.settings_file) as made:
        tab = await made.open("/queues/resume?queue=opportunity")
        await agreed(tab)
        found = {path: await look(tab) async for path, tab in pages(made, str(person.values["emailaddress1"]))}
        assert made.complaints == []
        return found


@pytest.fixture(scope="session")
def paths(looks: dict[str, Look]) -> list[str]:
    """One address of each kind of page."""
    return list(looks)


@pytest.fixture
def open_desk(browser: Browser, system: System, person: Made) -> Open:  # noqa: ARG001  (the stack is in trouble)
    """For an operator of this name."""
    return partial(desk, browser, system.stack.settings_file)


@pytest.fixture(scope="module")
async def seated(browser: Browser, system: System, person: Made) -> AsyncIterator[Desk]:  # noqa: ARG001  (in trouble)
    """One console for the tests of a module: it takes seconds to start."""
    async with desk(browser, system.stack.settings_file) as made:
        yield made


@pytest.fixture
async def operator(seated: Desk) -> AsyncIterator[Desk]:
    """An operator whose browser has nothing to complain about. Tabs are closed in the end."""
    yield seated
    complaints = seated.complaints[:]
    seated.complaints.clear()
    for tab in seated.context.pages:
        await tab.close()
    assert complaints == []


@pytest.fixture
def pictures(request: pytest.FixtureRequest) -> Path | None:
    """Where pictures are to be drawn, if they are."""
    return ROOT / "docs/images" if request.config.getoption("--pictures") else None
