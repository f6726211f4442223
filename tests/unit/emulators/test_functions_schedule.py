from datetime import UTC, datetime

import pytest

from emulators.functions.schedule import Schedule


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("0 */5 * * * *", "2026-01-01T00:00:00", "2026-01-01T00:05:00"),
        ("0 */5 * * * *", "2026-01-01T00:04:59.9", "2026-01-01T00:05:00"),
        ("*/10 * * * * *", "2026-01-01T23:59:55", "2026-01-02T00:00:00"),
        ("30 0 9-17 * * mon-fri", "2026-01-02T17:00:30", "2026-01-05T09:00:30"),  # from a Friday to Monday
        ("0 0 0 1 jan *", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
        ("0 0 12 29 2 *", "2026-01-01T00:00:00", "2028-02-29T12:00:00"),
        ("0 0 0 13 * 5", "2026-01-01T00:00:00", "2026-02-13T00:00:00"),  # both day fields: a Friday the 13th
        ("0 5/20 * * * *", "2026-01-01T00:06:00", "2026-01-01T00:25:00"),
        ("0 0,30 1-3/2 * * *", "2026-01-01T01:30:00", "2026-01-01T03:00:00"),
        ("*/15 * * * *", "2026-01-01T00:00:01", "2026-01-01T00:15:00"),  # five fields: second 0
    ],
)
def test_next_occurrence(expression: str, after: str, expected: str) -> None:
    assert Schedule.parse(expression).next_after(moment(after)) == moment(expected)


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "60 * * * * *", "* * * 0 * *", "* * * * * 7", "* x * * * *", "*/0 * * * * *", "5-1 * * * * *"],
)
def test_nonsense_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"schedule|NCRONTAB"):
        Schedule.parse(expression)


def test_a_day_that_never_comes_is_said_so() -> None:
    with pytest.raises(ValueError, match="never comes"):
        Schedule.parse("0 0 0 30 2 *").next_after(moment("2026-01-01T00:00:00"))
