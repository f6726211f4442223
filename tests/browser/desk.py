"""An operator at a desk: the command `msisync console` in a process of its own, and a browser that is signed in to it.

Whatever a browser complains about is noted: errors of scripts, what the content security policy has refused, answers
that are errors, and requests to other hosts.
"""

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    ViewportSize,
    WebError,
)

from local.endpoints import inherited_environment
from local.stack import ROOT

AXE = Path(__file__).parent / "node_modules/axe-core/axe.min.js"
#: Milliseconds that a page or a part of one may take, on a machine that does other things as well.
PATIENCE = 60_000
WINDOW: ViewportSize = {"width": 1200, "height": 800}
#: What a browser shows at a zoom of 400 % in a window of 1280 x 1024, and the narrowest telephone.
ZOOMED: ViewportSize = {"width": 320, "height": 256}
NARROW: ViewportSize = {"width": 360, "height": 740}
#: The command as the file in .venv/bin starts it: pages then name commands as `msisync`.
_MSISYNC = "import sys; from shared.cli.main import main; sys.exit(main())"
#: Said by the browser of a request that it has ended itself, when its page was left.
_ABORTED = "net::ERR_ABORTED"


@dataclass
class Desk:
    """`address`: the console's, without what comes after the port. `complaints`: what the browser complained about."""

    address: str
    process: Process
    context: BrowserContext
    complaints: list[str] = field(default_factory=list)

    async def open(self, path: str = "/") -> Page:
        """A new tab with a page of the console, looked at to its end: the first look at queues may take a while."""
        tab = await self.context.new_page()
        await self.go(tab, path)
        return tab

    async def go(self, tab: Page, path: str) -> None:
        """Enter an address of the console in this tab."""
        await tab.goto(self.address + path)
        await settled(tab)

    def excused(self, pattern: str) -> int:
        """Forget the complaints that a test has meant to cause. Gives their number."""
        kept = [each for each in self.complaints if not re.search(pattern, each)]
        forgotten = len(self.complaints) - len(kept)
        self.complaints[:] = kept
        return forgotten

    def listen(self, context: BrowserContext) -> BrowserContext:
        """Note the complaints of a browser."""
        context.set_default_timeout(PATIENCE)
        context.on("console", self._said)
        context.on("weberror", self._failed)
        context.on("request", self._asked)
        context.on("response", self._answered)
        context.on("requestfailed", self._unanswered)
        return context

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _failed(self, error: WebError) -> None:
        self.complaints.append(f"script: {error.error}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(f"{self.address}/"):
            self.complaints.append(f"another host: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status}: {response.url.removeprefix(self.address)}")

    def _unanswered(self, request: Request) -> None:
        if request.failure != _ABORTED:
            self.complaints.append(f"{request.failure}: {request.url.removeprefix(self.address)}")


@asynccontextmanager
async def desk(browser: Browser, settings: Path, name: str = "ann") -> AsyncIterator[Desk]:
    """Start the command as `name`, and open what it prints. At the end, the command is ended with Ctrl-C."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _MSISYNC, "console", "--no-browser", "--port", "0"),
        cwd=ROOT,
        env={**inherited_environment(), "MSISYNC_SETTINGS": str(settings), "LOGNAME": name},
        stdout=PIPE,
        stderr=PIPE,
        preexec_fn=_heed_the_keyboard,
    )
    context = await browser.new_context(viewport=WINDOW, reduced_motion="reduce")
    try:
        opening = await _printed(process)
        parts = urlsplit(opening)
        made = Desk(f"{parts.scheme}://{parts.netloc}", process, context)
        made.listen(context)
        # Not by a tag in the page, which the content security policy forbids.
        await context.add_init_script(path=AXE)
        first = await context.new_page()
        await first.goto(opening)
        await settled(first)
        await first.close()
        yield made
    finally:
        await context.close()
        await ended(process)


def _heed_the_keyboard() -> None:
    """Also where this process was told to ignore Ctrl-C (nohup)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def ended(process: Process) -> int:
    """End a console as its operator does. Gives its exit code."""
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
    await process.communicate()
    return process.returncode or 0


async def _printed(process: Process) -> str:
    """The address that lets in."""
    assert process.stderr
    async with asyncio.timeout(PATIENCE / 1000):
        while line := (await process.stderr.readline()).decode():
            if found := re.search(r"http://127\.0\.0\.1:\d+/open\?token=\S+", line):
                return found.group()
    raise AssertionError("the console has ended")


async def settled(tab: Page) -> None:
    """Wait until a page that polls has what it polls for: nothing is "…" any more."""
    await tab.wait_for_function("() => !document.querySelector('[hx-trigger=\"every 1s\"]')")


async def agreed(tab: Page) -> str:
    """Agree to what a page asks, and wait for its end. Gives what has come of it."""
    await tab.locator("form[method=post] button").click()
    return await over(tab)


async def over(tab: Page) -> str:
    """Wait for the end of the action that a tab shows."""
    await tab.wait_for_url(re.compile("/jobs/"))
    await tab.locator("main a.button", has_text="Back").wait_for()
    return await tab.locator(".verdict:not([hidden])").inner_text()


async def findings(tab: Page) -> list[str]:
    """What axe-core finds serious or critical on a page, with the elements."""
    found: list[dict[str, Any]] = await tab.evaluate(
        "async () => (await axe.run(document, {resultTypes: ['violations'], preload: false})).violations"
    )
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:160]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
