"""What the plan of an initial sync reads: which rows the filter keeps, and what would become of persons.

All rows are read, 5,000 in a request, because nothing else in Dynamics counts more than 50,000 rows that meet a
condition. Of persons, Marketo is asked for a sample, which costs it as little for a million rows as for some thousand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import Progress

from ...config.conditions import Row
from ...model.entities import PERSON_TABLES
from ...sync.preview import Fate, Foreseen, Preview
from ...sync.routing import chunked
from ...sync.schema import Schema
from ..context import Context
from ..filtered_rows import pages
from ..preview import about, foresight
from ..progress import progress_bar
from .estimate import Sample, scaled

#: Persons of each table of which Marketo is asked: a share of them is right within two per cent.
SAMPLE = 3000
#: Persons that are asked about at a time, so that the bar moves.
_PART = 1500


@dataclass
class TablePlan:
    """What would become of the rows of a table. `kept`: by the sync filter. `asked`: what was found of persons."""

    table: str
    rows: int = 0
    kept: int = 0
    asked: Counter[Fate] = field(default_factory=Counter)
    ambiguous: list[Foreseen] = field(default_factory=list)

    @property
    def is_sampled(self) -> bool:
        """Whether Marketo was asked for a part of the rows only."""
        return 0 < self.asked.total() < self.kept

    @property
    def fates(self) -> Mapping[Fate, int]:
        """How many rows would have each fate; empty where nobody asks, because records are found by their keys."""
        return scaled(self.asked, self.kept)

    def take(self, foreseen: Sequence[Foreseen]) -> None:
        """Count what was found."""
        self.asked.update(each.fate for each in foreseen)
        self.ambiguous += [each for each in foreseen if each.fate is Fate.AMBIGUOUS]


@dataclass
class Look:
    """One look at both systems. `sample`: of so many persons of a table Marketo is asked; None: of all."""

    context: Context
    schema: Schema
    preview: Preview
    sample: int | None
    bar: Progress

    async def table(self, table: str, query: str | None) -> TablePlan:
        """Read a table, parents of others first. Raises MsiSyncError when one of the systems does not answer."""
        plan, sample = TablePlan(table), Sample[Row](self.sample or 0)
        filter_ = await self.schema.filter_of(table)
        columns = (await self.schema.of(table)).columns if table in PERSON_TABLES else filter_.columns
        total = None if query else await about(self.context, table)
        task = self.bar.add_task(table, total=total, done=f"rows of {table} looked at")
        async for rows in pages(self.context, table, columns, query):
            kept = [row for row in rows if not filter_.excludes(row)]
            plan.rows, plan.kept = plan.rows + len(rows), plan.kept + len(kept)
            if table in PERSON_TABLES and self.sample is None:
                await self._ask(plan, kept)
            sample.add(kept)
            self.bar.advance(task, len(rows))
        self.bar.update(task, total=plan.rows, completed=plan.rows)
        if table in PERSON_TABLES and self.sample is not None:
            await self._ask(plan, sample.chosen)
        return plan

    async def _ask(self, plan: TablePlan, rows: Sequence[Row]) -> None:
        task = self.bar.add_task(f"{plan.table} in Marketo", total=len(rows), visible=bool(rows))
        for part in chunked(rows, _PART):
            plan.take(await self.preview.of(plan.table, part))
            self.bar.advance(task, len(part))
        self.bar.remove_task(task)


async def look(
    context: Context, tables: Sequence[str], query: str | None, progress: Console, *, sample: int | None
) -> list[TablePlan]:
    """The plans of these tables, in their order. Raises as `Look.table` does."""
    with progress_bar(progress) as bar:
        looking = Look(context, context.schema, foresight(context), sample, bar)
        return [await looking.table(table, query) for table in tables]
