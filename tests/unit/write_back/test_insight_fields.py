"""Which column takes which of Sales Insight's fields: by the guide's names and labels, on both sides."""

from hypothesis import given
from hypothesis import strategies as st

from shared.config.sync_toml import INSIGHT_PAIRS
from shared.dataverse.metadata import Column
from shared.marketo.fields import MarketoField
from shared.write_back.insight_fields import FoundBy, Pair, Reason, find_columns, lead_field, native_columns, resolve

LEAD_FIELDS = {
    "msiLastInterestingMomentType": MarketoField("string", 255),
    "msiLastInterestingMomentDate": MarketoField("datetime"),
    "msiLastInterestingMomentDesc": MarketoField("text"),
    "msiLastInterestingMomentSource": MarketoField("string", 255),
    "priority": MarketoField("integer"),
    "relativeUrgency": MarketoField("integer"),
    "relativeScore": MarketoField("integer"),
    "urgency": MarketoField("float"),
}


def column(
    name: str, kind: str = "String", label: str = "", *, readable: bool = True, updatable: bool = True
) -> Column:
    return Column(name, kind, readable, updatable, name.title(), label, 100 if kind == "String" else None)


def table(*columns: Column) -> dict[str, Column]:
    return {c.name: c for c in columns}


PACKAGE = table(
    column("msi_type", "String", "Last Interesting Moment Type"),
    column("msi_date", "DateTime", "Last Interesting Moment Date"),
    column("msi_desc", "Memo", "Last Interesting Moment Description"),
    column("msi_source", "String", "Last Interesting Moment Source"),
    column("msi_engagement", "Integer", "Engagement"),
    column("msi_flames", "Integer", "Relative Urgency Value"),
    column("msi_stars", "Integer", "Relative Scoring Value"),
    column("lastname", "String", "Last Name"),
)


def one(names: str | list[str], *columns: Column, field: str = "priority") -> Pair:
    given_names = [names] if isinstance(names, str) else names
    (pair,) = resolve({field: given_names}, table(*columns), LEAD_FIELDS)
    return pair


def reasons(pair: Pair) -> list[Reason]:
    return [obstacle.reason for obstacle in pair.obstacles]


def test_the_guides_labels_find_every_column() -> None:
    pairs = resolve(INSIGHT_PAIRS, PACKAGE, LEAD_FIELDS)
    assert [(p.field, p.column.name if p.column else None) for p in pairs] == [
        ("msiLastInterestingMomentType", "msi_type"), ("msiLastInterestingMomentDate", "msi_date"),
        ("msiLastInterestingMomentDesc", "msi_desc"), ("msiLastInterestingMomentSource", "msi_source"),
        ("priority", "msi_engagement"), ("relativeUrgency", "msi_flames"), ("relativeScore", "msi_stars"),
    ]  # fmt: skip
    assert all(p.usable and p.found_by is FoundBy.LABEL for p in pairs)


def test_a_logical_name_is_surer_than_a_schema_name_and_that_than_a_label() -> None:
    by_label = column("new_a", "Integer", "new_Score")
    by_schema = Column("new_b", "Integer", readable=True, updatable=True, schema_name="new_Score")
    by_name = column("new_score", "Integer")
    assert find_columns(["NEW_SCORE"], table(by_label, by_schema, by_name)) == (FoundBy.LOGICAL_NAME, (by_name,))
    assert find_columns(["NEW_SCORE"], table(by_label, by_schema)) == (FoundBy.SCHEMA_NAME, (by_schema,))
    assert find_columns(["NEW_SCORE"], table(by_label)) == (FoundBy.LABEL, (by_label,))


def test_names_are_tried_in_the_order_of_sync_toml() -> None:
    first, second = column("new_first", "Integer", "First"), column("new_second", "Integer")
    assert one(["First", "new_second"], first, second).column == first


def test_the_guides_notation_is_compared_without_prefix_only_when_nothing_else_fits() -> None:
    moment = column("cust_last_interesting_moment_type")
    names = list(INSIGHT_PAIRS["msiLastInterestingMomentType"])
    pair = one(names, moment, field="msiLastInterestingMomentType")
    assert (pair.column, pair.found_by, pair.usable) == (moment, FoundBy.GUIDE_NAME, True)
    labelled = column("cust_other", label="Last Interesting Moment Type")
    assert one(names, moment, labelled, field="msiLastInterestingMomentType").column == labelled


