"""The console in front of faked facts: its pages as a browser that is signed in gets them."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from html import unescape
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import httpx
from starlette.applications import Starlette

from shared.azure.shared_state import State
from shared.cli.console import app
from shared.cli.console.latest import Latest
from shared.cli.console.local import LocalAccess
from shared.cli.console.page import Page
from shared.cli.status.facts import Status
from shared.config.settings import DataverseSettings, MarketoSettings
from tests.support.history import Kept
from tests.support.queues import QUEUES
from tests.support.status import all_is_well
from tests.support.tables import FullTable

PORT = 8400
HOST = f"http://127.0.0.1:{PORT}"
SAME_SITE = {"origin": HOST, "sec-fetch-site": "same-origin"}
HIDDEN = re.compile(r'type="hidden" name="(\w+)" value="([^"]*)"')
SECRETS = ("s3cret-of-marketo", "s3cret-of-dynamics")
MARKETO = MarketoSettings.model_validate(
    {
        "MARKETO_URL": "https://123-abc-456.mktorest.com",
        "MARKETO_CLIENT_ID": "i",
        "MARKETO_CLIENT_SECRET": SECRETS[0],
    }
)
DATAVERSE = DataverseSettings.model_validate(
    {
        "DATAVERSE_URL": "https://contoso.crm.dynamics.com",
        "DATAVERSE_AUTH": "client_secret",
        "DATAVERSE_TENANT_ID": "contoso.example",
        "DATAVERSE_CLIENT_ID": "i",
        "DATAVERSE_CLIENT_SECRET": SECRETS[1],
    }
)


class Served:
    """The console of whoever has this `context`, where `look` finds what `msisync status` finds; and a browser."""

    def __init__(self, context: Any, look: Callable[[], Awaitable[Status]], pages: Sequence[Page] = app.PAGES) -> None:
        self.context = context
        self.access = LocalAccess("ann", PORT)
        site = app.Site(self.context, pages, Latest(look))
        self.latest, self.looks, self.jobs = site.status, site.looks, site.jobs
        self.app: Starlette = app.served(site, self.access)
        self.browser = self.another_browser()

    def another_browser(self) -> httpx.AsyncClient:
        """One that is not signed in."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=HOST)

    async def sign_in(self) -> None:
        """Open the address that the command prints."""
        assert (await self.browser.get(self.access.address)).status_code == 303

    async def app_ends(self) -> None:
        """Wait for the actions that have begun."""
        await asyncio.gather(*self.running())

    def running(self) -> list[asyncio.Task[None]]:
        """The actions of this console that run."""
        return [task for task in asyncio.all_tasks() if task.get_name().startswith("msisync-action-")]

    async def get(self, path: str, status: int = 200) -> str:
        """The text of a page."""
        answer = await self.browser.get(path)
        assert answer.status_code == status, answer.text
        return answer.text

    async def post(self, path: str, fields: Mapping[str, str], status: int = 303) -> httpx.Response:
        """Send a form, as a browser does from one of the console's pages."""
        answer = await self.browser.post(path, data=dict(fields), headers=SAME_SITE)
        assert answer.status_code == status, answer.text
        return answer

    async def submit(self, path: str, page: str) -> httpx.Response:
        """Send the form of a page, whose fields may have several values."""
        content = urlencode([(name, unescape(value)) for name, value in HIDDEN.findall(page)])
        kind = {"content-type": "application/x-www-form-urlencoded"}
        return await self.browser.post(path, content=content, headers=SAME_SITE | kind)

    async def agree(self, path: str, page: str) -> str:
        """Agree to what a page asks, wait for the end of the action, and give its page."""
        answer = await self.submit(path, page)
        assert answer.status_code == 303, text_of(answer.text)
        await self.app_ends()
        return await self.get(str(answer.headers["location"]))

    async def does(self, address: str) -> str:
        """Ask for an action, agree to it, and give its page when it has ended."""
        return await self.agree(address.partition("?")[0], await self.get(address))

    async def close(self) -> None:
        """The server ends."""
        await asyncio.gather(self.jobs.close(), self.latest.close(), self.looks.close())


class World(Served):
    """The same of faked facts."""

    def __init__(self, pages: Sequence[Page] = app.PAGES) -> None:
        self.status = all_is_well()
        self.error: Exception | None = None
        self.table = FullTable()
        self.state = State(self.table)
        self.kept = Kept(start=datetime.now(UTC))
        storage = SimpleNamespace(history_days=14)
        settings = SimpleNamespace(queues=QUEUES, marketo=MARKETO, dataverse=DATAVERSE, storage=storage)
        context = SimpleNamespace(
            settings=settings, state=self.state, history=self.kept.history, history_tables=self.kept.tables
        )
        super().__init__(context, self.look, pages)

    async def look(self) -> Status:
        """Stands for shared/cli/status/look.py."""
        if self.error:
            raise self.error
        return self.status


def hidden_fields(page: str) -> dict[str, str]:
    """The hidden fields of the first form of a page."""
    return {name: unescape(value) for name, value in HIDDEN.findall(page)}


def text_of(page: str) -> str:
    """What a page, or a part of one, says: without marks, in one line."""
    return " ".join(unescape(re.sub(r"<title>.*?</title>|<[^>]+>", " ", page)).split())
