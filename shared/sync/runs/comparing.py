"""A step of a comparison: the next rows of a table are read, compared with Marketo, and kept as pages of the run.

    rows with their columns ▸ shared/sync/reconciliation.py ▸ the state of each, and how those that differ do

The steps of a table begin where the one before ended, which is stored with its pages. A process that is killed loses at
most a step: its rows are compared once more. After the rows of the last table of persons, where the scope says so,
the persons of Marketo are looked through by their ids, and those whose row is gone are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...dataverse.client import DataverseClient
from ...marketo.client import MAX_FILTER_VALUES
from ...model.entities import PERSON_TABLES
from ...model.errors import DataverseError
from ...transport import call_count
from ..comparison import Compared, Difference
from ..extra_persons import ExtraPersons
from ..reconciliation import KEYS, Reconciliation
from . import reading
from .model import Run
from .page import DIFFERS, SKIPPED, UNCHANGED, UNSENT, Page, pages_compared

#: Marketo's calls of a step; its rows are in memory with all their mapped columns.
CALLS = 5
ROWS = CALLS * KEYS
_IDS = CALLS * MAX_FILTER_VALUES
#: What a table's link begins with where persons are looked through: the next id follows.
_OF_IDS = "ids:"

_Differences = Mapping[str, Sequence[Difference]]


@dataclass(frozen=True, slots=True)
class Comparing:
    """Compares for runs. `charge` hears how many of Marketo's calls that took."""

    dataverse: DataverseClient
    work: Reconciliation
    extra: ExtraPersons
    charge: Callable[[float], None]

    async def step(self, run: Run, table: str) -> tuple[Run, list[Page]]:
        """Compare the next rows of a table. Gives the run as it is then, and new pages. Raises as the clients do.

        DataverseError has a kind of reading.FOR_GOOD when the run can never go on.
        """
        progress = run.tables[table]
        with call_count.counted() as calls:
            try:
                if progress.link.startswith(_OF_IDS):
                    changed, states, found = await self._look_for_extra(run, table)
                else:
                    changed, states, found = await self._compare(run, table)
            finally:
                self.charge(calls["marketo"])
        pages = pages_compared(run.id, table, progress.pages, states, found)
        changed = changed.table(table, pages=progress.pages + len(pages), rows=progress.rows + len(states))
        return replace(changed, calls=run.calls + calls["marketo"]), pages

    async def _compare(self, run: Run, table: str) -> tuple[Run, dict[str, str], _Differences]:
        block, columns = await self._read(run, table)
        compared = await self.work.compare(table, block.rows, columns)
        persons = _both(run.persons, compared.persons)
        link = block.link or _first_of_ids(run, table, persons)
        changed = run.table(table, since=block.since, link=link, all_read=not link)
        return replace(changed, persons=persons), _states(run, compared), compared.found

    async def _read(self, run: Run, table: str) -> tuple[reading.Block, frozenset[str]]:
        """The next rows, with the columns that they have. One that has disappeared is done without."""
        progress, columns = run.tables[table], await self.work.columns(table)
        try:
            return await self._rows(run, table, columns), columns
        except DataverseError as error:
            if not error.is_unknown_column:
                raise
        columns = await self.work.columns(table, anew=True)
        return await self._rows(run.table(table, link="", since=progress.since), table, columns), columns

    async def _rows(self, run: Run, table: str, columns: frozenset[str]) -> reading.Block:
        return await reading.read(self.dataverse, run.scope, table, run.tables[table], columns=columns, size=ROWS)

    async def _look_for_extra(self, run: Run, table: str) -> tuple[Run, dict[str, str], _Differences]:
        first, last = int(run.tables[table].link.removeprefix(_OF_IDS)), (run.persons or (0, 0))[1]
        end = min(first + _IDS - 1, last)
        found = {each.id: [each] async for each in self.extra.between(first, end)}
        link = f"{_OF_IDS}{end + 1}" if end < last else ""
        return run.table(table, link=link, all_read=not link), _differing(run, found), found


def _first_of_ids(run: Run, table: str, persons: tuple[int, int] | None) -> str:
    """How the extra persons are begun with, after the last table of persons; empty: they are not meant."""
    of_persons = [name for name in run.in_order if name in PERSON_TABLES]
    return f"{_OF_IDS}{persons[0]}" if run.scope.extra and persons and table == of_persons[-1] else ""


def _both(one: tuple[int, int] | None, other: tuple[int, int] | None) -> tuple[int, int] | None:
    ends = [*(one or ()), *(other or ())]
    return (min(ends), max(ends)) if ends else None


def _states(run: Run, compared: Compared) -> dict[str, str]:
    states = dict.fromkeys(compared.ids, UNCHANGED)
    states |= {id_: f"{SKIPPED}:{reason}" for id_, reason in compared.left_alone.items()}
    return states | _differing(run, compared.found)


def _differing(run: Run, found: _Differences) -> dict[str, str]:
    """The states of rows that differ: those that can be sent wait for it, if they are to be."""
    return {
        id_: UNSENT
        if run.scope.sends and any(each.can_be_sent for each in those)
        else f"{DIFFERS}:{'+'.join(sorted({each.kind for each in those}))}"
        for id_, those in found.items()
    }
