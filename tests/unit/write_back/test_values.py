"""A Marketo value as a column takes it, and whether the column has it already."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.write_back.values import Target, column_value, differs

STARS = Target("relativeScoring", "stars", "Picklist", choices={"none": 0, "one star": 1, "two stars": 2, "3": 30})
KINDS = ["Integer", "BigInt", "Decimal", "Double", "Money", "Date", "Day", "DateTime", "Picklist", "Boolean"]
moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  (hypothesis)
anything = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.floats(allow_nan=True), st.text(max_size=40),
    moments.map(lambda moment: moment.isoformat()),
)  # fmt: skip


def target(kind: str, length: int | None = None) -> Target:
    return Target("field", "column", kind, length)


@pytest.mark.parametrize(
    ("kind", "given_value", "expected"),
    [
        ("String", "Web", "Web"), ("String", "", None), ("String", None, None),
        ("String", "two\nlines  ", "two\nlines"), ("String", "a\x00b\x1fc", "abc"), ("String", 3, "3"),
        ("String", 3.0, "3"), ("Memo", True, "true"), ("Integer", 3, 3), ("Integer", "3", 3), ("Integer", 2.5, 3),
        ("Decimal", "2.25", 2.25), ("DateTime", "2026-03-04T10:00:00Z", "2026-03-04T10:00:00Z"),
        ("DateTime", "2026-03-04T10:00:00.750+0100", "2026-03-04T09:00:00Z"),
        ("DateTime", "2026-03-04", "2026-03-04T00:00:00Z"), ("Date", "2026-03-04T23:30:00-0600", "2026-03-05"),
        ("Day", "2026-03-04T10:00:00Z", "2026-03-04T00:00:00Z"), ("Boolean", "true", True), ("Boolean", 0, False),
    ],
)  # fmt: skip
def test_a_value_takes_the_form_of_its_column(kind: str, given_value: Any, expected: Any) -> None:
    assert column_value(given_value, target(kind)) == expected


@pytest.mark.parametrize(("given_value", "expected"), [("One Star", 1), (2, 2), ("2", 2), (0, 0), ("3", 30), (30, 30)])
def test_a_choice_is_found_by_its_label_and_then_by_its_value(given_value: Any, expected: int) -> None:
    assert column_value(given_value, STARS) == expected


@pytest.mark.parametrize(
    ("column", "given_value"),
    [
        (target("Integer"), "many"), (target("Integer"), math.inf), (target("DateTime"), "soon"),
        (target("DateTime"), 3), (target("Boolean"), "perhaps"), (STARS, "four stars"), (STARS, 4), (STARS, 1.5),
    ],
)  # fmt: skip
def test_what_the_column_cannot_hold_is_said(column: Target, given_value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        column_value(given_value, column)


@given(st.text(), st.integers(1, 20))
def test_text_never_exceeds_the_column_and_is_never_broken_within_a_character(text: str, length: int) -> None:
    written = column_value(text, target("String", length))
    if written is not None:
        assert len(written.encode("utf-16-le")) // 2 <= length
        assert text.translate({n: None for n in range(32) if n not in (9, 10, 13)}).startswith(written[:1])


def test_an_emoji_that_does_not_fit_is_left_out_whole() -> None:
    assert column_value("ab😀", target("String", 3)) == "ab"
    assert column_value("ab😀", target("String", 4)) == "ab😀"


@given(st.sampled_from(["String", "Memo", *KINDS]), anything)
def test_whatever_marketo_gives_is_a_value_or_a_plain_refusal_and_settles(kind: str, value: Any) -> None:
    """What was written once is not written again."""
    try:
        written = column_value(value, target(kind))
    except ValueError:
        return
    assert not differs(written, written, target(kind))
    assert differs(written, None, target(kind)) == (written is not None)


@pytest.mark.parametrize(
    ("kind", "wanted", "present"),
    [
        ("String", "Web", "Web "), ("Memo", "a\nb", "a\r\nb"), ("String", None, ""), ("Integer", 3, 3.0),
        ("Decimal", 3.14159, 3.14), ("Money", 2.0, 2),
        ("DateTime", "2026-03-04T10:00:00Z", "2026-03-04T10:00:00.0000000Z"),
        ("DateTime", "2026-03-04T10:00:00Z", "2026-03-04T11:00:00+01:00"),
        ("Day", "2026-03-04T00:00:00Z", "2026-03-03T23:00:00Z"), ("Boolean", True, True),
    ],
)  # fmt: skip
def test_another_form_of_the_same_value_is_no_difference(kind: str, wanted: Any, present: Any) -> None:
    assert not differs(wanted, present, target(kind))


@pytest.mark.parametrize(
    ("kind", "wanted", "present"),
    [
        ("String", "web", "Web"), ("String", "a", None), ("String", None, "a"), ("Integer", 0, None),
        ("Integer", 0, 1), ("Decimal", 3.4, 3), ("DateTime", "2026-03-04T10:00:00Z", "2026-03-04T10:00:01Z"),
        ("DateTime", "2026-03-04T10:00:00Z", "never"), ("Day", "2026-03-04T00:00:00Z", "2026-03-05T00:00:00Z"),
        ("Date", "2026-03-04", "2026-03-05"), ("Boolean", False, True),
    ],
)  # fmt: skip
def test_another_value_is_a_difference(kind: str, wanted: Any, present: Any) -> None:
    assert differs(wanted, present, target(kind))


@given(moments, st.integers(-86_400, 86_400))
def test_moments_are_compared_to_the_second_whatever_their_zone(moment: datetime, apart: int) -> None:
    written = column_value(moment.isoformat(), target("DateTime"))
    other = (datetime.fromisoformat(written) + timedelta(seconds=apart)).isoformat()
    assert differs(written, other, target("DateTime")) == (apart != 0)
