"""What templates draw: charts and gauges whose sizes are attributes."""

import re

import pytest

from shared.cli.console.templating import environment, share


def test_the_greatest_value_is_as_high_as_the_chart_and_the_least_can_be_seen() -> None:
    drawn = environment().get_template("parts.html").module.chart([0, 1, 0, 1000], "hour", "1,001 <in all>")  # type: ignore[attr-defined]
    bars = re.findall(r'<rect x="(\d+)" y="([\d.]+)" width="4" height="([\d.]+)"/>', drawn)
    assert bars == [("5", "20.5", "1.5"), ("15", "0.0", "22.0")]
    assert 'viewBox="0 0 19 22"' in drawn
    assert 'aria-label="1,001 &lt;in all&gt;"' in drawn


@pytest.mark.parametrize(("part", "whole", "percent"), [(1, 3, 33.3), (5, 4, 100.0), (1, 0, 0.0), (-1, 4, 0.0)])
def test_a_gauge_is_never_over_full(part: float, whole: float, percent: float) -> None:
    assert share(part, whole) == percent
