"""Figures: percentiles, verdicts, the table and the file."""

import io
import json
import math

import pytest
from rich.console import Console

from local.bench.figures import Figure, Target, all_met, format_value, percentile, ratio, table


def figure(value: float, target: Target | None = None, group: str = "burst") -> Figure:
    return Figure(group=group, name="upsert calls", value=value, unit="per 1,000", target=target)


def test_a_percentile_is_one_of_the_values_whatever_their_order_and_no_number_without_any() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (0, 1, 50, 95.5, 100)] == [1.0, 1.0, 50.0, 96.0, 100.0]
    assert percentile([1.0, 9.0], 95) == 9.0
    assert math.isnan(percentile([], 50))


def test_a_limit_itself_meets_the_target_in_both_directions_and_what_was_not_measured_never_does() -> None:
    assert figure(3.7, Target(limit=3.7)).verdict == "met"
    assert figure(3.71, Target(limit=3.7)).verdict == "missed"
    assert figure(1350, Target(limit=1350, at_least=True)).verdict == "met"
    assert figure(1349, Target(limit=1350, at_least=True)).verdict == "missed"
    assert figure(math.nan, Target(limit=1)).verdict == "missed"
    assert figure(math.nan, Target(limit=1, at_least=True)).verdict == "missed"


def test_one_missed_target_spoils_the_whole_and_a_figure_without_target_never_does() -> None:
    good, missed, bare = figure(1, Target(limit=2)), figure(3, Target(limit=2)), figure(99)
    assert all_met([good, bare])
    assert not all_met([good, missed, bare])


def test_a_ratio_without_a_whole_is_no_number() -> None:
    assert ratio(6, 3) == 2
    assert math.isnan(ratio(6, 0))


@pytest.mark.parametrize(
    ("value", "shown"), [(1350.4, "1,350"), (12.345, "12.3"), (0.8, "0.80"), (0, "0.00"), (math.nan, "not measured")]
)
def test_values_are_shown_with_the_digits_that_count(value: float, shown: str) -> None:
    assert format_value(value) == shown


def test_the_table_names_each_group_once_and_shows_value_target_and_verdict() -> None:
    output = io.StringIO()
    figures = [figure(3.1, Target(limit=3.7)), figure(9.0, Target(limit=3.7)), figure(5.0, group="lone")]
    Console(file=output, width=120).print(table(figures, title="2 cores"))
    text = output.getvalue()
    assert text.count("burst") == 1
    assert text.count("lone") == 1
    lines = [line.split() for line in text.splitlines()]
    assert any({"3.10", "3.7", "met"} <= set(line) for line in lines)
    assert any({"9.00", "3.7", "missed"} <= set(line) for line in lines)


def test_a_figure_survives_json_also_when_it_is_no_number() -> None:
    written = json.dumps([figure(math.nan).as_json(), figure(2, Target(limit=3)).as_json()], allow_nan=False)
    first, second = json.loads(written)
    assert first["value"] is None
    assert first["verdict"] is None
    assert (second["value"], second["target"], second["verdict"]) == (2, "≤ 3", "met")
