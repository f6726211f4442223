"""The table of conversions: every pair of types, whatever the value, gives what Marketo takes or a reason."""

import math
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.marketo.fields import DATA_TYPES, Field, Strictness, coercion
from shared.config.sync_toml import TableConfig
from shared.dataverse.metadata import Column
from shared.marketo.fields import MarketoField
from shared.sync.conversions import TABLE, Source, convert, source_of, target_of
from shared.sync.converters import Family, Policy, UnfitError
from shared.sync.mapping import Mapped, compile_table

PLAIN = Policy()
STRICT = Strictness(truncate=False, url_needs_protocol=True)


def column(name: str, kind: str, **more: Any) -> Column:
    return Column(name, kind, readable=True, **more)


COLUMNS = {
    Source.TEXT: column("c", "String"),
    Source.WHOLE: column("c", "Integer"),
    Source.DECIMAL: column("c", "Decimal"),
    Source.YES_NO: column("c", "Boolean"),
    Source.CHOICE: column("c", "Picklist"),
    Source.CHOICES: column("c", "Virtual", type_name="MultiSelectPicklistType"),
    Source.MOMENT: column("c", "DateTime", behavior="UserLocal", format="DateAndTime"),
    Source.DAY: column("c", "DateTime", behavior="DateOnly", format="DateOnly"),
    Source.LOCAL_DAY: column("c", "DateTime", behavior="UserLocal", format="DateOnly"),
    Source.CLOCK: column("c", "DateTime", behavior="TimeZoneIndependent", format="DateAndTime"),
    Source.CLOCK_DAY: column("c", "DateTime", behavior="TimeZoneIndependent", format="DateOnly"),
    Source.ID: column("c", "Uniqueidentifier"),
    Source.OTHER: column("c", "Virtual", type_name="FileType"),
}


def one(
    source: Source, value: Any, field: MarketoField, *, name: str = "x", policy: Policy = PLAIN, **rule: Any
) -> Mapped:
    """What a field becomes that is fed from one column of this type."""
    fields = TableConfig.model_validate({"fields": {name: {"column": "c", **rule}}}).fields
    compiled = compile_table(fields, {name: field}, columns={"c": COLUMNS[source]}, policy=policy)
    return compiled.map({"c": value}, {"c": {1: "Red", 2: "Blue", 3: "No"}})


def sent(source: Source, value: Any, data_type: str, **more: Any) -> Any:
    mapped = one(source, value, MarketoField(data_type, more.pop("length", None)), **more)
    assert mapped.left_out == []
    return mapped.record["x"]


def left_out(source: Source, value: Any, data_type: str, **more: Any) -> str:
    mapped = one(source, value, MarketoField(data_type, more.pop("length", None)), **more)
    assert mapped.record == {}
    (reason,) = mapped.left_out
    assert reason.reason
    assert len(str(value)) < 4 or str(value) not in f"{reason.reason} {reason.value_class}"
    return reason.code


def test_every_column_type_is_known_and_every_pair_is_in_the_table() -> None:
    for source, made in COLUMNS.items():
        assert source_of(made) is source
    assert TABLE.keys() == set(Source)
    assert all(row.keys() == set(Family) for row in TABLE.values())
    assert all(cell.note for row in TABLE.values() for cell in row.values() if cell.convert is None)


