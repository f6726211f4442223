"""What is told of runs: each event in the log and as a metric, the ends also to the operator's address."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from shared.sync.runs import events
from shared.sync.runs.events import Event, Notifier, of_state
from shared.sync.runs.model import Run, RunKind, RunState, Scope, new_run
from tests.support.values import NOON

URL = SecretStr("https://hook.example/s3cret")
TOTALS = {"lead": Counter({"created": 1_200, "failed:1003": 34})}


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
    assert message["text"] == f"msisync initial-sync {run.id} is complete. 1,200 of 1,234 rows are in Marketo."
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
