"""The first page: what it says of facts as they are, and that it says it as `msisync status` does."""

import asyncio
import re
from datetime import timedelta
from html import unescape

import pytest

from shared.cli.console import journal
from shared.cli.console.pause import lead
from shared.cli.console.templating import NONE
from shared.cli.queues import resume_line
from shared.cli.status.facts import PARKED, STATE
from shared.marketo.usage import Closed
from shared.model.errors import ConfigurationError
from shared.sync.history import What
from tests.support.console import World, text_of
from tests.support.status import in_trouble
from tests.support.values import NOON


@pytest.fixture
async def world() -> World:
    made = World()
    await made.sign_in()
    return made


def row(page: str, name: str) -> list[str]:
    """The cells of a queue's line, without charts and links."""
    (line,) = re.findall(rf"<tr>\s*<th scope=\"row\">{name}.*?</tr>", page, re.DOTALL)
    return [text_of(cell) for cell in re.findall(r"<td.*?</td>", line, re.DOTALL)]


async def test_all_is_well(world: World) -> None:
    page = await world.get("/")
    assert '<section class="verdict good"' in page
    text = text_of(page)
    assert "All is well: nothing waits" in text
    assert "1,234 of this app's 30,000 calls" in text
    assert "20,345 of 50,000 by everybody" in text
    assert "At this pace 2,468 by midnight US Central." in text
    assert "Needs attention" not in text
    assert "contoso.crm.dynamics.com → 123-abc-456.mktorest.com" in text


async def test_everything_that_is_wrong_is_said_with_what_helps(world: World) -> None:
    in_trouble(world.status)
    page = await world.get("/")
    text = text_of(page)
    assert '<section class="verdict warn"' in page
    first, *others = world.status.attentions
    assert f"6 things need attention, first: {first.text} Resume… {first.remedy}" in text
    for each in others:
        assert re.search(f"attention {re.escape(each.text)} (.{{1,30}} )?{re.escape(each.remedy)}", text)
    assert 'href="/queues/resume?queue=person">Resume…</a>' in page
    assert "company no calls since 2026-03-04 11:51:00 UTC (marketo 503: away)" in text
    assert "more than the share" in text
    assert "12 s ago release_deferred on instance-1" in text
    assert "0.1.0+1a2b3c4d" in text
    assert "37 written, all changes up to 4 min ago" in text
    assert "2 rows could not be written back" in text
    assert "40,000 of 90,000 rows read" in text
    assert row(page, "Persons") == ["118", "12", "19 min", "", "2,310", "", "31,877", "120", "12", "resume…"]
    assert row(page, "Dynamics changes") == ["3", NONE, "40 s", "", NONE, "pause…"]


async def test_the_rest_is_said_as_the_command_says_it(world: World) -> None:
    in_trouble(world.status)
    world.status.entities["person"].last_error = {
        "code": "1003", "message": "<b>wrong</b>", "at": "2026-03-04T10:00:00.000Z",
        "table": "contact", "id": "c-1", "final": True,
    }  # fmt: skip
    text = text_of(await world.get("/"))
    assert "Last errors person, 2 h ago, dead letter: 1003 <b>wrong</b> (contact c-1)" in text
    assert "Parked 3 of company wait for sales_person 120 of person wait for company" in text


async def test_what_waits_for_somebody_leads_to_its_page(world: World) -> None:
    in_trouble(world.status)
    page = await world.get("/")
    assert '<a href="/dead-letters?entity=person" aria-label="12 dead letters of Persons">' in page
    assert '<a href="/parked" aria-label="120 parked records of Persons">120</a>' in page
    assert f'<a href="/runs?run={world.status.runs[0].id}">initial-sync' in page


async def test_charts_say_in_words_what_they_show(world: World) -> None:
    in_trouble(world.status)
    page = await world.get("/")
    assert 'aria-label="2,310 synced in the last hour, at most 800 in one five minutes"' in page
    assert 'aria-label="31,877 synced in the last 24 hours, at most 2,310 in one hour"' in page


async def test_what_is_not_known_is_not_taken_for_none(world: World) -> None:
    world.status.unseen = {STATE: "storage does not answer", PARKED: "storage does not answer"}
    world.status.entities["person"].queue.dead = None
    world.status.budget = None
    page = await world.get("/")
    assert '<section class="verdict bad"' in page
    assert f"{PARKED}: storage does not answer" in text_of(page)
    assert row(page, "Persons")[3:9] == ["", "?", "", "?", "?", "?"]


