"""Small charts as shapes of an SVG: a page may have no styles of its own, so sizes are attributes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: The height of a chart, and what a value that is not zero has of it at least.
HEIGHT, LEAST = 22.0, 1.5
#: The width of a column with the gap behind it.
COLUMN, GAP = 5.0, 1.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle of an SVG."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Columns from the oldest value to the newest. `label` says in words what they show."""

    bars: tuple[Bar, ...]
    width: float
    height: float
    label: str


def columns(values: Sequence[int], label: str) -> Chart:
    """One column for each value, the greatest as high as the chart."""
    most = max(values, default=0)
    heights = [max(LEAST, HEIGHT * value / most) if value else 0.0 for value in values]
    bars = (
        Bar(place * COLUMN, round(HEIGHT - height, 1), COLUMN - GAP, round(height, 1))
        for place, height in enumerate(heights)
        if height
    )
    return Chart(tuple(bars), max(len(values) * COLUMN - GAP, 0), HEIGHT, label)


def share(part: float, whole: float) -> float:
    """A part in percent of its whole, 0 to 100, for the width of a gauge."""
    return round(min(100.0, max(0.0, 100 * part / whole)), 1) if whole else 0.0
