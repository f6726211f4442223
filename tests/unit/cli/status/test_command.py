"""`msisync status`: what needs attention, what is shown where, and how long it watches."""

import asyncio
import io
import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from shared.azure.parked_rows import ParkedCount
from shared.azure.receiver import Message
from shared.cli import watch
from shared.cli.command import Exit, Result
from shared.cli.finding import age
from shared.cli.main import parser
from shared.cli.parsing import UsageError
from shared.cli.status import command
from shared.cli.status.command import COMMAND, as_json
from shared.cli.status.facts import PARKED, STATE, Status
from shared.cli.status.look import first_seen
from shared.marketo.usage import Closed
from shared.model.entities import ENTITIES
from shared.model.record import Record, encode
from shared.sync.circuit import Outage
from tests.support.commands import shown
from tests.support.run_commands import MARKETO
from tests.support.status import text_of
from tests.support.values import NOON

ID = "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d"


def row(text: str, queue: str) -> list[str]:
    """The cells of a queue's line."""
    return next(line.split() for line in text.splitlines() if line.startswith(queue))


def test_all_is_well(status: Status) -> None:
    assert (status.exit, status.attentions) == (Exit.OK, [])
    text = text_of(status)
    assert "Needs attention" not in text
    assert "1,234 of this app's 30,000 calls are used" in text
    assert "20,345 of 50,000 by everybody" in text


def test_a_pause_needs_attention_and_says_how_it_ends(status: Status) -> None:
    status.entities["person"].queue.status = "ReceiveDisabled"
    status.changes.status = "ReceiveDisabled"
    assert status.exit == Exit.ATTENTION
    assert [each.remedy for each in status.attentions] == ["msisync resume --routing", "msisync resume person"]
    assert "persons ‖" in text_of(status)
    status.entities["person"].queue.status = "Disabled"
    assert "Azure portal" in status.attentions[1].remedy


def test_a_change_that_waits_for_more_than_15_minutes_needs_attention(status: Status) -> None:
    waiting = status.entities["company"].queue
    waiting.oldest = NOON - timedelta(minutes=15)
    assert status.attentions == []
    waiting.oldest -= timedelta(seconds=1)
    assert status.exit == Exit.ATTENTION
    assert "companies waits for 15 min" in status.attentions[0].text
    assert text_of(status).startswith("1 thing needs attention: the oldest change in companies waits for 15 min\n")
    assert row(text_of(status), "companies")[3:5] == ["15", "min"]


def test_dead_letters_of_both_kinds_need_attention(status: Status) -> None:
    status.entities["person"].letters = 2
    status.dead_letters.waiting = 3
    status.letters_elsewhere = 1
    status.entities["person"].queue.dead = 4
    (attention,) = status.attentions
    assert attention.text == "7 dead letters"
    assert "msisync dead-letters summary" in attention.remedy
    assert row(text_of(status), "persons")[-1] == "6"
    assert "1 of no entity" in text_of(status)


def test_without_the_right_to_manage_dead_letters_are_those_that_were_seen(status: Status) -> None:
    for each in status.queues:
        each.waiting = each.scheduled = each.dead = None
        status.unseen[each.name] = "the credentials lack the right"
    status.entities["person"].letters = 2
    assert (status.dead, status.exit) == (2, Exit.FAILED)
    assert text_of(status).count("?") >= 3 * len(ENTITIES)


def test_a_brake_on_deletions_says_how_it_is_released(status: Status) -> None:
    status.brakes["person"] = {"on": "2026-03-04T11:58:00.000Z", "limit": 500, "stopped": 41}
    (found,) = status.attentions
    assert found.text == (
        "deletions of person have stopped at 2026-03-04 11:58 UTC: more than 500 within an hour, 41 in dead-letters"
    )
    assert found.remedy == "msisync lifecycle release person"
    assert status.exit is Exit.ATTENTION
    assert as_json(status)["delete_brakes"] == {"person": status.brakes["person"]}


