"""Small charts: their shapes, and the series that they show."""

from datetime import timedelta

import pytest

from shared.cli.console.charts import GAP, HEIGHT, LEAST, columns, share
from shared.marketo.usage import Usage
from shared.sync.statistics import row_name, series, totals
from tests.support.values import NOON

FIVE, HOUR = timedelta(minutes=5), timedelta(hours=1)


def test_the_greatest_value_is_as_high_as_the_chart_and_the_least_can_be_seen() -> None:
    chart = columns([0, 1, 1000], "three")
    assert [(bar.x, bar.height) for bar in chart.bars] == [(5.0, LEAST), (10.0, HEIGHT)]
    assert {bar.y + bar.height for bar in chart.bars} == {HEIGHT}
    assert chart.width == 3 * 5 - GAP
    assert columns([], "none").bars == columns([0, 0], "none").bars == ()


@pytest.mark.parametrize(("part", "whole", "percent"), [(1, 3, 33.3), (5, 4, 100.0), (1, 0, 0.0), (-1, 4, 0.0)])
def test_a_gauge_is_never_over_full(part: float, whole: float, percent: float) -> None:
    assert share(part, whole) == percent


def test_a_series_ends_with_the_slot_of_now() -> None:
    at = NOON + timedelta(minutes=7)
    rows = {
        row_name(at, "person"): {"synced": {"0": 1, "5": 2}, "failed": {"5": 9}},
        row_name(at - HOUR, "person"): {"synced": {"5": 100, "10": 10, "55": 20}},
        row_name(at - HOUR, "company"): {"synced": {"55": 7}},
        row_name(at - 24 * HOUR, "person"): {"synced": {"5": 5000, "10": 400}},
    }
    assert series(rows, "person", until=at, step=FIVE, number=12) == [10, 0, 0, 0, 0, 0, 0, 0, 0, 20, 1, 2]
    by_hour = series(rows, "person", until=at, step=HOUR, number=24)
    assert (by_hour[0], by_hour[-2], by_hour[-1]) == (400, 100, 33)
    assert sum(by_hour) + 5000 == totals(rows, "person", at - 24 * HOUR)["synced"]
    assert series({}, "person", until=at, step=FIVE, number=2) == [0, 0]


@pytest.mark.parametrize(("used", "elapsed", "forecast"), [(500, 0.25, 2000), (0, 0.5, 0), (90, 0.01, None)])
def test_the_day_ends_as_it_has_begun(used: int, elapsed: float, forecast: int | None) -> None:
    assert Usage(used, 30_000, elapsed, None, None, None, NOON).forecast == forecast