@pytest.mark.parametrize(
    ("source", "value", "data_type", "expected"),
    [
        (Source.YES_NO, True, "integer", 1),
        (Source.YES_NO, False, "score", 0),
        (Source.YES_NO, True, "float", 1.0),
        (Source.YES_NO, False, "string", "false"),
        (Source.YES_NO, True, "boolean", True),
        (Source.WHOLE, 7, "string", "7"),
        (Source.WHOLE, 7, "currency", 7),
        (Source.WHOLE, 0, "boolean", False),
        (Source.WHOLE, 2**31 - 1, "integer", 2**31 - 1),
        (Source.WHOLE, -(2**31), "integer", -(2**31)),
        (Source.DECIMAL, 0.1234567891, "string", "0.1234567891"),
        (Source.DECIMAL, 1e-10, "string", "0.0000000001"),
        (Source.DECIMAL, 1234567.0, "string", "1234567"),
        (Source.DECIMAL, 1e22, "string", "1" + 22 * "0"),
        (Source.DECIMAL, 0.1234567891, "float", 0.1234567891),
        (Source.DECIMAL, 2.5, "integer", 3),
        (Source.DECIMAL, -0.5, "integer", -1),
        (Source.DECIMAL, 1604.47, "currency", 1604.47),
        (Source.DECIMAL, Decimal("5.10"), "text", "5.1"),
        (Source.CHOICE, 3, "integer", 3),
        (Source.CHOICE, 3, "string", "3"),
        (Source.CHOICES, "1,3", "string", "1,3"),
        (Source.ID, "7a14b3c2", "string", "7a14b3c2"),
        (Source.TEXT, " 12 ", "integer", 12),
        (Source.TEXT, "-1.50", "float", -1.5),
        (Source.TEXT, "2025-03-04", "date", "2025-03-04"),
        (Source.TEXT, "www.x.example ", "url", "https://www.x.example"),
        (Source.TEXT, "host:8080/path", "url", "https://host:8080/path"),
        (Source.TEXT, "x.example:443", "url", "https://x.example:443"),
        (Source.TEXT, "x.example/?to=http://y.example", "url", "https://x.example/?to=http://y.example"),
        (Source.TEXT, "//x.example/a", "url", "https://x.example/a"),
        (Source.TEXT, "HTTP://x.example", "url", "HTTP://x.example"),
        (Source.TEXT, "\u202d+49 1\u202c", "phone", "+49 1"),
    ],
)
def test_a_value_is_converted(source: Source, value: Any, data_type: str, expected: Any) -> None:
    found = sent(source, value, data_type)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("source", "value", "data_type", "code"),
    [
        (Source.WHOLE, 2**31, "integer", "OutOfRange"), (Source.DECIMAL, 2147483647.5, "percent", "OutOfRange"),
        (Source.DECIMAL, math.nan, "float", "NotANumber"), (Source.DECIMAL, math.inf, "string", "NotANumber"),
        (Source.DECIMAL, -math.inf, "integer", "NotANumber"), (Source.WHOLE, 10**400, "currency", "OutOfRange"),
        (Source.WHOLE, 2, "boolean", "NotYesOrNo"), (Source.CHOICE, 1, "boolean", "NotAllowed"),
        (Source.TEXT, "12 pieces", "integer", "NotANumber"), (Source.TEXT, "12,5", "float", "NotANumber"),
        (Source.TEXT, "soon", "date", "NotADate"), (Source.TEXT, "4.3.2025", "datetime", "NotADate"),
        (Source.TEXT, "maybe", "boolean", "NotYesOrNo"), (Source.TEXT, "li.x.example", "email", "NotAnAddress"),
        (Source.TEXT, "a@x.example; b@x.example", "email", "NotAnAddress"),
        (Source.TEXT, "li@x", "email", "NotAnAddress"), (Source.TEXT, "l\u00ef@x.example", "email", "NotAnAddress"),
        (Source.TEXT, "javascript:alert(1)", "url", "NotAWebAddress"),
        (Source.TEXT, "JavaScript:x", "url", "NotAWebAddress"),
        (Source.TEXT, "java\u200bscript:x", "url", "NotAWebAddress"),
        (Source.TEXT, "mailto:li@x.example", "url", "NotAWebAddress"),
        (Source.TEXT, "tel:12345", "url", "NotAWebAddress"),
        (Source.TEXT, "ftp://x.example", "url", "NotAWebAddress"), (Source.TEXT, "https://", "url", "NotAWebAddress"),
        (Source.TEXT, "http:x", "url", "NotAWebAddress"),
        (Source.MOMENT, "2025-02-30T10:00:00Z", "datetime", "NotADate"),
        (Source.DAY, "12025-01-01", "date", "NotADate"),
        (Source.MOMENT, "0001-01-01T00:00:00+09:00", "datetime", "NotADate"),
        (Source.DAY, "2025-02-30", "date", "NotADate"), (Source.DAY, "2025-03-04", "integer", "NotAllowed"),
        (Source.YES_NO, True, "date", "NotAllowed"), (Source.ID, "7a14b3c2", "boolean", "NotAllowed"),
        (Source.OTHER, {"a": 1}, "string", "NotAllowed"), (Source.TEXT, ["a"], "text", "NotAllowed"),
        (Source.TEXT, {"Value": 1}, "integer", "NotAllowed"),
    ],
)  # fmt: skip
def test_what_marketo_would_refuse_is_left_out(source: Source, value: Any, data_type: str, code: str) -> None:
    assert left_out(source, value, data_type) == code


