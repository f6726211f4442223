"""Conditions on a row's columns, as sync.toml writes them: for alternatives of a field, and for what is synced at all.

A condition maps columns to what they must be: ``"empty"``, ``"present"``, or a list of values of which one must be
the column's. All columns of one condition must hold (and); of a list of conditions, one must (or).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..model.text import is_blank

Row = Mapping[str, Any]
Wanted = Literal["empty", "present"] | list[int | str | bool]
Condition = Mapping[str, Wanted]


def meets(row: Row, condition: Condition) -> bool:
    """Whether every column of the row is what the condition wants."""
    return all(matches(row.get(column), wanted) for column, wanted in condition.items())


def matches(value: Any, wanted: Wanted) -> bool:
    """Whether a column's value is what a condition wants. Text that shows nothing is empty."""
    if wanted == "empty":
        return is_blank(value)
    if wanted == "present":
        return not is_blank(value)
    return value in wanted


@dataclass(frozen=True, slots=True)
class SyncFilter:
    """Which rows of one table are synced.

    `flag` is the native connector's column ("" where there is none): missing, empty or Yes syncs, only an explicit No
    keeps the row out (guide, "Sync Fields for a Custom Filter"). `rule` holds conditions of which one must hold; no
    conditions let every row through.
    """

    flag: str = ""
    rule: tuple[Condition, ...] = ()

    @property
    def columns(self) -> frozenset[str]:
        """The columns that decide."""
        return frozenset([*filter(None, [self.flag]), *(column for condition in self.rule for column in condition)])

    def excludes(self, row: Row) -> bool:
        """Whether the row is kept out."""
        if self.flag and row.get(self.flag) in (False, 0):
            return True
        return bool(self.rule) and not any(meets(row, condition) for condition in self.rule)
