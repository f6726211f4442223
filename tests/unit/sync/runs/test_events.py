"""What is told of runs: each event in the log and as a metric, the ends also to the operator's address."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from shared.sync.runs import events
from shared.sync.runs.events import OF_AN_END, Event, Notifier, in_short, of_state, tell
from shared.sync.runs.model import Run, RunKind, RunState, Scope, new_run
from tests.support.values import NOON

URL = SecretStr("https://hook.example/s3cret")
TOTALS = {"lead": Counter({"created": 1_200, "failed:1003": 34})}
NUMBERS = {
    "contact": Counter({"created": 1000, "updated": 200, "skipped:Filtered": 30, "failed:1003": 1}),
    "account": Counter({"adopted": 4, "unchanged": 1, "failed:1029": 1, "parked": 3, "open": 2}),
}


@pytest.fixture
def run() -> Run:
    return new_run(RunKind.INITIAL_SYNC, Scope(("lead",)), NOON, unique="abcd")


@pytest.fixture
def posted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    async def notify(url: str, content: Mapping[str, Any]) -> bool:
        assert url == URL.get_secret_value()
        found.append(dict(content))
        return False

    monkeypatch.setattr(events, "notify", notify)
    return found


async def test_the_end_is_posted_with_the_numbers(run: Run, posted: list[dict[str, Any]]) -> None:
    ended = run.to(RunState.COMPLETE, NOON)
    await Notifier(URL).tell(Event.COMPLETE, ended, TOTALS)
    (message,) = posted
    assert message["text"] == f"msisync initial-sync {run.id} is complete. 1,200 in Marketo, 34 failed."
    assert message["tables"] == {"lead": {"created": 1_200, "failed:1003": 34}}
    assert (message["event"], message["ended"]) == ("complete", "2026-03-04T12:00:00.000Z")


async def test_why_a_run_has_failed_is_posted(run: Run, posted: list[dict[str, Any]]) -> None:
    await Notifier(URL).tell(Event.FAILED, run.to(RunState.FAILED, NOON, "sync.toml maps lead no longer"), TOTALS)
    assert "is failed: sync.toml maps lead no longer." in posted[0]["text"]


@pytest.mark.parametrize("event", [Event.STARTED, Event.IN_PROGRESS, Event.TABLE_COMPLETE, Event.RESUMED])
async def test_what_is_no_end_is_only_logged(
    run: Run, posted: list[dict[str, Any]], event: Event, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await Notifier(URL).tell(event, run, TOTALS)
    assert posted == []
    assert f"run event={event} kind=initial-sync run={run.id}" in caplog.text
    assert "lead: created 1200, failed:1003 34" in caplog.text


async def test_without_an_address_nothing_is_posted(run: Run, posted: list[dict[str, Any]]) -> None:
    await Notifier(SecretStr("")).tell(Event.COMPLETE, run, TOTALS)
    assert posted == []


def test_the_event_follows_from_the_state_and_from_what_was_told(run: Run) -> None:
    assert of_state(run) is Event.STARTED
    paused = run.to(RunState.PAUSED, NOON)
    assert of_state(paused) is Event.PAUSED
    assert of_state(replace(run, told=RunState.PAUSED)) is Event.RESUMED


def test_the_numbers_are_those_that_an_operator_asks_for_first() -> None:
    assert in_short(NUMBERS) == "1,205 in Marketo, 30 left out, 2 failed, 5 not done"
    assert in_short({"contact": Counter(created=3)}) == "3 in Marketo"
    assert in_short({"contact": Counter()}) == "no rows"


@pytest.mark.parametrize("event", list(Event))
async def test_only_the_end_of_a_run_is_counted_with_its_numbers(
    run: Run, event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[tuple[str, ...]] = []
    monkeypatch.setattr(events, "record", lambda _metric, _value, *attributes: counted.append(attributes))
    await tell(event, run, NUMBERS)
    assert counted == [("initial-sync", str(event), in_short(NUMBERS) if event in OF_AN_END else "")]