def test_a_name_that_is_not_in_the_guides_notation_is_not_guessed() -> None:
    assert reasons(one("priority", column("new_priority", "Integer"))) == [Reason.NO_COLUMN]


def test_the_native_solutions_columns_are_proposed_and_not_guessed() -> None:
    columns = table(column("mkt_priority", "Integer"), column("mkt_leadinterestingmomentsource"))
    assert reasons(one("Priority__c", *columns.values())) == [Reason.NO_COLUMN]
    assert [c.name for c in native_columns("PRIORITY", columns)] == ["mkt_priority"]
    assert [c.name for c in native_columns("msiLastInterestingMomentSource", columns)] == [
        "mkt_leadinterestingmomentsource"
    ]
    assert native_columns("lastName", columns) == ()


def test_a_label_that_two_columns_have_is_no_answer() -> None:
    pair = one(
        ["Priority__c", "Engagement"], column("a_one", "Integer", "engagement"), column("b_two", label="Engagement")
    )
    assert pair.column is None
    assert reasons(pair) == [Reason.AMBIGUOUS]
    assert "a_one, b_two" in pair.obstacles[0].text


def test_two_publishers_with_the_guides_name_are_ambiguous_too() -> None:
    pair = one("Priority__c", column("one_priority", "Integer"), column("two_priority", "Integer"))
    assert reasons(pair) == [Reason.AMBIGUOUS]


def test_what_is_missing_is_said_for_both_sides() -> None:
    (pair,) = resolve({"msiUnknown": ["Nothing"]}, PACKAGE, LEAD_FIELDS)
    assert reasons(pair) == [Reason.NO_FIELD, Reason.NO_COLUMN]
    (unlicensed,) = resolve({"priority": ["Engagement"]}, PACKAGE, {})
    assert "MSI Non-Native" in unlicensed.obstacles[0].remedy


def test_a_column_that_cannot_take_the_value() -> None:
    calculated = column("new_x", "Integer", updatable=False)
    hidden = column("new_x", "Integer", readable=False)
    lookup = column("new_x", "Lookup")
    assert reasons(one("new_x", calculated)) == [Reason.NOT_UPDATABLE]
    assert reasons(one("new_x", hidden)) == [Reason.NOT_READABLE]
    assert reasons(one("new_x", lookup)) == [Reason.WRONG_TYPE]
    assert reasons(one("new_x", column("new_x", "DateTime"))) == [Reason.WRONG_TYPE]
    assert one("new_x", column("new_x", "Picklist")).usable
    assert reasons(one("new_x", column("new_x", "Integer"), field="msiLastInterestingMomentType")) == [
        Reason.WRONG_TYPE
    ]
    assert reasons(one("new_x", column("new_x", "Integer"), field="msiLastInterestingMomentDate")) == [
        Reason.WRONG_TYPE
    ]


def test_two_fields_cannot_share_a_column() -> None:
    first, second = resolve(
        {"priority": ["new_x"], "urgency": ["NEW_X"]}, table(column("new_x", "Double")), LEAD_FIELDS
    )
    assert first.usable
    assert reasons(second) == [Reason.TAKEN]
    assert "priority" in second.obstacles[0].text


def test_marketos_field_is_found_under_its_other_name_and_in_any_case() -> None:
    assert lead_field("relativeScoring", ["relativeScore"]) == "relativeScore"
    assert lead_field("RELATIVESCORE", ["relativeScoring"]) == "relativeScoring"
    assert lead_field("relativescoring", ["relativeScore", "relativeScoring"]) == "relativeScoring"
    assert lead_field("PRIORITY", ["priority"]) == "priority"
    assert lead_field("relativeUrgency", ["urgency"]) is None


words = st.text(alphabet="abAB_ ßİ", max_size=6)


@given(
    st.lists(words.filter(bool), max_size=3),
    st.lists(st.tuples(st.from_regex(r"[a-z_]{1,6}", fullmatch=True), words, words), max_size=5),
)
def test_a_pair_has_a_column_if_nothing_is_in_the_way(names: list[str], shapes: list[tuple[str, str, str]]) -> None:
    columns = {
        name: Column(name, "Integer", readable=True, updatable=True, schema_name=schema, label=label)
        for name, schema, label in shapes
    }
    (pair,) = resolve({"priority": names}, columns, LEAD_FIELDS)
    assert pair.usable == (pair.column is not None)
    assert (pair.found_by is None) == (reasons(pair) == [Reason.NO_COLUMN])
    if any(name in columns for name in names[:1]):
        assert pair.column == columns[names[0]]
