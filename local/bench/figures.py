"""Measured figures beside their targets: verdicts, a table, JSON. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

MET, MISSED = "met", "missed"


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is to be reached: at most `limit`, or at least."""

    limit: float
    at_least: bool = False

    def is_met(self, value: float) -> bool:
        """Whether `value` reaches it. What could not be measured (NaN) does not."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:,g}"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured value. Without a target it is there to be read, and has no verdict."""

    group: str
    name: str
    value: float
    unit: str = ""
    target: Target | None = None

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or nothing where there is no target."""
        if self.target is None:
            return ""
        return MET if self.target.is_met(self.value) else MISSED

    def as_json(self) -> dict[str, Any]:
        """The figure as the report file holds it; JSON knows no NaN."""
        target = self.target
        return {
            "group": self.group,
            "name": self.name,
            "value": None if math.isnan(self.value) else round(self.value, 6),
            "unit": self.unit,
            "target": str(target) if target else None,
            "verdict": self.verdict or None,
        }


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of 100 values do not exceed (nearest rank); NaN when there are none."""
    if not values:
        return math.nan
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]


def ratio(part: float, whole: float) -> float:
    """`part / whole`; NaN when there is no whole."""
    return part / whole if whole else math.nan


def all_met(figures: Iterable[Figure]) -> bool:
    """Whether no target was missed."""
    return all(figure.verdict != MISSED for figure in figures)


def format_value(value: float) -> str:
    """A value with about three digits that count."""
    if math.isnan(value):
        return "not measured"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(figures: Sequence[Figure], *, title: str = "") -> Table:
    """The figures as rich shows them, a section per group."""
    shown = Table(title=title, title_justify="left")
    for heading, justify in (("", "left"), ("figure", "left"), ("value", "right"), ("", "left"), ("target", "right")):
        shown.add_column(heading, justify="right" if justify == "right" else "left", no_wrap=heading != "figure")
    shown.add_column("verdict")
    group = ""
    for figure in figures:
        if group and figure.group != group:
            shown.add_section()
        colour = {MET: "green", MISSED: "bold red"}.get(figure.verdict, "")
        shown.add_row(
            figure.group if figure.group != group else "",
            figure.name,
            format_value(figure.value),
            figure.unit,
            str(figure.target or ""),
            f"[{colour}]{figure.verdict}[/]" if colour else "",
        )
        group = figure.group
    return shown