def test_circuits_and_the_budget_say_when_they_open_again(status: Status) -> None:
    assert status.budget
    status.circuits["company"] = Outage(NOON - timedelta(minutes=9), NOON + timedelta(minutes=1), "marketo 503: away")
    opens = (NOON + timedelta(hours=17)).timestamp()
    closed = Closed(until=opens, since=NOON.timestamp(), code="DayShareSpent", reason="this app's share is used up")
    status.budget = replace(status.budget, closed=closed)
    assert status.exit == Exit.ATTENTION
    text = " ".join(text_of(status).split())
    assert "no calls for company since 2026-03-04 11:51 UTC (marketo 503: away)" in text
    assert "tried again automatically at 2026-03-04 12:01 UTC" in text
    assert "(this app's share is used up): continues automatically at 2026-03-05 05:00 UTC" in text


def test_what_could_not_be_looked_at_is_worse_than_what_needs_attention(status: Status) -> None:
    status.unseen[STATE] = "storage does not answer"
    status.unseen[PARKED] = "storage does not answer"
    status.budget = None
    status.dead_letters.waiting = 1
    assert status.exit == Exit.FAILED
    text = text_of(status)
    assert row(text, "persons")[4:] == ["?", "?", "?", "?", "-"]
    assert "Marketo's day" not in text


def test_parked_records_are_told_by_their_parents(status: Status) -> None:
    status.entities["person"].parked = ParkedCount({"company": 1200, "sales_person": 3}, NOON - timedelta(hours=3))
    status.parked_more = True
    text = text_of(status)
    assert "1,200 of person wait for company" in text
    assert "3 of person wait for sales_person" in text
    assert "the oldest waits for 3 h" in text
    assert "more than 100,000" in text


def test_records_without_a_link_are_told_apart_from_those_that_wait(status: Status) -> None:
    status.entities["person"].parked = ParkedCount(linked_later={"company": 3})
    text = text_of(status)
    assert "3 of person are in Marketo without a link to their company, until it comes" in text
    assert "waits for" not in text
    assert as_json(status)["entities"]["person"]["parked"]["linked_later"] == {"company": 3}


def test_the_last_error_is_short_and_names_its_record(status: Status) -> None:
    status.entities["person"].last_error = {
        "code": "1003", "message": "[bold]too long " * 40, "at": "2026-03-04T10:00:00.000Z",
        "table": "contact", "id": ID, "final": True,
    }  # fmt: skip
    flat = " ".join(text_of(status, 400).split())
    assert "person, 2 h ago, dead letter: 1003 [bold]too long" in flat
    assert f"… (contact {ID})" in flat


def test_large_numbers_fit_into_80_columns(status: Status) -> None:
    for entity in status.entities.values():
        entity.queue.waiting, entity.queue.scheduled, entity.queue.dead = 12_345, 1234, 1234
        entity.last_hour, entity.last_day = {"synced": 34_567, "retried": 999}, {"synced": 345_678}
        entity.parked = ParkedCount({"company": 99_999})
        entity.queue.oldest = NOON - timedelta(hours=47)
    table = text_of(status).partition("Parked")[0]
    assert max(len(line) for line in table.splitlines()) <= 80
    assert "345,678" in table
    assert "99,999" in table


def test_numbers_that_would_not_fit_are_rounded_and_never_cut(status: Status) -> None:
    status.entities["opportunity_role"].queue.name = "opportunity-roles"
    for entity in status.entities.values():
        entity.queue.waiting, entity.queue.scheduled, entity.queue.dead = 123_456, 12_345, 99_999
        entity.last_hour, entity.last_day = {"synced": 999_999, "retried": 9_999}, {"synced": 12_345_678}
        entity.parked = ParkedCount({"company": 99_999})
        entity.queue.oldest = NOON - timedelta(minutes=119)
    table = text_of(status).partition("Parked")[0]
    assert max(len(line) for line in table.splitlines()) <= 80
    assert "…" not in table
    cells = ["123k", "12k", "119", "min", "999k", "12.3M", "99k", "9,999", "99k"]
    assert row(table, "opportunity-roles") == ["opportunity-roles", *cells]


