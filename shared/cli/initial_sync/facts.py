"""What is known of a run: its numbers, how fast it goes, when it should end, and what needs attention. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from ...config.settings import MarketoSettings
from ...marketo.day import day_of
from ...marketo.usage import Usage
from ...model.entities import PERSON_TABLES
from ...sync.matches import AMBIGUOUS
from ...sync.preview import Fate
from ...sync.reconciliation import KEYS
from ...sync.runs import page
from ...sync.runs.model import Run, RunKind, RunState
from ...sync.runs.store import Summary
from ..command import Exit
from ..finding import Finding, age, attention, counted, worst
from ..output import json_types
from ..runs import SILENT, findings_of, group_of
from .estimate import Pace, end_of, run_calls, scaled

#: How far back the rate looks, and the least time that it is made from.
RATE_WINDOW, RATE_LEAST = timedelta(minutes=10), timedelta(seconds=20)

#: What states that are final mean for Marketo calls of the rows that are still to come.
_FATES = {
    page.CREATED: Fate.CREATED,
    page.ADOPTED: Fate.ADOPTED,
    page.UPDATED: Fate.UPDATED,
    page.UNCHANGED: Fate.UPDATED,
}


@dataclass(frozen=True)
class TableFacts:
    """A table of a run. `states`: records by state of shared/sync/runs/page.py. `total`: rows, as far as is known."""

    table: str
    states: Counter[str]
    total: int | None
    complete: bool = False

    @property
    def done(self) -> int:
        """Records that the run has nothing left to do with."""
        return self.states.total() - self.unfinished

    @property
    def unfinished(self) -> int:
        """Records that were read, and are not done."""
        return sum(self.states[state] for state in page.UNFINISHED)

    @property
    def remaining(self) -> int:
        """Rows that are not done, those that were not read yet included."""
        return max(self.unfinished, (self.total or 0) - self.done)

    @property
    def numbers(self) -> dict[str, int]:
        """What has become of its rows: `in_marketo`, `left_out`, `different`, `failed`, `parked`."""
        left_out, different, failed = (
            self.by_reason(state).total() for state in (page.SKIPPED, page.DIFFERS, page.FAILED)
        )
        there, parked = sum(self.states[state] for state in page.IN_MARKETO), self.states[page.PARKED]
        return {"in_marketo": there, "left_out": left_out, "different": different, "failed": failed, "parked": parked}

    def by_reason(self, state: str) -> Counter[str]:
        """The reasons of records that were left out, or the codes of those that failed."""
        return Counter({key.partition(":")[2]: n for key, n in self.states.items() if key.partition(":")[0] == state})

    def as_json(self) -> dict[str, Any]:
        """Every number."""
        names = (*page.UNFINISHED, *page.IN_MARKETO)
        return {
            "total": self.total,
            "read": self.states.total(),
            "done": self.done,
            "complete": self.complete,
            **{name: self.states[name] for name in names},
            page.SKIPPED: self.by_reason(page.SKIPPED),
            page.DIFFERS: self.by_reason(page.DIFFERS),
            page.FAILED: self.by_reason(page.FAILED),
        }

    def expected(self) -> dict[Fate, int]:
        """What would become of the remaining rows, if they are like those that are done."""
        seen: Counter[Fate] = Counter()
        for state, count in self.states.items():
            if state not in page.UNFINISHED:
                left_out = state.startswith(page.SKIPPED)
                other = Fate.AMBIGUOUS if state == f"{page.FAILED}:{AMBIGUOUS}" else Fate.UPDATED
                seen[Fate.FILTERED if left_out else _FATES.get(state, other)] += count
        return scaled(seen, self.remaining)


@dataclass(frozen=True)
class RunFacts:
    """A run, as it was `at` this moment. `rate`: records a second of late, None where nobody can tell yet.

    `stuck`: records that have been in their queues for longer than a run's should. `others`: runs that are not over.
    """

    run: Run
    at: datetime
    tables: Sequence[TableFacts] = field(default=())
    rate: float | None = None
    expected_end: datetime | None = None
    stuck: int = 0
    others: Sequence[Run] = ()

    @property
    def failed(self) -> int:
        """Records that have failed."""
        return sum(table.by_reason(page.FAILED).total() for table in self.tables)

    @property
    def findings(self) -> list[Finding]:
        """What needs an operator."""
        found = list(findings_of(self.run, self.at))
        if self.stuck:
            waiting = f"{counted(self.stuck, 'record')} of it have waited in their queues for more than {age(SILENT)}"
            found.append(
                attention(waiting, "msisync status shows why: a paused queue, a system that is away, or many changes")
            )
        group = group_of(self.run)
        if different := sum(table.numbers["different"] for table in self.tables):
            found.append(
                attention(
                    f"{counted(different, 'row')} differ{'s' if different == 1 else ''}",
                    f"msisync {group} report {self.run.id}",
                )
            )
        if self.failed:
            remedy = f"msisync {group} report {self.run.id}; msisync dead-letters summary"
            found.append(attention(f"{counted(self.failed, 'record')} could not be synced", remedy))
        return found

    @property
    def exit(self) -> Exit:
        """Whether somebody should look."""
        return worst(self.findings).exit

    def as_json(self) -> dict[str, Any]:
        """Everything, in JSON's types."""
        run = self.run
        found: dict[str, Any] = json_types(
            {
                "run": run.id,
                "kind": run.kind,
                "state": run.state,
                "reason": run.reason or None,
                "started": run.started_at,
                "ended": run.ended_at,
                "worked_on": run.carried_at,
                "waits_for": run.waits_for or None,
                "waits_until": run.waits_until,
                "records_per_second": self.rate and round(self.rate, 1),
                "expected_end": self.expected_end,
                "scope": run.scope,
                "stuck": self.stuck,
                "others": [run.id for run in self.others],
                "tables": {table.table: table.as_json() for table in self.tables},
                "attention": [{"what": each.text, "remedy": each.remedy} for each in self.findings],
            }
        )
        return found


