"""Actions: asked for with what they would do, begun only as agreed, told while they run, and kept after their end."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from shared.cli.console import jobs, journal, overview, pause
from shared.cli.console.jobs import Job
from shared.cli.console.page import Action, Page, Plan, Visit
from shared.cli.finding import Finding, Severity, ok
from shared.cli.operator import operator
from shared.cli.pause import Change
from shared.cli.status.facts import Status
from shared.model.errors import MsiSyncError
from tests.support.console import World, hidden_fields, text_of
from tests.support.values import NOON


class Letters:
    """A page with one action: it removes letters, each of them when the test says so."""

    def __init__(self) -> None:
        self.number = 3
        self.is_looking = False
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self.visits: list[Visit] = []
        self.by = ""
        action = Action("/letters/discard", "/letters", self.plan)
        self.page = Page("/letters", "Letters", overview.show, (action,), badge=lambda status: status.dead)

    async def plan(self, visit: Visit) -> Plan:
        if self.is_looking:
            return Plan("Discard letters", nothing="The letters are being read …", is_looking=True)
        if not self.number:
            return Plan("Discard 0 letters", nothing="No letter matches.")
        keep = [("code", visit.word("code")), ("all", "1")]
        return Plan(f"Discard {self.number} letters", partial(self.do, visit), ["For good."], keep, is_grave=True)

    async def do(self, visit: Visit, job: Job) -> Finding:
        self.visits.append(visit)
        self.by = operator()
        job.advance(1, 3)
        job.say("letter 1 <b>discarded</b>", link="/letters")
        job.say("letter 2 was gone", Severity.ATTENTION)
        await self.gate.wait()
        if self.error:
            raise self.error
        job.advance(3)
        return ok("3 letters discarded")


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
async def world(letters: Letters) -> AsyncIterator[World]:
    made = World((overview.PAGE, letters.page))
    await made.sign_in()
    yield made
    letters.gate.set()
    await made.app_ends()


async def begin(world: World) -> str:
    """Ask, agree, and give the address of the action's page."""
    fields = hidden_fields(await world.get("/letters/discard?code=1003"))
    return str((await world.post("/letters/discard", fields)).headers["location"])


async def test_it_asks_with_the_exact_count_and_does_nothing_yet(world: World) -> None:
    page = await world.get("/letters/discard?code=1003")
    assert "<h1>Discard 3 letters?</h1>" in page
    assert '<button class="grave">Discard 3 letters</button>' in page
    assert "For good." in page
    fields = hidden_fields(page)
    assert {name: value for name, value in fields.items() if name != "csrf"} == {
        "agreed": "Discard 3 letters", "code": "1003", "all": "1",
    }  # fmt: skip
    assert world.table.rows == {}


async def test_what_has_to_be_read_first_is_waited_for_and_then_asked(world: World, letters: Letters) -> None:
    fields = hidden_fields(await world.get("/letters/discard?code=1003"))
    letters.is_looking = True
    page = await world.get("/letters/discard?code=1003")
    assert "<h1>Discard letters</h1>" in page
    assert 'hx-get="/letters/discard?code=1003" hx-select="#live" hx-swap="outerHTML" hx-trigger="every 1s"' in page
    assert '<noscript><p><a href="/letters/discard?code=1003">See whether it is done</a>' in page
    assert "<form method" not in page
    page = (await world.post("/letters/discard", fields, 200)).text
    assert 'hx-get="/letters/discard?code=1003&amp;all=1"' in page, (
        "what was asked, without the agreement and the token"
    )
    letters.is_looking = False
    assert "<h1>Discard 3 letters?</h1>" in await world.get("/letters/discard?code=1003&all=1")
    assert letters.visits == []


async def test_what_has_changed_since_it_was_agreed_to_is_asked_again(world: World, letters: Letters) -> None:
    fields = hidden_fields(await world.get("/letters/discard?code=1003"))
    letters.number = 400
    page = (await world.post("/letters/discard", fields, 200)).text
    assert "has changed meanwhile. Nothing was done yet." in page
    assert "<h1>Discard 400 letters?</h1>" in page
    assert letters.visits == []
    letters.number = 0
    assert "No letter matches." in (await world.post("/letters/discard", fields, 200)).text
    assert "<button" not in await world.get("/letters/discard")


async def test_its_page_says_how_far_it_is_and_what_has_come_of_it(world: World, letters: Letters) -> None:
    address = await begin(world)
    await asyncio.sleep(0)
    page = await world.get(address)
    assert "running 1 of 3 done" in text_of(page)
    assert f'hx-get="{address}"' in page
    assert '<noscript><meta http-equiv="refresh"' in page
    assert "letter 1 &lt;b&gt;discarded&lt;/b&gt;" in page
    assert letters.visits[0].word("code") == "1003"
    letters.gate.set()
    await world.app_ends()
    page = await world.get(address)
    assert "3 letters discarded" in page
    assert "attention letter 2 was gone" in text_of(page)
    assert "hx-trigger" not in page
    assert 'href="/letters">Back</a>' in page


async def test_who_began_it_is_noted_before_and_its_end_after(world: World, letters: Letters) -> None:
    await begin(world)
    ((name, entry),) = (await journal.newest(world.state, 9)).items()
    assert (entry.by, entry.what, entry.ended, entry.state) == ("ann", "Discard 3 letters", None, "")
    letters.gate.set()
    await world.app_ends()
    assert letters.by == "ann", "the history would name somebody else"
    entry = (await journal.newest(world.state, 9))[name]
    assert (entry.state, entry.text) == ("ok", "3 letters discarded")
    assert "ann Discard 3 letters done 3 letters discarded" in text_of(await world.get("/"))