async def test_a_closed_budget_says_when_it_opens(world: World) -> None:
    assert world.status.budget
    opens = (NOON + timedelta(hours=17)).timestamp()
    closed = Closed(until=opens, since=NOON.timestamp(), code="607", reason="the day is used up")
    world.status.budget = type(world.status.budget)(30_000, 30_000, 0.5, closed, None, None, NOON)
    page = await world.get("/")
    text = text_of(page)
    assert "Marketo is not called (the day is used up): continues automatically at 2026-03-05 05:00:00 UTC" in text
    assert "At this pace" not in text
    assert "100.0 % of this app's calls are used" in unescape(page)
    assert '<svg class="gauge bad"' in page
    assert "by everybody" not in page, "nobody has said how many that are"


async def test_the_day_in_gauges(world: World) -> None:
    page = unescape(await world.get("/"))
    assert '<svg class="gauge " viewBox="0 0 100 10" preserveAspectRatio="none" role="img"' in page
    assert 'aria-label="4.1 % of this app\'s calls are used"' in page
    assert 'aria-label="40.7 % of all calls are used, by everybody"' in page
    in_trouble(world.status)
    page = unescape(await world.get("/"))
    assert '<svg class="gauge warn"' in page
    assert 'aria-label="44.4 % of the rows are read"' in page


async def test_texts_of_vendors_are_text(world: World) -> None:
    in_trouble(world.status)
    outage = world.status.circuits["company"]
    nasty = "<script>alert(1)</script>\" onload='x' \u202e\u0007 & </title>"
    world.status.circuits["company"] = type(outage)(outage.since, outage.until, nasty)
    world.status.write_back.last_refusal = nasty
    page = await world.get("/")
    assert "<script>alert" not in page
    assert "onload='x'" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\u202e" not in page
    assert "\\u202e" in page


async def test_a_page_that_waits_for_the_first_look_asks_again_soon(world: World) -> None:
    gate = asyncio.Event()
    look = world.look

    async def slow() -> object:
        await gate.wait()
        return await look()

    world.latest.look = slow  # type: ignore[assignment]  # as slow as storage is with 100,000 parked records
    world.latest.patience = 0
    page = await world.get("/")
    assert "Looking at the queues and storage" in page
    assert 'hx-trigger="every 1s"' in page
    gate.set()
    world.latest.patience = 5
    assert 'hx-trigger="every 10s"' in await world.get("/")


async def test_an_error_is_told_as_by_the_command_and_is_over_when_it_is_over(world: World) -> None:
    world.error = ConfigurationError("BadSettings", "MARKETO_URL: is missing\nCOMPANY_QUEUE: is missing")
    page = await world.get("/", 502)
    assert "BadSettings" in page
    assert "COMPANY_QUEUE: is missing" in page
    world.error = None
    assert "All is well" in await world.get("/")


async def test_a_defect_does_not_quote_what_it_was_raised_for(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.error = ValueError("someone@contoso.example")
    page = await world.get("/", 500)
    assert "ValueError at " in page
    assert "someone@contoso.example" not in page + caplog.text
    assert "console_defect" in caplog.text


async def test_storage_that_is_away_does_not_take_the_page_away(world: World) -> None:
    world.table.away = True
    assert "What operators did last" not in await world.get("/")


def test_the_remedy_of_a_pause_leads_to_the_button_and_no_other_does() -> None:
    for setting in ("changes", "person", "sales_person"):
        found = lead(resume_line(setting))
        assert found
        assert found.path == f"/queues/resume?queue={setting}"
    assert lead("msisync doctor") is None


async def test_what_operators_did_by_commands_stands_among_what_they_did_in_consoles(world: World) -> None:
    await journal.write(
        world.state, journal.name_of(NOON), journal.Entry(NOON, "ann", "Pause persons", NOON, "ok", "paused")
    )
    world.kept.history.happened_at_large(What.QUEUE_PAUSED, by="ann", queue="persons", place="console")
    world.kept.history.happened_at_large(What.RUN_STARTED, by="bo", run="r-1", kind="quick-sync", tables=["lead"])
    await world.kept.events()
    page = await world.get("/")
    done = text_of(page).partition("What operators did last")[2]
    assert done.index("bo Run started: quick-sync; of lead by a command") < done.index("ann Pause persons done paused")
    assert "Queue paused" not in done, "what was done in a console is there once"
    assert 'href="/runs?run=r-1"' in page
