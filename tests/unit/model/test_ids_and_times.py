"""The values inside a notification: identifiers, dates, dictionaries."""

from datetime import UTC, datetime

import pytest

from shared.dataverse.dotnet_json import keys, lookup
from shared.model.ids_and_times import guid, moment

ID = "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d"


@pytest.mark.parametrize(
    "value",
    [ID, ID.upper(), f"{{{ID}}}", f" {{{ID.upper()}}} ", {"__type": "Guid:#System", "__value": ID}],
)
def test_an_identifier_is_lower_case_without_braces(value: object) -> None:
    assert guid(value) == ID


@pytest.mark.parametrize(
    "value",
    [
        None, "", "00000000-0000-0000-0000-000000000000", "{" + "0" * 8 + "-0000" * 3 + "-" + "0" * 12 + "}",
        {"__value": None},
    ],
)  # fmt: skip
def test_null_empty_and_zeros_are_no_identifier(value: object) -> None:
    assert guid(value) is None


@pytest.mark.parametrize(
    "value", ["x", "{}", ID[:-1], ID + "0", ID + "\n\n" + ID, 0, [ID], {}, {"Id": ID}, "\uff12" + ID[1:], True]
)
def test_anything_else_is_malformed(value: object) -> None:
    with pytest.raises(ValueError, match="not a GUID"):
        guid(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/Date(1722582039000)/", datetime(2024, 8, 2, 7, 0, 39, tzinfo=UTC)),
        ("/Date(1722582039123+0000)/", datetime(2024, 8, 2, 7, 0, 39, 123_000, tzinfo=UTC)),
        ("/Date(1722582039000-0700)/", datetime(2024, 8, 2, 7, 0, 39, tzinfo=UTC)),
        ("/Date(-2208988800000)/", datetime(1900, 1, 1, tzinfo=UTC)),
        ("2024-08-02T07:00:39Z", datetime(2024, 8, 2, 7, 0, 39, tzinfo=UTC)),
        ("2024-08-02T09:00:39.1234567+02:00", datetime(2024, 8, 2, 7, 0, 39, 123_456, tzinfo=UTC)),
        ("2024-08-02T07:00:39", datetime(2024, 8, 2, 7, 0, 39, tzinfo=UTC)),
        (
            {"__type": "DateTime:#System", "__value": "/Date(1722582039000)/"},
            datetime(2024, 8, 2, 7, 0, 39, tzinfo=UTC),
        ),
    ],
)
def test_every_form_of_a_date_is_read_as_utc(value: object, expected: datetime) -> None:
    found = moment(value)
    assert found == expected
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        None, "", "yesterday", "/Date()/", "/Date(1.5)/", "/Date(999999999999999999)/", "/Date(-999999999999999999)/",
        "/Date(1722582039000)/ x", "0001-01-01T00:00:00+14:00", 1722582039000, [], {},
    ],
)  # fmt: skip
def test_what_is_no_date_is_none(value: object) -> None:
    assert moment(value) is None


def test_a_dictionary_is_read_in_both_of_its_forms() -> None:
    pairs = [17, {"key": [], "value": 1}, {"key": "Target", "value": 2}, {"key": "Target", "value": 3}]
    assert lookup(pairs, "Target") == 2
    assert lookup({"Target": 2}, "Target") == 2


@pytest.mark.parametrize("pairs", [[], {}, None, "Target", 5, [{"key": "Target"}], ["Target"]])
def test_what_a_dictionary_does_not_hold_is_none(pairs: object) -> None:
    assert lookup(pairs, "Target") is None


def test_keys_are_lower_case() -> None:
    assert keys([{"key": "A", "value": 1}, {"key": "b"}]) == frozenset({"a", "b"})
    assert keys({"A": 1}) == frozenset({"a"})


@pytest.mark.parametrize("pairs", [None, [], {}, 5, "ab", ["a"], [{"key": 1}], [{}], [{"key": "a"}, {"key": []}]])
def test_keys_are_all_known_or_none(pairs: object) -> None:
    assert keys(pairs) is None
