"""The page of long runs: what one would do, its start, how it goes, what steers it, and its report."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from shared.cli.console import runs
from shared.cli.doctor.command import CHECKS
from shared.cli.finding import attention, ok
from shared.cli.initial_sync import look as looking
from shared.cli.initial_sync.look import TablePlan
from shared.cli.initial_sync.plan import Plan
from shared.cli.progress import steps
from shared.marketo.usage import Usage
from shared.model.errors import StorageUnavailableError
from shared.sync.history import What
from shared.sync.preview import Fate, Foreseen
from shared.sync.runs.model import Run, RunKind, RunState, Scope, new_run
from shared.sync.runs.page import pages_of
from shared.sync.runs.store import Runs
from tests.support.console import MARKETO, World, text_of
from tests.support.run_commands import USAGE, run_with_rows
from tests.support.values import NOON, guid


class RunWorld(World):
    """The console of an app that maps contacts and accounts, with runs in storage; plans are as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = Runs(self.table, now=lambda: datetime.now(UTC))
        self.green = True
        self.plans: list[tuple[Scope, int | None]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        itself: Any = self
        context: Any = self.context
        context.config = SimpleNamespace(tables=dict.fromkeys(["contact", "account"]))
        context.runs, context.budget = self.runs, itself

    async def refresh(self) -> Usage:
        """Stands for the budget."""
        return USAGE

    async def plan_of(self, _: Any, scope: Scope, progress: Console, *, sample: int | None) -> Plan:
        """Stands for the function that reads both systems."""
        self.plans.append((scope, sample))
        steps(progress, "rows of contact looked at", 70).count = 35
        await self.gate.wait()
        finding = ok() if self.green else attention("<b>something</b>", "do it")
        contacts = TablePlan("contact", 70, 60, ambiguous=[Foreseen(guid(7), Fate.AMBIGUOUS, (1, 2))])
        contacts.asked.update({Fate.CREATED: 59, Fate.AMBIGUOUS: 1} if not self.green else {Fate.CREATED: 60})
        return Plan(NOON, [TablePlan("account", 9, 9), contacts], {CHECKS[0]: finding}, MARKETO, 0)

    async def has(self, *states: str) -> Run:
        """A run of contacts, one in each of these states."""
        return await run_with_rows(self.runs, *states, message="<script>alert(1)</script>", expected=8, by="bo")

    async def does(self, address: str) -> str:
        """The same as text."""
        return text_of(await super().does(address))


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> RunWorld:
    made = RunWorld()
    monkeypatch.setattr(runs, "plan_of", made.plan_of)
    await made.sign_in()
    return made


async def test_without_runs_there_is_only_the_plan_to_be_made(world: RunWorld) -> None:
    page = await world.get("/runs")
    assert "There has never been a run" in page
    assert "hx-get" not in page
    assert page.index('value="account"') < page.index('value="contact"'), "parents first"
    assert world.plans == []


async def test_a_run_is_shown_with_its_numbers_while_it_goes_on(world: RunWorld) -> None:
    await world.has("created", "updated", "skipped:Filtered", "failed:1003", "parked", "open")
    page = await world.get("/runs")
    text = text_of(page)
    assert 'hx-trigger="every 5s"' in page
    assert "started by bo" in text
    assert "contact 4 8 2 1 1 1" in text, "done, of, in Marketo, left out, failed, parked"
    assert "contact, left out: 1 Filtered" in text
    assert "1 record could not be synced" in text
    assert "Pause… Cancel… Report" in text


async def test_a_run_is_paused_resumed_and_cancelled(world: RunWorld) -> None:
    run = await world.has("open")
    for word, state in (("pause", RunState.PAUSED), ("resume", RunState.RUNNING), ("cancel", RunState.CANCELLED)):
        await world.get("/runs")
        text = await world.does(f"/runs/{word}?run={run.id}")
        assert run.id in text
        (stored,) = await world.runs.all()
        assert stored.state is state
        assert state in text_of(await world.get("/runs")), "at once, and not as it was before"
    assert [each.reason for each in await world.runs.all()] == ["by ann"]
    page = await world.get(f"/runs/cancel?run={run.id}")
    assert "It is cancelled already." in page
    assert "<form method" not in page


async def test_a_run_that_is_not_there_cannot_be_steered(world: RunWorld) -> None:
    assert "names no run" in await world.get("/runs/pause?run=nothing")


async def test_the_report_says_why_rows_are_not_in_marketo(world: RunWorld) -> None:
    run = await world.has("created", "failed:1003", "failed:1003", "skipped:Filtered")
    page = await world.get(f"/runs?run={run.id}&report=1")
    text = text_of(page)
    assert "contact failed 1003 <script>alert(1)</script> 2" in text
    assert "<script>alert" not in page
    assert f'href="/records?q={guid(2)}"' in page
    assert "contact left out Filtered 1" in text


async def test_the_report_is_a_file_to_save(world: RunWorld) -> None:
    run = await world.has("created", "failed:1003", "skipped:Filtered")
    page = await world.get(f"/runs?run={run.id}&report=1")
    for kind in ("csv", "json"):
        assert f'href="/runs/report?run={run.id}&amp;as={kind}" download' in page
    saved = await world.browser.get(f"/runs/report?run={run.id}&as=csv")
    assert saved.headers["content-disposition"] == f'attachment; filename="initial-sync-{run.id}-report.csv"'
    assert saved.headers["content-type"].startswith("text/csv")
    assert [line.split(",")[:4] for line in saved.text.splitlines()] == [
        ["table", "id", "state", "reason"], ["contact", guid(2), "failed", "1003"],
        ["contact", guid(3), "skipped", "Filtered"],
    ]  # fmt: skip
    found = json.loads(await world.get(f"/runs/report?run={run.id}&as=json"))
    assert (found["run"], found["not_in_marketo"], len(found["rows"])) == (run.id, 2, 2)
    assert "no run has the id nothing" in await world.get("/runs/report?run=nothing", 404)


async def test_a_comparison_has_its_own_words_and_columns(world: RunWorld) -> None:
    run = new_run(RunKind.RECONCILE, Scope(("contact",)), datetime.now(UTC), unique="ffff")
    await world.runs.create(run)
    stored = await world.runs.read(run.id)
    assert stored
    ids = [guid(1), guid(2)]
    told = {guid(1): "unchanged", guid(2): "differs:differing"}
    pages = [page.told(told) for page in pages_of(run.id, "contact", 0, ids)]
    await world.runs.replace(stored, stored.table("contact", rows=2, pages=1), pages)
    text = text_of(await world.get(f"/runs?run={run.id}&report=1"))
    assert "done rows of equal left out failed different" in text
    assert "Report: rows that differ" in text
    saved = await world.browser.get(f"/runs/report?run={run.id}&as=csv")
    assert saved.text.splitlines()[0].startswith("entity,table,id,kind,fields")
    assert f"msisync reconcile resume {run.id}" in await world.does(f"/runs/pause?run={run.id}")


async def test_what_operators_did_with_a_run_stands_beside_it(world: RunWorld) -> None:
    run = await world.has("open")
    await world.runs.create(new_run(RunKind.RECONCILE, Scope(("account",)), datetime.now(UTC), unique="ffff"))
    await world.does(f"/runs/pause?run={run.id}")
    world.kept.time += 1
    world.kept.history.happened_at_large(What.RUN_RESUMED, by="bo", run=run.id, kind="initial-sync")
    world.kept.history.happened_at_large(What.RUN_STARTED, by="zoe", run="another", kind="reconcile")
    await world.kept.events()
    text = text_of(await world.get(f"/runs?run={run.id}"))
    newer, older = "Run resumed: initial-sync, by bo", "Run paused: initial-sync; in the console, by ann"
    assert text.index(newer) < text.index(older)
    assert "zoe" not in text


async def test_a_report_of_a_run_that_lacks_nothing_says_so(world: RunWorld) -> None:
    run = await world.has("created")
    assert "Every row so far is in Marketo." in text_of(await world.get(f"/runs?run={run.id}&report=1"))


async def test_an_older_run_can_be_looked_at(world: RunWorld) -> None:
    older = await world.has("created")
    await world.runs.to(older.id, RunState.CANCELLED)
    scope = Scope(("account",))
    await world.runs.create(new_run(RunKind.RECONCILE, scope, datetime.now(UTC) + timedelta(seconds=2), unique="ffff"))
    assert "account" in text_of(await world.get("/runs")).partition("All runs")[0]
    page = await world.get(f"/runs?run={older.id}")
    assert 'hx-trigger="every 5s"' not in page
    assert "reconcile" in text_of(page).partition("All runs")[2]


async def test_a_plan_shows_how_far_it_is_and_is_made_once(world: RunWorld) -> None:
    world.gate.clear()
    world.looks.patience = 0.01
    page = await world.get("/runs?plan=1")
    assert "35 of 70 rows of contact looked at" in page
    assert 'hx-trigger="every 1s"' in page
    page = await world.get("/runs/start")
    assert "Its plan is being made" in page
    assert 'hx-trigger="every 1s"' in page
    world.gate.set()
    world.looks.patience = 5.0
    text = text_of(await world.get("/runs?plan=1"))
    assert "green 69 records would be sent Start…" in text
    assert "contact 70 60 60 - - - - -" in text
    assert "Marketo calls, at most" in text
    assert world.plans == [(Scope(("account", "contact")), looking.SAMPLE)]


async def test_what_is_ticked_and_typed_is_what_the_plan_is_of(world: RunWorld) -> None:
    await world.get("/runs?plan=1&only=contact&query=statecode+eq+0&changed_since=2026-01-31&whole=1")
    ((scope, sample),) = world.plans
    assert (scope.tables, scope.filter, sample) == (("contact",), "statecode eq 0", None)
    assert scope.changed_since == datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asked", "why"),
    [("query=statecode+eq+0", "a filter needs one table"), ("only=contact&created_since=%3Cb%3E", "is not a day")],
)
async def test_what_cannot_be_meant_is_said_beside_the_form(world: RunWorld, asked: str, why: str) -> None:
    page = await world.get(f"/runs?plan=1&{asked}")
    assert why in page
    assert "<b>'" not in page
    assert world.plans == []


