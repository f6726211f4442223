"""Runs and their pages in the real Azurite: one run of a table, concurrent news, and pages that are stored twice."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from shared.azure.table import Account
from shared.config.settings import StorageSettings
from shared.sync.runs.model import Run, RunKind, RunRefusedError, RunState, Scope, new_run
from shared.sync.runs.page import PAGE, pages_of
from shared.sync.runs.store import Runs

IDS = [str(UUID(int=number)) for number in range(2 * PAGE)]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def runs(azurite: str) -> AsyncIterator[Runs]:
    storage = StorageSettings.model_validate({"AzureWebJobsStorage": azurite})
    account = Account(storage)
    yield Runs(account.table(f"t{uuid4().hex}"), now=now)
    await account.close()


def a_run(*tables: str) -> Run:
    return new_run(RunKind.INITIAL_SYNC, Scope(tables), now().replace(microsecond=0), unique=uuid4().hex)


async def test_of_two_that_are_started_at_once_one_is_refused(runs: Runs) -> None:
    started = [a_run("contact", "lead"), a_run("lead", "account")]
    answers = await asyncio.gather(*map(runs.create, started), return_exceptions=True)
    assert Counter(type(answer) for answer in answers) == Counter({type(None): 1, RunRefusedError: 1})
    (kept,) = await runs.all()
    assert kept == started[answers.index(None)]
    assert (await runs.to(kept.id, RunState.CANCELLED)).state is RunState.CANCELLED
    await runs.create(started[1 - answers.index(None)])


async def test_a_page_takes_news_from_several_processes_and_says_what_is_missing(runs: Runs) -> None:
    run = a_run("contact")
    await runs.create(run)
    seen = await runs.read(run.id)
    assert seen
    pages = pages_of(run.id, "contact", 0, IDS)
    assert await runs.replace(seen, seen.table("contact", pages=2), pages)
    assert await runs.replace(seen, seen.table("contact", pages=3), pages_of(run.id, "contact", 2, IDS)) is None
    assert [(each.number, each.counts) for each in await runs.busy(run.id)] == [
        (0, Counter(unsent=PAGE)),
        (1, Counter(unsent=PAGE)),
    ]
    await runs.change_page(run.id, "contact", 0, lambda page: page.sent(now()))

    async def tell(part: int) -> None:
        news = dict.fromkeys(IDS[part:PAGE:3], "created") | {IDS[0]: "failed:1003"}
        await runs.change_page(run.id, "contact", 0, lambda page: page.told(news, {"1003": "no such value"}))

    await asyncio.gather(*map(tell, range(3)))
    (left,) = await runs.busy(run.id)
    assert left.number == 1
    expected = Counter({"created": PAGE - 1, "failed:1003": 1, "unsent": PAGE})
    assert (await runs.totals(run.id))["contact"] == expected
    page = await runs.page(run.id, "contact", 0)
    assert page
    assert page.sent_at
    assert page.is_closed
    await runs.to(run.id, RunState.CANCELLED)
    await runs.remove(run)
    assert await runs.all() == []
    assert await runs.summaries(run.id) == []