def facts_of(run: Run, pages: Sequence[Summary], at: datetime, marketo: MarketoSettings, usage: Usage) -> RunFacts:
    """What a run, its pages and the use of Marketo's day say."""
    tables = [_table(run, name, pages) for name in run.in_order]
    rate = None if run.is_over else _rate(run, tables, pages, at)
    if run.state is not RunState.RUNNING:
        return RunFacts(run, at, tables, rate)
    facts = RunFacts(run, at, tables, rate, stuck=sum(each.counts[page.OPEN] for each in pages if _is_stuck(each, at)))
    if facts.stuck or any(table.total is None for table in tables):
        return facts
    remaining = {table.table: table.remaining for table in tables}
    if run.kind is RunKind.RECONCILE:
        calls = -(-sum(remaining.values()) // KEYS)
    else:
        fates = {table.table: table.expected() for table in tables if table.table in PERSON_TABLES}
        calls = sum(run_calls(remaining, fates)) // 2
    goes_on = max(at, run.waits_until or at)
    pace = _pace(marketo, usage if day_of(goes_on) == day_of(at) else None, rate)
    return replace(facts, expected_end=end_of(goes_on, sum(remaining.values()), calls, pace))


def _pace(marketo: MarketoSettings, today: Usage | None, rate: float | None) -> Pace:
    """How a run goes on; `today`: None on another day. A rate that was seen has Marketo's calls in it."""
    used, by_runs = (today.used_today, today.used_by_runs) if today else (0, 0.0)
    pace = Pace.of(marketo, used, run_share=marketo.run_share, app_share=marketo.daily_share, used_by_runs=by_runs)
    return replace(pace, records_per_second=rate, calls_per_second=math.inf) if rate else pace


def _table(run: Run, name: str, pages: Sequence[Summary]) -> TableFacts:
    progress = run.tables[name]
    states: Counter[str] = Counter()
    for each in pages:
        if each.table == name:
            states.update(each.counts)
    total = states.total() if progress.all_read else progress.expected
    return TableFacts(name, states, None if total is None else max(total, states.total()), progress.complete)


def _is_stuck(each: Summary, at: datetime) -> bool:
    """Whether a page's records should be out of their queue; what is sent again was not for as long as that takes."""
    return each.sent_at is not None and (each.sends > 1 or at - each.sent_at > SILENT)


def _rate(run: Run, tables: Sequence[TableFacts], pages: Sequence[Summary], at: datetime) -> float | None:
    """Records a second, by when the pages of late were sent: a run sends as fast as what it has sent is done.

    A comparison sends few or none: of that, all rows and its whole time count.
    """
    if run.kind is RunKind.RECONCILE:
        done, took = sum(table.done for table in tables), (at - run.started_at)
        return done / took.total_seconds() if done and took >= RATE_LEAST else None
    since = max(run.started_at, at - RATE_WINDOW)
    sent = [each for each in pages if each.sent_at and since <= each.sent_at <= at]
    took = at - min((each.sent_at for each in sent if each.sent_at), default=at)
    if took < RATE_LEAST:
        return None
    return sum(each.counts.total() for each in sent) / took.total_seconds()
