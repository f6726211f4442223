"""Retry-After in every form of RFC 9110, and in those that vendors and proxies make of it."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.transport.retry_after import LONGEST_SECONDS, retry_after

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
TOLD = {"date": format_datetime(NOW, usegmt=True)}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0), ("120", 120.0), (" 7 ", 7.0), ("7.5", 7.5), ("86400", LONGEST_SECONDS),
        ("9" * 18, LONGEST_SECONDS), ("9" * 40, LONGEST_SECONDS), ("Wed, 04 Mar 2026 12:00:30 GMT", 30.0),
        ("Wednesday, 04-Mar-26 12:00:30 GMT", 30.0), ("Wed Mar  4 12:00:30 2026", 30.0),
        ("Wed, 04 Mar 2026 14:00:30 +0200", 30.0), ("Wed, 04 Mar 2026 11:00:00 GMT", 0.0),
        ("Thu, 05 Mar 2026 12:00:00 GMT", LONGEST_SECONDS),
    ],
)  # fmt: skip
def test_every_form_of_the_rfc_is_read_and_bounded(text: str, seconds: float) -> None:
    assert retry_after({**TOLD, "retry-after": text}) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "1e3", "+7", "٣", "04 Mar", "Wed, 99 Mar 2026 12:00:30 GMT", "NaN", "inf"]
)
def test_what_is_no_time_says_nothing(text: str) -> None:
    assert retry_after({**TOLD, "retry-after": text}) is None
    assert retry_after(TOLD) is None


def test_a_date_counts_from_the_answers_own_date_whatever_this_machines_clock_says() -> None:
    header = {"retry-after": format_datetime(NOW + timedelta(seconds=45), usegmt=True)}
    assert retry_after({**TOLD, **header}, now=NOW + timedelta(days=1)) == 45.0
    assert retry_after(header, now=NOW + timedelta(seconds=15)) == 30.0
    assert retry_after({**header, "date": "yesterday"}, now=NOW) == 45.0


@given(st.text(max_size=40))
def test_no_text_breaks_it(text: str) -> None:
    found = retry_after({"retry-after": text, "date": text}, now=NOW)
    assert found is None or 0.0 <= found <= LONGEST_SECONDS


@given(st.integers(0, 3600), st.integers(-720, 720))
def test_a_date_in_any_zone_is_that_moment(seconds: int, minutes: int) -> None:
    zone = timezone(timedelta(minutes=minutes))
    text = format_datetime((NOW + timedelta(seconds=seconds)).astimezone(zone))
    assert retry_after({**TOLD, "retry-after": text}) == min(seconds, LONGEST_SECONDS)