async def test_a_green_plan_is_started_with_its_exact_number(world: RunWorld) -> None:
    await world.get("/runs?plan=1&only=contact&only=account")
    text = await world.does("/runs/start?only=contact&only=account")
    (run,) = await world.runs.all()
    assert f"initial-sync {run.id} is started" in text
    assert run.started_by == "ann"
    assert {name: table.expected for name, table in run.tables.items()} == {"account": 9, "contact": 70}
    page = await world.get("/runs/start?only=contact&only=account")
    assert "<h1>Start the initial sync of 69 records?</h1>" in page


async def test_a_plan_that_is_not_green_says_why_and_warns(world: RunWorld) -> None:
    world.green = False
    page = await world.get("/runs?plan=1")
    text = text_of(page)
    assert "not green" in text
    assert "<b>something</b> do it" in text
    assert "<b>something" not in page.partition("<h2>Plan of")[2].partition("records would")[2]
    assert f'href="/records?q={guid(7)}"' in page
    page = await world.get("/runs/start")
    assert "although its plan is not green?" in page
    assert '<button class="grave">' in page


async def test_nothing_is_started_without_a_plan(world: RunWorld) -> None:
    page = await world.get("/runs/start?only=contact")
    assert "Make its plan first." in page
    assert "<form method" not in page
    assert world.plans == []


async def test_a_second_run_of_a_table_is_refused(world: RunWorld) -> None:
    await world.has("open")
    await world.get("/runs?plan=1")
    assert "RunRefused" in await world.does("/runs/start")


async def test_storage_that_is_away_is_told(world: RunWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_: Runs) -> list[Run]:
        raise StorageUnavailableError("ServiceRequestError")

    monkeypatch.setattr(Runs, "all", away)
    assert "StorageAway" in await world.get("/runs", 502)
