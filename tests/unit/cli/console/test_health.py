"""The page of the doctor's checks: each appears when it is made, and says what to do."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.cli.console import health
from shared.cli.doctor.runner import Check, Subject
from shared.cli.finding import Finding, attention, failed, ok
from tests.support.console import World, text_of


class Checks:
    """Three checks; the second one waits for the test."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.rounds = 0
        self.findings = {"one": ok("fine"), "two": ok(), "three": ok()}
        self.table = (
            Check("one", "Set-up", "First", self.one),
            Check("two", "Marketo", "Second", self.two),
            Check("three", "Marketo", "Third", self.three, needs=("two",)),
        )

    async def one(self, _: Subject) -> Finding:
        self.rounds += 1
        return self.findings["one"]

    async def two(self, _: Subject) -> Finding:
        await self.gate.wait()
        return self.findings["two"]

    async def three(self, _: Subject) -> Finding:
        return self.findings["three"]


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Checks:
    made = Checks()
    monkeypatch.setattr(health, "CHECKS", made.table)
    return made


@pytest.fixture
async def world(checks: Checks) -> AsyncIterator[World]:
    made = World()
    await made.sign_in()
    yield made
    checks.gate.set()
    await made.looks.close()


async def test_all_checks_are_green(world: World) -> None:
    text = text_of(await world.get("/health"))
    assert "All checks are green Check again 3 ok" in text
    assert "ok First: fine one" in text


async def test_checks_appear_when_they_are_made(world: World, checks: Checks) -> None:
    checks.gate.clear()
    world.looks.patience = 0.01
    page = await world.get("/health")
    assert "Checking: 2 left" in page
    assert 'hx-trigger="every 1s"' in page
    assert "ok First: fine one checking Second" not in text_of(page)
    assert "checking Second two checking Third three" in text_of(page)
    checks.gate.set()
    world.looks.patience = 5.0
    page = await world.get("/health")
    assert "hx-trigger" not in page
    assert "All checks are green" in page


async def test_what_is_wrong_says_what_to_do_and_what_hangs_on_it(world: World, checks: Checks) -> None:
    checks.findings["one"] = attention("<b>odd</b>", "look at it", ["this", "that"])
    checks.findings["two"] = failed("it is broken", "msisync register --apply")
    page = await world.get("/health")
    text = text_of(page)
    assert '<section class="verdict bad"' in page
    assert "Fix first: Marketo, Second (two)" in text
    assert "attention First: <b>odd</b> one this that To do: look at it" in text
    assert "<b>odd" not in page
    assert "failed Second: it is broken two To do: msisync register --apply" in text
    assert "skipped Third three because of two" in text
    assert "1 failed 1 attention 1 skipped" in text


async def test_they_are_made_again_only_when_somebody_asks(world: World, checks: Checks) -> None:
    page = await world.get("/health")
    again = page.partition('href="/health?after=')[2].partition('"')[0]
    await world.get("/health")
    assert checks.rounds == 1
    checks.findings["one"] = ok("better")
    assert "First: better" in text_of(await world.get(f"/health?after={again}"))
    assert checks.rounds == 2
    await world.get(f"/health?after={again}")
    assert checks.rounds == 2, "a reload asks for nothing new"


async def test_the_remedy_doctor_leads_there(world: World) -> None:
    world.status.unseen = {"persons": "the credentials lack the right"}
    assert 'href="/health">Check what is wrong</a>' in await world.get("/")