@pytest.mark.parametrize(
    ("source", "data_type", "value"),
    [
        (Source.TEXT, "url", "https://" + "x" * 30), (Source.TEXT, "phone", "1" * 21),
        (Source.TEXT, "email", "a" * 20 + "@x.example"), (Source.WHOLE, "string", 10**20),
        (Source.ID, "string", "7a14b3c2" * 4), (Source.MOMENT, "string", "2025-03-04T10:00:00.0000Z"),
    ],
)  # fmt: skip
def test_what_means_something_else_when_cut_is_left_out(source: Source, data_type: str, value: Any) -> None:
    assert left_out(source, value, data_type, length=20) == "TooLong"


def test_text_and_labels_are_cut_and_labels_as_a_whole() -> None:
    assert sent(Source.TEXT, "x" * 300, "string") == "x" * 255
    assert sent(Source.TEXT, "\u20ac" * 10_001, "text") == "\u20ac" * 10_000
    assert sent(Source.CHOICES, "1,2", "string", length=7, convert="label") == "Red"
    assert sent(Source.CHOICES, "1,2", "string", convert="label") == "Red;Blue"


@pytest.mark.parametrize(
    "given", ["Li Wang <li@x.example>", "<li@x.example>", "mailto:li@x.example", "li@x.example;", " li@x.example\u00a0"]
)
def test_one_address_is_taken_out_of_what_is_around_it(given: str) -> None:
    assert sent(Source.TEXT, given, "email") == "li@x.example"
    sales_person = one(Source.TEXT, given, MarketoField("string", 255), name="email")
    assert sales_person.record == {"email": "li@x.example"}


def test_a_sales_persons_address_is_for_marketo_to_judge() -> None:
    assert one(Source.TEXT, "li at x", MarketoField("string", 255), name="email").record == {"email": "li at x"}


@pytest.mark.parametrize(
    ("source", "value", "day", "moment"),
    [
        (Source.DAY, "1980-05-17", "1980-05-17", "1980-05-17T00:00:00Z"),
        (Source.CLOCK_DAY, "1980-05-17T00:00:00Z", "1980-05-17", "1980-05-17T00:00:00Z"),
        (Source.CLOCK, "1980-05-17T23:30:00Z", "1980-05-17", "1980-05-17T23:30:00Z"),
        (Source.LOCAL_DAY, "1980-05-16T22:00:00Z", "1980-05-17", "1980-05-16T22:00:00Z"),
        (Source.LOCAL_DAY, "1980-05-17T05:00:00Z", "1980-05-17", "1980-05-17T05:00:00Z"),
        (Source.LOCAL_DAY, "1980-05-16T11:00:00Z", "1980-05-17", "1980-05-16T11:00:00Z"),
        (Source.LOCAL_DAY, "1980-05-17T10:00:00Z", "1980-05-17", "1980-05-17T10:00:00Z"),
        (Source.LOCAL_DAY, "1980-05-16T18:15:00Z", "1980-05-17", "1980-05-16T18:15:00Z"),
        (Source.LOCAL_DAY, "1980-05-17T17:23:45Z", "1980-05-17", "1980-05-17T17:23:45Z"),
        (Source.MOMENT, "1980-05-16T22:00:00Z", "1980-05-16", "1980-05-16T22:00:00Z"),
        (Source.MOMENT, "1980-05-16T22:00:00.1234567+02:00", "1980-05-16", "1980-05-16T20:00:00Z"),
    ],
)
def test_days_and_moments_follow_their_column(source: Source, value: str, day: str, moment: str) -> None:
    assert sent(source, value, "date") == day
    assert sent(source, value, "datetime") == moment


