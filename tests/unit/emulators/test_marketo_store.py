"""The Marketo simulator's store and fields, without HTTP."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.marketo.fields import Field, Strictness, coercion, plain_length
from emulators.marketo.objects import ROLES, object_types
from emulators.marketo.store import Record, Table

KIND = object_types(msi=True)[ROLES]
KEYS = [("externalOpportunityId",), ("leadId",), KIND.dedupe_fields]
VALUES = st.fixed_dictionaries(
    {
        "externalOpportunityId": st.sampled_from(["o1", "o2"]),
        "leadId": st.integers(1, 3),
        "role": st.sampled_from(["Buyer", "Other"]),
    }
)
STEPS = st.lists(st.tuples(st.sampled_from(["insert", "update", "delete"]), st.integers(0, 5), VALUES), max_size=40)


@given(STEPS)
def test_indexes_find_what_a_search_through_all_records_finds(steps: list[tuple[str, int, Record]]) -> None:
    table = Table(KIND)
    stored: list[Record] = []
    for action, position, values in steps:
        if action == "insert":
            stored.append(table.insert(values))
        elif position < len(stored) and action == "update":
            table.update(stored[position], values)
        elif position < len(stored):
            table.delete(stored.pop(position))
    assert list(table) == stored
    for names in KEYS:
        for record in stored:
            values_of = [tuple(other[name] for name in names) for other in stored]
            wanted = tuple(record[name] for name in names)
            expected = [other for other, value in zip(stored, values_of, strict=True) if value == wanted]
            assert table.find(names, wanted if len(names) > 1 else wanted[0]) == expected
    leads = [record["leadId"] for record in stored]
    assert table.repeated(("leadId",)) == {str(n): leads.count(n) for n in set(leads) if leads.count(n) > 1}


@pytest.mark.parametrize(
    ("data_type", "value", "stored"),
    [
        ("datetime", "2026-01-05T10:00:00+01:00", "2026-01-05T09:00:00Z"),
        ("datetime", "2026-01-05T10:00:00.999Z", "2026-01-05T10:00:00Z"),
        ("datetime", "2026-01-05T10:00:00-0800", "2026-01-05T18:00:00Z"),
        ("datetime", "2026-01-05T10:00", "2026-01-05T10:00:00Z"), ("currency", "-10.40", -10.4), ("percent", "30", 30),
        ("email", "a@b.example", "a@b.example"),
    ],
)  # fmt: skip
def test_a_value_is_stored_in_the_form_of_its_type(data_type: str, value: Any, stored: Any) -> None:
    assert coercion(Field("field", data_type, 255), Strictness())(value) == stored


@pytest.mark.parametrize(
    ("data_type", "value"),
    [
        ("integer", " 14"), ("integer", "1_000"), ("integer", 2**31), ("currency", "1_000.5"), ("boolean", 1),
        ("datetime", "2026-01-05"), ("datetime", "2026-13-05T10:00:00Z"), ("email", "a@b"), ("email", "a b@c.example"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(data_type: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r".*"):
        coercion(Field("field", data_type, 255), Strictness())(value)


def test_web_addresses_may_need_a_protocol() -> None:
    website = Field("website", "url", 255)
    assert coercion(website, Strictness())("contoso.example") == "contoso.example"
    with pytest.raises(ValueError, match=r".*"):
        coercion(website, Strictness(url_needs_protocol=True))("contoso.example")


@pytest.mark.parametrize(("data_type", "length"), [("string", 50), ("phone", 255), ("text", None)])
def test_strings_taken_as_they_are_would_pass_the_full_check(data_type: str, length: int | None) -> None:
    field = Field("field", data_type, length)
    longest = "\N{GRINNING FACE}" * plain_length(field)
    assert coercion(field, Strictness())(longest) == longest
