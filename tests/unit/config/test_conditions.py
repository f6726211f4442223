"""Which rows are synced: the native connector's column, rules over columns, and both together."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config.conditions import Condition, SyncFilter, meets

FLAG = "new_synctomkto"
OPEN: Condition = {"statecode": [0], "emailaddress1": "present"}
KEY_ACCOUNT: Condition = {"new_key": [True]}


@pytest.mark.parametrize(
    ("row", "excluded"),
    [
        ({}, False), ({FLAG: None}, False), ({FLAG: True}, False), ({FLAG: False}, True), ({FLAG: 1}, False),
        ({FLAG: 0}, True),
    ],
    ids=["column missing", "null", "Yes", "No", "choice Yes", "choice No"],
)  # fmt: skip
def test_only_an_explicit_no_keeps_a_row_out(row: dict[str, Any], excluded: bool) -> None:
    assert SyncFilter(FLAG).excludes(row) is excluded
    assert not SyncFilter().excludes(row)


@pytest.mark.parametrize(
    ("row", "synced"),
    [
        ({"statecode": 0, "emailaddress1": "a@b.com"}, True), ({"statecode": 0, "emailaddress1": ""}, False),
        ({"statecode": 0}, False), ({"statecode": 1, "emailaddress1": "a@b.com"}, False), ({"new_key": True}, True),
        ({"statecode": 1, "emailaddress1": "a@b.com", "new_key": True}, True), ({"new_key": None}, False),
        ({}, False),
    ],
)  # fmt: skip
def test_all_columns_of_one_condition_must_fit_and_one_condition_is_enough(row: dict[str, Any], synced: bool) -> None:
    assert SyncFilter("", (OPEN, KEY_ACCOUNT)).excludes(row) is not synced


def test_the_columns_that_decide_are_those_of_all_conditions_and_the_native_one() -> None:
    assert SyncFilter(FLAG, (OPEN, KEY_ACCOUNT)).columns == {FLAG, "statecode", "emailaddress1", "new_key"}
    assert SyncFilter().columns == frozenset()


columns = st.sampled_from("abc")
cells = st.sampled_from([None, "", "x", 0, 1, True, False])
rows = st.dictionaries(columns, cells)
wanted: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(["empty", "present"]), st.lists(st.sampled_from(["x", 0, 1, True]), min_size=1)
)
conditions = st.dictionaries(columns, wanted, min_size=1)


@given(rows, conditions)
def test_a_condition_holds_when_each_of_its_parts_does(row: dict[str, Any], condition: Condition) -> None:
    assert meets(row, condition) == all(meets(row, {column: part}) for column, part in condition.items())


@given(rows, columns)
def test_every_value_is_either_empty_or_present(row: dict[str, Any], column: str) -> None:
    assert meets(row, {column: "empty"}) != meets(row, {column: "present"})


@given(rows, columns, wanted)
def test_a_column_that_a_row_does_not_have_is_as_one_without_value(row: dict[str, Any], column: str, part: Any) -> None:
    without = {name: value for name, value in row.items() if name != column}
    assert meets(without, {column: part}) == meets(without | {column: None}, {column: part})


@given(rows, st.lists(conditions, min_size=1), cells)
def test_a_further_condition_never_keeps_a_row_out(row: dict[str, Any], rule: list[Condition], flag: Any) -> None:
    row = row | {FLAG: flag}
    fewer, more = SyncFilter(FLAG, tuple(rule[:1])), SyncFilter(FLAG, tuple(rule))
    assert not more.excludes(row) or fewer.excludes(row)
    assert more.excludes(row) == (SyncFilter(FLAG).excludes(row) or SyncFilter("", tuple(rule)).excludes(row))
    assert more.excludes({name: row.get(name) for name in more.columns}) == more.excludes(row)
