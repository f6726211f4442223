"""What the doctor makes of the app's notes: rows that nobody could see, and the brake on deletions."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.cli.doctor.notes import MOST, RECENT, brakes, hidden
from shared.cli.finding import Severity
from shared.config.sync_toml import LifecyclePolicy
from shared.model.record import timestamp
from shared.sync.reference_state import ReferenceState
from tests.support.state import SharedState

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
ID = "5cbf1a44-37f5-ee11-a1fd-000d3a2f6c01"


def note(age: timedelta) -> dict[str, Any]:
    return {"rows": 2, "first": ID, "at": timestamp(NOW - age)}


def test_hidden_users_are_told_with_an_example_and_what_to_do() -> None:
    found = hidden({"systemusers": note(timedelta(minutes=5)), "teams": note(RECENT)}, NOW)
    assert found.severity is Severity.ATTENTION
    (line,) = found.details
    assert ID in line
    assert "keep the owner" in line
    assert "Read" in found.remedy
    assert "synced again within a quarter of an hour" in found.remedy


def test_hidden_rows_that_are_dead_letters_are_counted_by_table() -> None:
    found = hidden({}, NOW, {"account": 3})
    assert found.severity is Severity.ATTENTION
    assert found.details == ("account: 3 not synced (RowHidden); what refers to them goes without the link",)
    assert hidden({}, NOW, {"account": MOST}).details[0].startswith("account: 1000 or more")


@pytest.mark.parametrize("rows", [{}, {"teams": note(RECENT)}, {"teams": {}}, {"teams": {"at": "x"}}])
def test_nothing_recent_is_no_finding(rows: dict[str, Any]) -> None:
    assert hidden(rows, NOW).severity is Severity.OK


async def test_the_app_notes_what_it_cannot_see_and_goes_on_without_storage() -> None:
    state: Any = SharedState()
    await ReferenceState(state).hidden("systemusers", [ID])
    row = state.stored["hidden", "systemusers"]
    assert (row["rows"], row["first"]) == (1, ID)
    state.storage_away = True
    await ReferenceState(state).hidden("teams", [ID])
    assert len(state.stored) == 1


ON = {"on": "2026-03-04T11:58:00.000Z", "limit": 500, "stopped": 41}


def test_a_brake_that_is_on_needs_an_operator() -> None:
    found = brakes({"person": ON, "company": {"slots": {}}}, LifecyclePolicy())
    assert (found.severity, found.text) == (Severity.ATTENTION, "the brake is on: person")
    assert found.remedy.endswith("then msisync lifecycle release person")
    assert "41 in dead-letters" in found.details[0]


def test_without_a_brake_it_says_what_is_done_with_each_entity() -> None:
    found = brakes({}, LifecyclePolicy(person="delete"))
    assert found.severity is Severity.OK
    assert "person delete, opportunity delete" in found.text
