"""What Marketo has made of a value is that value; another value is not."""

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from emulators.marketo.instance import Call, Instance
from emulators.marketo.queries import query
from emulators.marketo.writes import upsert
from shared.marketo.fields import MarketoField
from shared.sync.conversions import Source, convert, target_of
from shared.sync.converters import Policy, UnfitError
from shared.sync.equality import same

TYPES = (
    *("string", "text", "email", "phone", "url", "integer", "score", "percent", "float", "currency"),
    *("boolean", "date", "datetime"),
)
LENGTH = 40
TEXTS = st.text(max_size=60) | st.sampled_from(
    ["ann@x.com", "Ann Lee <Ann@X.com>", "x.com/a", "https://x.com", "1604.47", "-3", "true", "no", "2025-03-04"]
)
#: Dataverse has no dates before this year.
DATES = st.datetimes(min_value=datetime(1753, 1, 1))  # noqa: DTZ001  (as hypothesis wants it)
MOMENTS = DATES.map(lambda moment: moment.isoformat() + "Z")
VALUES: dict[Source, st.SearchStrategy[Any]] = {
    Source.TEXT: TEXTS,
    Source.LABELS: st.lists(st.text(max_size=12), min_size=1, max_size=6).map(";".join),
    Source.WHOLE: st.integers(-(2**40), 2**40),
    Source.DECIMAL: st.floats() | st.decimals(places=4, min_value=-1e9, max_value=1e9),
    Source.YES_NO: st.booleans(),
    Source.CHOICE: st.integers(0, 900_000_000),
    Source.MOMENT: MOMENTS,
    Source.DAY: DATES.map(lambda moment: str(moment.date())),
    Source.LOCAL_DAY: MOMENTS,
    Source.CLOCK: DATES.map(datetime.isoformat),
    Source.ID: st.uuids().map(str),
}  # fmt: skip
POLICIES = st.builds(
    Policy, beyond_bmp=st.sampled_from(["drop", "replace", "keep"]), time_zone=st.sampled_from(["UTC", "Asia/Kolkata"])
)


async def stored(field: dict[str, Any], value: Any, **switches: Any) -> Any:
    """What the simulator gives back of a value that it was sent, if it took it; else the value again."""
    instance = Instance()
    latency = dict.fromkeys(("write_latency_ms", "write_latency_ms_per_record", "read_latency_ms"), 0)
    instance.switch({**latency, **switches, "custom_fields": {"leads": [field]}})
    body = json.loads(json.dumps({"input": [{"email": "key@x.com", field["name"]: value}]}))
    answer = await upsert(instance, "leads", Call("POST", "/rest/v1/leads.json", {}, body))
    assume(answer["result"][0]["status"] == "created")
    params = {"filterType": "email", "filterValues": "key@x.com", "fields": field["name"]}
    found = await query(instance, "leads", Call("GET", "/rest/v1/leads.json", params))
    return json.loads(json.dumps(found))["result"][0][field["name"]]


@settings(max_examples=400, deadline=None)
@given(
    data_type=st.sampled_from(TYPES),
    source=st.sampled_from(list(VALUES)),
    policy=POLICIES,
    cuts=st.booleans(),
    data=st.data(),
)
async def test_what_the_simulator_stores_is_equal(
    *, data_type: str, source: Source, policy: Policy, cuts: bool, data: st.DataObject
) -> None:
    """Of any column, in any field that the mapping may send it to. `cuts`: at a character beyond the basic plane."""
    length = LENGTH if data_type in ("string", "phone", "url", "email") else None
    try:
        sent = convert(source, data.draw(VALUES[source]), target_of("it", MarketoField(data_type, length), policy))
    except UnfitError:
        sent = None
    field = {"name": "it", "dataType": data_type, **({"length": length} if length else {})}
    assert same(sent, await stored(field, sent, beyond_basic_plane="cut" if cuts else "keep"))


@pytest.mark.parametrize(
    ("sent", "back"),
    [
        (None, ""), (None, None), (None, False), (False, None), (True, "true"), (7, 7.0), (7, "7"),
        (0.1, 0.10000000149),
        ("2025-03-04T05:06:07Z", "2025-03-04T05:06:07+0000"), ("2025-03-04T05:06:07Z", "2025-03-04T00:06:07-05:00"),
        ("2025-03-04T05:06:07Z", "2025-03-04T05:06:07.999Z"), ("2025-03-04T05:06:07Z", "2025-03-04 05:06:07"),
        ("2025-03-04", "2025-03-04T00:00:00Z"), ("a\nb", "a\r\nb"), ("a", " a "), ("e\u0301", "\u00e9"),
        ("a \U0001f600 b", "a"), ("\U0001f600", None), ("Ann@X.com", "ann@x.com"), ("14", 14),
        ("5a9b7e41-904d-ee11-be6f-000d3a4f1b2c", "{5A9B7E41-904D-EE11-BE6F-000D3A4F1B2C}"),
    ],
)  # fmt: skip
def test_another_form_of_the_same_value(sent: Any, back: Any) -> None:
    assert same(sent, back)


@pytest.mark.parametrize(
    ("sent", "back"),
    [
        (None, "a"), ("a", None), (None, 0), (0, None), (None, True), (True, None), (False, True), (7, 8), (7, "x"),
        (1604.47, 1604.48), ("Ann", "ann"), ("a b", "a"), ("a", "a b"), ("2025-03-04", "2025-03-05"),
        ("2025-03-04", "2025-03-05T00:00:00Z"), ("2025-03-04T05:06:07Z", "2025-03-04T05:06:08Z"),
        ("2025-03-04T05:06:07Z", "2025-03-04"), ("2025-03-04", "2025-03-04-7"), ("0x1", "0x2"), ("a", True),
        ("2025-13-40T05:06:07Z", "2025-13-41T05:06:07Z"), ("a\U0001f600", "b"), ("a", {"b": 1}),
    ],
)  # fmt: skip
def test_another_value(sent: Any, back: Any) -> None:
    assert not same(sent, back)


@given(value=st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text())
def test_a_value_equals_itself(value: Any) -> None:
    assert same(value, value)


@given(one=st.integers(-(2**31), 2**31 - 1), other=st.integers(-(2**31), 2**31 - 1))
def test_whole_numbers_that_differ_are_told_apart_up_to_single_precision(one: int, other: int) -> None:
    assume(abs(one - other) > 1e-7 * max(abs(one), abs(other)) * 1.01)
    assert not same(one, other)
