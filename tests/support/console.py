"""The console in front of faked facts: its pages as a browser that is signed in gets them."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from types import SimpleNamespace
from typing import Any

import httpx
from starlette.applications import Starlette

from shared.azure.parked_rows import ParkedCount
from shared.azure.shared_state import State
from shared.cli.console import app
from shared.cli.console.latest import Latest
from shared.cli.console.local import LocalAccess
from shared.cli.console.page import Page
from shared.cli.status.facts import Entity, Queue, Status
from shared.config.settings import DataverseSettings, MarketoSettings, StorageSettings
from shared.marketo.usage import Usage
from shared.model.entities import ENTITIES
from shared.sync.circuit import Outage
from shared.sync.heartbeat import TIMER, Beat
from shared.sync.runs.model import RunKind, Scope, new_run
from tests.support.history import Kept
from tests.support.queues import QUEUES
from tests.support.tables import FullTable
from tests.support.values import NOON

PORT = 8400
HOST = f"http://127.0.0.1:{PORT}"
SECRETS = ("s3cret-of-marketo", "s3cret-of-dynamics")
MARKETO = MarketoSettings.model_validate(
    {
        "MARKETO_URL": "https://123-abc-456.mktorest.com",
        "MARKETO_CLIENT_ID": "i",
        "MARKETO_CLIENT_SECRET": SECRETS[0],
    }
)
STORAGE = StorageSettings.model_validate({"AzureWebJobsStorage": "UseDevelopmentStorage=true"})
DATAVERSE = DataverseSettings.model_validate(
    {
        "DATAVERSE_URL": "https://contoso.crm.dynamics.com",
        "DATAVERSE_AUTH": "client_secret",
        "DATAVERSE_TENANT_ID": "contoso.example",
        "DATAVERSE_CLIENT_ID": "i",
        "DATAVERSE_CLIENT_SECRET": SECRETS[1],
    }
)


def all_is_well() -> Status:
    """A system in which nothing waits."""

    def queue(setting: str) -> Queue:
        return Queue(setting, QUEUES.of(setting), "Active", 0, 0, 0)

    usage = Usage(1234, 30_000, elapsed=0.5, closed=None, everybody=20_345, measured_at=NOON, as_of=NOON)
    entities = {name: Entity(queue(name)) for name in ENTITIES}
    return Status(NOON, queue("changes"), queue("dead_letters"), entities, budget=usage)


class World:
    """Who serves the console (`context`), what `msisync status` would find, and a browser."""

    def __init__(self, pages: Sequence[Page] = app.PAGES) -> None:
        self.status = all_is_well()
        self.error: Exception | None = None
        self.table = FullTable()
        self.state = State(self.table)
        self.kept = Kept(start=datetime.now(UTC))
        storage = SimpleNamespace(history_days=14)
        settings = SimpleNamespace(queues=QUEUES, marketo=MARKETO, dataverse=DATAVERSE, storage=storage)
        context: Any = SimpleNamespace(
            settings=settings, state=self.state, history=self.kept.history, history_tables=self.kept.tables
        )
        self.context = context
        self.access = LocalAccess("ann", PORT)
        site = app.Site(self.context, pages, Latest(self.look))
        self.latest, self.looks, self.jobs = site.status, site.looks, site.jobs
        self.app: Starlette = app.served(site, self.access)
        self.browser = self.another_browser()

    async def look(self) -> Status:
        """Stands for shared/cli/status/look.py."""
        if self.error:
            raise self.error
        return self.status

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
        answer = await self.browser.post(
            path, data=dict(fields), headers={"origin": HOST, "sec-fetch-site": "same-origin"}
        )
        assert answer.status_code == status, answer.text
        return answer


def hidden_fields(page: str) -> dict[str, str]:
    """The hidden fields of the first form of a page."""
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)}


def in_trouble(status: Status) -> None:
    """Let everything that `msisync status` can find be wrong."""
    persons, companies = status.entities["person"], status.entities["company"]
    status.changes.waiting, status.changes.oldest = 3, NOON - timedelta(seconds=40)
    persons.queue.status = "ReceiveDisabled"
    persons.queue.waiting, persons.queue.scheduled, persons.queue.oldest = 118, 12, NOON - timedelta(minutes=19)
    persons.last_hour, persons.last_day = {"synced": 2310}, {"synced": 31_877}
    persons.by_slot = [0, 120, 340, 90, 0, 10, 800, 400, 200, 100, 150, 100]
    persons.by_hour = [*range(100, 2400, 100), 2310]
    persons.parked = ParkedCount({"company": 120}, NOON - timedelta(hours=3))
    persons.letters, status.dead_letters.waiting = 12, 14
    companies.last_hour, companies.last_day = {"synced": 60}, {"synced": 1204}
    companies.by_slot, companies.by_hour = [5] * 12, [50] * 23 + [54]
    companies.parked = ParkedCount({"sales_person": 3})
    status.circuits["company"] = Outage(NOON - timedelta(minutes=9), NOON + timedelta(minutes=1), "marketo 503: away")
    scope = Scope(("account", "contact"))
    run = new_run(RunKind.INITIAL_SYNC, scope, NOON - timedelta(hours=2), unique="abcd", expected={"contact": 90_000})
    status.runs = [run.table("contact", rows=40_000)]
    status.beats = {TIMER: Beat(NOON - timedelta(seconds=12), "instance-1", "0.1.0+1a2b3c4d")}
    status.budget = replace(status.budget, used_today=21_212) if status.budget else None
    finished = (NOON - timedelta(minutes=4)).isoformat()
    last = {"kind": "changes", "started": finished, "finished": finished, "written": 37, "complete": True}
    status.write_back.runs = [last]
    status.write_back.refused, status.write_back.last_refusal = 2, "0x80040220 no privilege"


def text_of(page: str) -> str:
    """What a page, or a part of one, says: without marks, in one line."""
    return " ".join(unescape(re.sub(r"<title>.*?</title>|<[^>]+>", " ", page)).split())