def test_the_day_of_a_moment_is_that_of_the_time_zone_of_sync_toml() -> None:
    berlin = Policy(time_zone="Europe/Berlin")
    assert sent(Source.MOMENT, "1980-05-16T22:30:00Z", "date", policy=berlin) == "1980-05-17"
    assert sent(Source.CLOCK, "1980-05-16T23:30:00Z", "date", policy=berlin) == "1980-05-16"


@pytest.mark.parametrize(
    ("value", "language", "expected"),
    [
        ("Nein", 1031, False), ("Do Not Send", 1033, False), (" yes\u00a0", 1033, True),
    ],
)  # fmt: skip
def test_words_become_yes_or_no(value: str, language: int, expected: bool) -> None:
    assert sent(Source.TEXT, value, "boolean", policy=Policy(language=language)) is expected


def test_a_label_becomes_yes_or_no_or_is_seen() -> None:
    assert sent(Source.CHOICE, 3, "boolean", convert="label") is False
    assert left_out(Source.CHOICE, 1, "boolean", convert="label") == "NotYesOrNo"
    assert left_out(Source.CHOICE, 99, "boolean", convert="label") == "UnknownLabel"


@pytest.mark.parametrize("field", ["doNotCall", "unsubscribed", "marketingSuspended", "emailOptOut", "noSms"])
def test_do_not_send_never_answers_a_field_that_asks_for_it(field: str) -> None:
    mapped = one(Source.TEXT, "Do Not Send", MarketoField("boolean"), name=field)
    assert mapped.record == {}
    assert mapped.left_out[0].code == "NotYesOrNo"


@pytest.mark.parametrize("data_type", sorted(DATA_TYPES))
@pytest.mark.parametrize("value", [None, "", "  ", "\u00a0\t", "\u200b", "\U0001f600"])
def test_what_becomes_empty_is_empty(data_type: str, value: Any) -> None:
    assert one(Source.TEXT, value, MarketoField(data_type)) == ({"x": None}, [])


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**80), 10**80),
    st.floats(),
    st.text(max_size=300),
    st.decimals(),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.dates().map(str),
    st.emails(),
    st.sampled_from(
        ["1,2", "No", "yes", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "Li <li@x.example>", "NaN", "1e999"]
    ),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
policies = st.builds(
    Policy,
    language=st.sampled_from([1033, 1031, 1041]),
    beyond_bmp=st.sampled_from(["drop", "replace", "keep"]),
    time_zone=st.sampled_from(["UTC", "Pacific/Kiritimati", "America/Los_Angeles"]),
)


@given(
    st.sampled_from(sorted(COLUMNS)),
    anything,
    st.sampled_from(sorted(DATA_TYPES)),
    st.one_of(st.none(), st.integers(1, 300)),
    st.tuples(
        policies,
        st.sampled_from([{}, {"convert": "label"}, {"convert": "is", "values": [1]}, {"convert": "true_only"}]),
    ),
)
def test_whatever_a_row_holds_marketo_takes_it_or_it_is_left_out(
    source: Source, value: Any, data_type: str, length: int | None, how: tuple[Policy, dict[str, Any]]
) -> None:
    policy, rule = how
    mapped = one(source, value, MarketoField(data_type, length), policy=policy, **rule)
    accepts: Callable[[Any], Any] = coercion(Field("x", data_type, length), STRICT)
    if "x" in mapped.record:
        assert mapped.left_out == []
        if mapped.record["x"] is not None:
            accepts(mapped.record["x"])
    else:
        assert rule.get("convert") == "true_only" or [entry.field for entry in mapped.left_out] == ["x"]


@given(st.sampled_from(sorted(Source)), anything, st.sampled_from(sorted(DATA_TYPES)))
def test_nothing_but_a_reason_comes_out_of_a_conversion_that_fails(source: Source, value: Any, data_type: str) -> None:
    with suppress(UnfitError):
        convert(source, value, target_of("x", MarketoField(data_type), Policy()))
