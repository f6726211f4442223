"""What a Marketo record of each table holds, by the sync.toml that is delivered, and how values are made to fit."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dataverse.metadata import Column
from shared.marketo.fields import MarketoField
from shared.sync.mapping import FieldMap, compile_table, has_unknown_choice, label_columns
from tests.support.mapping import DELIVERED, OPEN, PERSON_ROW, STRING, TEXT, Values, described, fields_of, mapped, one


def test_the_columns_to_read_are_those_of_all_rules_and_their_conditions() -> None:
    columns = compile_table(DELIVERED["opportunity"], described(DELIVERED["opportunity"])).columns
    assert columns == set(OPEN)


def test_the_labels_to_read_are_those_of_choices() -> None:
    assert label_columns(DELIVERED["lead"]) == {"leadsourcecode", "leadqualitycode", "statuscode"}
    assert label_columns(DELIVERED["contact"]) == frozenset()


def test_a_field_that_marketo_does_not_have_is_dropped_and_its_columns_are_not_read() -> None:
    fields = fields_of(known="a", unknown={"column": "b", "when": {"c": [1]}})
    compiled = compile_table(fields, {"known": STRING})
    assert compiled.dropped == ("unknown",)
    assert compiled.columns == {"a"}
    assert compiled.map({"a": "1", "b": "2", "c": 1}, {}).record == {"known": "1"}


def test_a_field_that_marketo_lets_nobody_write_is_dropped() -> None:
    compiled = compile_table(fields_of(x="a", y="b"), {"x": MarketoField("string", writable=False), "y": STRING})
    assert compiled.dropped == ("x",)
    assert compiled.columns == {"b"}


@pytest.mark.parametrize(
    "rule",
    [
        "gone", {"column": "a", "when": {"gone": [1]}}, {"columns": ["a", "gone"], "convert": "lines"},
        {"column": "gone", "convert": "label"}, ["gone", {"column": "gone", "when": {"a": "present"}}],
    ],
)  # fmt: skip
def test_a_field_whose_column_dynamics_does_not_have_is_left_as_it_is_in_marketo(rule: Any) -> None:
    compiled = compile_table(fields_of(x=rule, y="b"), {"x": STRING, "y": STRING}, columns={"a", "b"})
    assert compiled.dropped_columns == ("gone",)
    assert compiled.columns == {"b"}
    assert compiled.map({"a": "1", "b": "2", "gone": "3"}, {}).record == {"y": "2"}


def test_of_alternatives_only_those_whose_column_is_missing_are_left_out() -> None:
    compiled = compile_table(fields_of(x=["gone", "a"]), {"x": STRING}, columns={"a"})
    assert (compiled.dropped, compiled.dropped_columns) == ((), ("gone",))
    assert compiled.map({"a": "1"}, {}).record == {"x": "1"}


def test_where_empty_columns_are_not_to_clear_only_values_are_sent() -> None:
    lines, label = {"columns": ["d"], "convert": "lines"}, {"column": "e", "convert": "label"}
    fields = fields_of(x="a", y=["b", "c"], z=lines, w=label)
    compiled = compile_table(fields, dict.fromkeys("xyzw", STRING), clears=False)
    row = {"a": "", "b": None, "c": "1", "d": "", "e": None}
    assert compiled.map(row, {"e": {}}).record == {"y": "1"}
    assert compiled.map(dict.fromkeys("abcde"), {"e": {}}).record == {}


def test_fields_are_sent_with_the_spelling_of_describe() -> None:
    assert compile_table(fields_of(FIRSTname="a"), {"firstName": STRING}).map({"a": "Ann"}, {}).record == {
        "firstName": "Ann"
    }


@pytest.mark.parametrize(
    ("wanted", "value", "applies"),
    [
        ("empty", None, True), ("empty", "", True), ("empty", "x", False), ("empty", 0, False),
        ("present", "x", True), ("present", 0, True), ("present", None, False), ("present", "", False),
        ([1, 2], 2, True), ([1, 2], 3, False), ([1, 2], None, False), ([True], True, True), (["a"], "a", True),
    ],
)  # fmt: skip
def test_a_condition_decides_whether_the_field_is_sent(wanted: Any, value: Any, applies: bool) -> None:
    record = one({"column": "a", "when": {"b": wanted}}, {"a": "text", "b": value})
    assert record == ({"x": "text"} if applies else {})


def test_all_conditions_of_a_rule_must_hold() -> None:
    rule = {"column": "a", "when": {"b": [1], "c": [2]}}
    assert one(rule, {"a": "text", "b": 1, "c": 2}) == {"x": "text"}
    assert one(rule, {"a": "text", "b": 1, "c": 3}) == {}


def test_the_first_alternative_with_a_value_wins_and_none_clears() -> None:
    assert one(["a", "b"], {"a": "1", "b": "2"}) == {"x": "1"}
    assert one(["a", "b"], {"a": "", "b": "2"}) == {"x": "2"}
    assert one(["a", "b"], {"a": None, "b": None}) == {"x": None}


@pytest.mark.parametrize("value", [None, "", " \u00a0"])
def test_a_field_is_cleared_only_when_every_rule_that_applies_was_read_and_is_empty(value: Any) -> None:
    label = {"column": "b", "convert": "label"}
    assert one(["a", label], {"a": value, "b": value}, labels={"b": {1: "Red"}}) == {"x": None}
    assert one(["a", label], {"a": value, "b": 1}, labels={"b": {1: "Red"}}) == {"x": "Red"}
    assert one(["a", label], {"a": value, "b": 9}, labels={"b": {1: "Red"}}) == {}
    assert one([label, "a"], {"a": value, "b": 9}, labels={"b": {1: "Red"}}) == {}
    assert one(["a", {"column": "b", "when": {"c": [1]}}], {"a": value, "c": 2}) == {"x": None}
    gone = compile_table(fields_of(x=["a", "gone"]), {"x": STRING}, columns={"a"})
    assert gone.map({"a": value}, {}).record == {}


def test_a_choice_without_a_label_is_seen_to_be_left_out() -> None:
    rules = fields_of(x=["a", {"column": "b", "convert": "label"}])
    (found,) = compile_table(rules, {"x": STRING}).map({"a": None, "b": 9}, {"b": {1: "Red"}}).left_out
    assert (found.field, found.code, found.value_class) == ("x", "UnknownLabel", "a choice")


def hiding(*hidden: str, **fields: Any) -> FieldMap:
    """The mapping where column-level security hides some of the columns a, b and c."""
    columns = {name: Column(name, "String", readable=True, hidden=name in hidden) for name in "abc"}
    return compile_table(fields_of(**fields), {"x": STRING}, columns=columns)


def test_the_null_of_a_hidden_column_says_nothing_and_its_value_is_believed() -> None:
    compiled = hiding("a", x="a")
    assert compiled.columns == {"a"}
    assert compiled.map({"a": None}, {}).record == {}
    assert compiled.map({}, {}).record == {}
    assert compiled.map({"a": "1"}, {}).record == {"x": "1"}


def test_what_may_stand_in_a_hidden_column_is_not_replaced_by_an_alternative_behind_it() -> None:
    compiled = hiding("a", x=["a", "b"])
    assert compiled.map({"a": None, "b": "2"}, {}).record == {}
    assert compiled.map({"a": "1", "b": "2"}, {}).record == {"x": "1"}
    assert compiled.map({"a": None, "b": None}, {}).record == {}
    before = hiding("b", x=["a", "b", "c"])
    assert before.map({"a": "1", "b": None, "c": "3"}, {}).record == {"x": "1"}
    assert before.map({"a": None, "b": None, "c": "3"}, {}).record == {}
    elsewhere = hiding("a", x=[{"column": "a", "when": {"c": ["1"]}}, "b"])
    assert elsewhere.map({"a": None, "b": "2", "c": "9"}, {}).record == {"x": "2"}
    lines = hiding("a", x={"columns": ["a", "b"], "convert": "lines"})
    assert lines.map({"a": None, "b": "2"}, {}).record == {}


@pytest.mark.parametrize("wanted", ["empty", "present", ["1"]])
def test_a_condition_on_a_hidden_column_neither_holds_nor_fails(wanted: Any) -> None:
    compiled = hiding("b", x=[{"column": "a", "when": {"b": wanted, "c": ["1"]}}, "c"])
    assert compiled.map({"a": "1", "b": None, "c": None}, {}).record == {"x": None}
    unknown = hiding("b", x={"column": "a", "when": {"b": wanted}})
    assert unknown.map({"a": "1", "b": None}, {}).record == {}


def test_lines_leave_empty_columns_out_and_clear_when_all_are_empty() -> None:
    rule = {"columns": ["a", "b", "c"], "convert": "lines"}
    assert one(rule, {"a": "1", "b": "", "c": "3"}, field=TEXT) == {"x": "1\n3"}
    assert one(rule, {"a": None, "b": ""}, field=TEXT) == {"x": None}


def test_is_tells_true_and_false_and_clears_without_value() -> None:
    rule = {"column": "a", "convert": "is", "values": [1, 2]}
    boolean = MarketoField("boolean")
    assert one(rule, {"a": 2}, field=boolean) == {"x": True}
    assert one(rule, {"a": 0}, field=boolean) == {"x": False}
    assert one(rule, {"a": None}, field=boolean) == {"x": None}


@pytest.mark.parametrize("value", [False, None, ""])
def test_true_only_never_takes_an_opt_out_back(value: Any) -> None:
    rule = {"column": "a", "convert": "true_only"}
    assert one(rule, {"a": value}, field=MarketoField("boolean")) == {}
    assert one(rule, {"a": True}, field=MarketoField("boolean")) == {"x": True}


@pytest.mark.parametrize(
    ("value", "label"),
    [(1, "Red"), (None, None), ("", None), ("1,3", "Red;Blue"), ("3", "Blue"), ("-1", "None of these")],
)
def test_a_choice_is_sent_as_its_label_and_several_joined(value: Any, label: str | None) -> None:
    labels = {"a": {1: "Red", 3: "Blue", -1: "None of these"}}
    assert one({"column": "a", "convert": "label"}, {"a": value}, labels=labels) == {"x": label}


@pytest.mark.parametrize("value", [9, "9", "1,9", "Red"])
def test_a_choice_without_a_known_label_leaves_marketos_value(value: Any) -> None:
    labels = {"a": {1: "Red"}}
    assert one({"column": "a", "convert": "label"}, {"a": value}, labels=labels) == {}
    assert one([{"column": "a", "convert": "label"}, "b"], {"a": value, "b": "c"}, labels=labels) == {"x": "c"}


@pytest.mark.parametrize(("value", "unknown"), [(1, False), (9, True), ("1,9", True), (None, False), ("Red", False)])
def test_an_option_that_was_added_is_noticed(value: Any, unknown: bool) -> None:
    assert has_unknown_choice({"a": value}, {"a": {1: "Red"}}) == unknown


@pytest.mark.parametrize(("value", "label"), [(True, "Yes"), (False, "No"), (None, None)])
def test_a_yes_or_no_is_sent_as_its_label(value: bool | None, label: str | None) -> None:
    assert one({"column": "a", "convert": "label"}, {"a": value}, labels={"a": {1: "Yes", 0: "No"}}) == {"x": label}


@pytest.mark.parametrize("value", [1, "1,3", True])
def test_a_field_is_left_alone_when_its_column_has_no_labels_at_all(value: Any) -> None:
    rule = {"column": "a", "convert": "label"}
    assert one(rule, {"a": value}, labels={}) == {}
    assert one([rule, "b"], {"a": value, "b": "plain"}, labels={}) == {"x": "plain"}


rows = st.dictionaries(
    st.sampled_from(sorted({*OPEN, *PERSON_ROW, "companyname", "leadsourcecode", "birthdate", "revenue"})),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
)


@given(st.sampled_from(sorted(DELIVERED)), rows)
def test_whatever_a_row_holds_its_record_is_json_of_known_fields(table: str, row: Values) -> None:
    record = mapped(table, row)
    assert record.keys() <= DELIVERED[table].keys()
    assert json.loads(json.dumps(record)) == record


names = st.sampled_from("abcdef")
conditions = st.dictionaries(names, st.sampled_from(["empty", "present", [1], ["x"]]), min_size=1)
rules = st.one_of(
    names,
    st.fixed_dictionaries({"column": names, "when": conditions}),
    st.fixed_dictionaries({"columns": st.lists(names, min_size=1), "convert": st.just("lines")}),
    st.fixed_dictionaries({"column": names, "convert": st.sampled_from(["label", "true_only"])}),
)
mappings = st.dictionaries(st.sampled_from("xyz"), st.one_of(rules, st.lists(rules, min_size=1)))
cells = st.one_of(st.none(), st.just(""), st.just(1), st.just("x"), st.booleans())


@given(mappings, st.sets(names), st.sets(st.sampled_from("xyz")), st.dictionaries(names, cells), st.booleans())
def test_no_column_is_read_and_no_field_sent_that_is_not_there(
    given_fields: Values, columns: set[str], in_marketo: set[str], row: Values, clears: bool
) -> None:
    compiled = compile_table(
        fields_of(**given_fields), dict.fromkeys(in_marketo, STRING), columns=columns, clears=clears
    )
    assert compiled.columns <= columns
    assert columns.isdisjoint(compiled.dropped_columns)
    assert set(compiled.dropped) == given_fields.keys() - in_marketo
    record = compiled.map(row, {}).record
    assert record.keys() <= in_marketo & given_fields.keys()
    assert clears or None not in record.values()
    there = {column: value for column, value in row.items() if column in columns}
    assert compiled.map(there, {}).record == record