def test_the_json_is_json(status: Status) -> None:
    status.entities["person"].parked = ParkedCount({"company": 2}, NOON)
    status.circuits["company"] = Outage(NOON, NOON, "away")
    found = json.loads(json.dumps(as_json(status)))
    assert found["entities"]["person"]["parked"] == {
        "count": 2, "by_parent": {"company": 2}, "oldest": "2026-03-04T12:00:00.000Z", "linked_later": {},
    }  # fmt: skip
    assert found["budget"]["used_today"] == 1234
    assert found["circuits"]["company"]["reason"] == "away"
    assert list(found["entities"]) == list(ENTITIES)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (59, "59 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_ages(seconds: int, text: str) -> None:
    assert age(timedelta(seconds=seconds)) == text


def test_the_oldest_change_of_a_message() -> None:
    old = NOON - timedelta(hours=1)
    records = [Record("contact", ID, NOON), Record("lead", ID, old)]
    assert first_seen(Message(1, encode("person", records), NOON), "person") == old
    assert first_seen(Message(1, b"no record", NOON), "person") == NOON
    assert first_seen(Message(1, b"{}", NOON), "") == NOON
    again = Message(1, b"{}", NOON, properties={"first_seen": "2026-03-04T11:00:00.000Z"})
    assert first_seen(again, "") == old


# -- watching ---------------------------------------------------------------------------------------------------


async def watched(monkeypatch: pytest.MonkeyPatch, status: Status, looks: int) -> tuple[Result, str]:
    """Watch until the keyboard stops it in the given look."""
    seen = 0
    screen = io.StringIO()

    async def look(_: Any) -> Status:
        nonlocal seen
        seen += 1
        if seen == looks:
            task.cancel()
            await asyncio.sleep(60)
        return status

    given = parser((COMMAND,)).parse_args(["status", "--watch", "1"])
    given.watch = 0.001
    monkeypatch.setattr(command, "look", look)
    monkeypatch.setattr(watch, "Console", lambda **_: Console(file=screen, width=80))
    context: Any = SimpleNamespace(settings=SimpleNamespace(marketo=MARKETO))
    run: Any = COMMAND.run(context, given, Console(quiet=True))
    task: asyncio.Task[Result] = asyncio.create_task(run)
    return await task, screen.getvalue()


async def test_it_watches_until_the_keyboard_stops_it(monkeypatch: pytest.MonkeyPatch, status: Status) -> None:
    status.dead_letters.waiting = 1
    result, text = await watched(monkeypatch, status, 4)
    assert text.count("2026-03-04 12:00:00 UTC") == 3
    assert (result.exit, result.data["dead_letters"]["total"]) == (Exit.ATTENTION, 1)
    assert shown(result) == ""


async def test_it_can_be_stopped_before_it_has_seen_anything(monkeypatch: pytest.MonkeyPatch, status: Status) -> None:
    result, text = await watched(monkeypatch, status, 1)
    assert (result.exit, result.data, text) == (Exit.OK, {}, "")


@pytest.mark.parametrize("words", [["--watch", "0"], ["--watch", "often"], ["--watch", "-3"], ["--watch", "nan"]])
def test_how_often_it_looks_must_make_sense(words: list[str]) -> None:
    with pytest.raises(UsageError) as stopped:
        parser((COMMAND,)).parse_args(["status", *words])
    assert stopped.value.code == 64
    assert "--watch" in stopped.value.message


async def test_watching_is_for_people() -> None:
    context: Any = None
    given = parser((COMMAND,)).parse_args(["status", "--watch", "--json"])
    with pytest.raises(UsageError) as stopped:
        await COMMAND.run(context, given, Console(quiet=True))
    assert stopped.value.code == 64
    assert "--json" in stopped.value.message


def test_rows_that_change_again_and_again_are_named(status: Status) -> None:
    status.entities["person"].hottest = {("contact", "c-1"): 412, ("lead", "l-1"): 3}
    text = text_of(status)
    assert "contact c-1: changed again at once some 412 times" in text
    assert "l-1" not in text, "a few edits are no storm"
    assert as_json(status)["entities"]["person"]["hottest"][0] == {"table": "contact", "id": "c-1", "changes": 412}
