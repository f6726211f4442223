"""The doctor's check of rows that decide about others and that nobody could see."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.cli.doctor.hidden import MOST, RECENT, finding
from shared.cli.finding import Severity
from shared.model.record import timestamp
from shared.sync.reference_state import ReferenceState
from tests.support.state import SharedState

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
ID = "5cbf1a44-37f5-ee11-a1fd-000d3a2f6c01"


def note(age: timedelta) -> dict[str, Any]:
    return {"rows": 2, "first": ID, "at": timestamp(NOW - age)}


def test_hidden_users_are_told_with_an_example_and_what_to_do() -> None:
    found = finding({"systemusers": note(timedelta(minutes=5)), "teams": note(RECENT)}, NOW)
    assert found.severity is Severity.ATTENTION
    (line,) = found.details
    assert ID in line
    assert "keep the owner" in line
    assert "Read" in found.remedy
    assert "synced again within a quarter of an hour" in found.remedy


def test_hidden_rows_that_are_dead_letters_are_counted_by_table() -> None:
    found = finding({}, NOW, {"account": 3})
    assert found.severity is Severity.ATTENTION
    assert found.details == ("account: 3 not synced (RowHidden); what refers to them goes without the link",)
    assert finding({}, NOW, {"account": MOST}).details[0].startswith("account: 1000 or more")


@pytest.mark.parametrize("rows", [{}, {"teams": note(RECENT)}, {"teams": {}}, {"teams": {"at": "x"}}])
def test_nothing_recent_is_no_finding(rows: dict[str, Any]) -> None:
    assert finding(rows, NOW).severity is Severity.OK


async def test_the_app_notes_what_it_cannot_see_and_goes_on_without_storage() -> None:
    state: Any = SharedState()
    await ReferenceState(state).hidden("systemusers", [ID])
    row = state.stored["hidden", "systemusers"]
    assert (row["rows"], row["first"]) == (1, ID)
    state.storage_away = True
    await ReferenceState(state).hidden("teams", [ID])
    assert len(state.stored) == 1