async def test_after_it_the_first_page_looks_again(world: World, letters: Letters) -> None:
    looks = 0
    look = world.latest.look

    async def counted() -> Status:
        nonlocal looks
        looks += 1
        return await look()

    world.latest.look, world.latest.clock = counted, lambda: 7.0
    letters.gate.set()
    await world.get("/")
    await begin(world)
    await world.app_ends()
    await world.get("/")
    assert looks == 2


async def test_what_cannot_be_noted_is_not_begun(world: World, letters: Letters) -> None:
    fields = hidden_fields(await world.get("/letters/discard?code=1003"))
    world.table.away = True
    assert "StorageAway" in (await world.post("/letters/discard", fields, 502)).text
    assert letters.visits == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MsiSyncError("InUse", "somebody else reads it"), "InUse: somebody else reads it"),
        (KeyError("someone@contoso.example"), "a defect of msisync; report it with this line: KeyError at "),
    ],
)
async def test_an_action_that_fails_says_why(world: World, letters: Letters, error: Exception, text: str) -> None:
    letters.error = error
    letters.gate.set()
    address = await begin(world)
    await world.app_ends()
    page = await world.get(address)
    assert text in text_of(page)
    assert "someone@" not in page
    (entry,) = (await journal.newest(world.state, 9)).values()
    assert entry.state == "failed"


async def test_another_process_shows_what_the_journal_knows(world: World, letters: Letters) -> None:
    address = await begin(world)
    other = World()
    other.context.state = world.state
    await other.sign_in()
    page = await other.get(address)
    assert "no end is noted" in page
    assert 'hx-trigger="every 5s"' in page
    letters.gate.set()
    await world.app_ends()
    assert "3 letters discarded" in await other.get(address)
    assert "No such page" in await other.get("/jobs/000-0", 404)


async def test_where_another_process_may_be_asked_next_the_end_is_waited_for(world: World) -> None:
    async def soon(_: Job) -> Finding:
        return ok("done")

    world.jobs.patience = 60.0
    job = await world.jobs.start("Be quick", "ann", "/", soon)
    assert job.outcome
    (entry,) = (await journal.newest(world.state, 9)).values()
    assert entry.text == "done"


async def test_what_takes_longer_is_not_waited_for(world: World, letters: Letters) -> None:
    world.jobs.patience = 0.001
    address = await begin(world)
    assert "running" in await world.get(address)
    letters.gate.set()


async def test_the_end_of_the_console_ends_it_and_says_so(world: World) -> None:
    await begin(world)
    await asyncio.sleep(0)
    await world.jobs.close()
    (entry,) = (await journal.newest(world.state, 9)).values()
    assert entry.text == "stopped before its end"


async def test_memory_stays_flat(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setattr(jobs, "KEPT", 2)
    monkeypatch.setattr(jobs, "LINES", 2)

    async def talk(job: Job) -> Finding:
        for number in range(5):
            job.say(f"line {number}")
        return ok("done")

    begun = []
    for _ in range(5):
        begun.append(await world.jobs.start("Talk", "ann", "/", talk))
        await world.app_ends()
    assert [bool(world.jobs.get(job.id)) for job in begun] == [False, False, False, True, True]
    assert (len(begun[-1].lines), begun[-1].more_lines) == (2, 3)


async def test_the_navigation_has_a_number_where_something_waits_for_somebody(world: World) -> None:
    world.status.dead_letters.waiting = 14
    page = await world.get("/")
    assert re.search(r'<a href="/letters">Letters <span class="pill bad">14</span></a>', page)
    assert 'aria-current="page">Overview' in page


async def test_old_entries_are_removed_and_the_newest_come_first(world: World) -> None:
    for days in (0, 1, 91):
        at = NOON - timedelta(days=days)
        await journal.write(world.state, journal.name_of(at), journal.Entry(at, "ann", f"{days} days ago"))
    await world.state.put(journal.KIND, "0", {"of": "another version"})
    await journal.prune(world.state, NOON)
    assert [entry.what for entry in (await journal.newest(world.state, 9)).values()] == ["0 days ago", "1 days ago"]
    assert len(await journal.newest(world.state, 1)) == 1


async def test_a_queue_is_paused_and_resumed_as_the_command_does(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    async def set_status(_: Any, settings: list[str], status: str) -> list[Change]:
        asked.append((settings, status))
        return [Change(settings[0], "persons", "Active", status, 118)]

    monkeypatch.setattr(pause, "set_status", set_status)
    for word, status, text in (
        ("pause", "ReceiveDisabled", "persons: paused; 118 messages in it"),
        ("resume", "Active", "persons: active, as it was before; 118 messages in it"),
    ):
        assert text in await world.does(f"/queues/{word}?queue=person")
        assert asked.pop() == (["person"], status)
    assert "NoSuchQueue" in await world.get("/queues/pause?queue=dead_letters", 404)


async def test_a_form_sends_back_exactly_what_was_asked_for(world: World) -> None:
    odd = "a\u202eb\u0007\"<msisync doctor>&'"
    page = (await world.browser.get("/letters/discard", params={"code": odd})).text
    assert hidden_fields(page)["code"] == odd
