"""Long runs: what one would do, its start, how far it is, and its report; as `msisync initial-sync` has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, cast
from urllib.parse import urlencode

from ...model.errors import MsiSyncError, StorageUnavailableError
from ...model.ids_and_times import moment
from ...sync.history import Event
from ...sync.runs.model import Run, RunKind, Scope, in_order
from ..command import Exit
from ..context import Context, not_told
from ..finding import Finding, Severity, attention, counted, ok
from ..initial_sync import report as initial_sync
from ..initial_sync import start, status
from ..initial_sync.look import SAMPLE
from ..initial_sync.plan import COLUMNS, Plan, cells, plan_of
from ..initial_sync.report import csv_of, json_of, reasons_of
from ..initial_sync.steer import STEERS, steers
from ..output import Console
from ..progress import so_far
from ..reconcile import report as differences
from ..runs import group_of, title
from . import acts, page
from .jobs import Job
from .page import Action, Download, Lead, Page, View, Visit, leads

PATH = "/runs"
REPORT = f"{PATH}/report"
#: Seconds in which a run, its report and a plan are not looked for again: a plan reads all rows of the tables.
RUN_SECONDS, REPORT_SECONDS, PLAN_SECONDS = 3.0, 60.0, 900.0
#: Runs that are listed.
LISTED = 20
#: The fields of the form that says which rows are meant, beside its tables.
_FIELDS = ("query", "created_since", "changed_since", "whole")


@dataclass
class Planning:
    """Makes a plan; `progress` has what has been done so far."""

    context: Context
    scope: Scope
    sample: int | None
    progress: Console = field(default_factory=lambda: Console(quiet=True))

    async def __call__(self) -> Plan:
        """Read both systems."""
        self.progress = Console(quiet=True)
        return await plan_of(self.context, self.scope, self.progress, sample=self.sample)

    @property
    def so_far(self) -> list[str]:
        """How far it is, one line for each table."""
        return [str(steps) for steps in so_far(self.progress) if steps.count]


async def show(visit: Visit) -> View:
    """The runs, one of them in full, and what another one would do. Raises StorageUnavailableError."""
    runs = (await visit.context.runs.all())[:LISTED]
    values: dict[str, Any] = {
        "runs": [(run, title(run, datetime.now(run.started_at.tzinfo))) for run in runs],
        **await _one(visit, runs),
        **await _planned(visit),
        "steers": STEER_PATHS,
        "report": REPORT,
        "tables": in_order(list(visit.context.config.tables)),
    }
    return View("runs.html", values)


async def _one(visit: Visit, runs: Sequence[Run]) -> dict[str, Any]:
    """The run that is named, else the one that goes on, else the newest."""
    named = visit.word("run")
    going_on = [run for run in runs if not run.is_over]
    run = next((run for run in (runs if named else going_on or runs) if not named or run.id == named), None)
    if run is None:
        return {"facts": None, "lines": [], "reasons": None, "wants_report": False, "acts": []}
    look = partial(status.look, visit.context, run.id)
    facts = await visit.looks.of(("run", run.id), look, fresh=RUN_SECONDS).now()
    wants = visit.word("report") == "1"
    read = partial(reasons_of, visit.context.runs, run.id)
    reasons = await visit.looks.of(("report", run.id), read, fresh=REPORT_SECONDS).now() if wants else None
    lines = list(status.lines_of(facts)) if facts else []
    return {"facts": facts, "run_title": title(run, facts.at) if facts else "", "lines": lines,
            "reasons": reasons, "wants_report": wants, "acts": await _acts(visit, run)}  # fmt: skip


async def _acts(visit: Visit, run: Run) -> Sequence[Event] | None:
    """What operators did with a run, the newest first; None while that is being read."""
    try:
        past = await acts.latest(visit).now()
    except StorageUnavailableError:  # of the history alone: the run was just read
        return ()
    return [event for event in reversed(past.events) if event.run == run.id] if past else None


async def _report(visit: Visit) -> Download:
    """All rows of a run that are not in Marketo, as the command writes them. Raises MsiSyncError."""
    runs = visit.context.runs
    run = await runs.read(visit.word("run"))
    if run is None:
        raise MsiSyncError("NoSuchRun", f"no run has the id {visit.word('run')}")
    name = f"{run.kind}-{run.id}-report"
    if visit.word("as") == "json":
        return Download(f"{name}.json", "application/json", json_of(run, runs.not_in_marketo(run.id)))
    if run.kind is RunKind.RECONCILE:
        lines = csv_of(runs.differences(run.id), differences.COLUMNS, differences.row_of)
    else:
        lines = csv_of(runs.not_in_marketo(run.id), initial_sync.COLUMNS, initial_sync.row_of)
    return Download(f"{name}.csv", "text/csv", lines)


async def _planned(visit: Visit) -> dict[str, Any]:
    values: dict[str, Any] = {
        "asked": {name: visit.word(name) for name in _FIELDS},
        "only": _only(visit),
        "wants_plan": visit.word("plan") == "1",
        "wrong": "",
        "plan": None,
        "plan_so_far": [],
        "plan_columns": list(COLUMNS),
        "cells": cells,
        "start_address": "",
    }
    if not values["wants_plan"]:
        return values
    try:
        latest = _planning(visit)
    except MsiSyncError as error:
        return values | {"wrong": error.message, "wants_plan": False}
    plan = await latest.now()
    address = f"{START.path}?{urlencode(_kept(visit))}"
    return values | {"plan": plan, "plan_so_far": cast(Planning, latest.look).so_far, "start_address": address}


def _only(visit: Visit) -> list[str]:
    """The tables that are ticked, of those that sync.toml maps."""
    asked = visit.asked.getlist("only")
    return [name for name in in_order(list(visit.context.config.tables)) if name in asked]


def _kept(visit: Visit) -> list[tuple[str, str]]:
    """What was asked, for the next page."""
    return [*(("only", name) for name in _only(visit)), *((name, visit.word(name)) for name in _FIELDS)]


def _scope(visit: Visit) -> Scope:
    """The rows that are meant. Raises MsiSyncError for what cannot be meant."""
    tables = _only(visit) or in_order(list(visit.context.config.tables))
    query = visit.word("query")
    if query and len(tables) != 1:
        raise MsiSyncError("RunRefused", "a filter needs one table: tick that one alone")
    return Scope(tuple(tables), query, _since(visit, "created_since"), _since(visit, "changed_since"))


def _since(visit: Visit, name: str) -> datetime | None:
    text = visit.word(name)
    found = moment(text) if text else None
    if text and not found:
        raise MsiSyncError("RunRefused", f"{text!r} is not a day or time such as 2026-01-31 or 2026-01-31T12:00Z")
    return found


def _planning(visit: Visit) -> Any:
    """The plan of what is meant, as a look that may take minutes. Raises MsiSyncError for what cannot be meant."""
    scope, sample = _scope(visit), None if visit.word("whole") else SAMPLE
    return visit.looks.of(("plan", scope, sample), Planning(visit.context, scope, sample), fresh=PLAN_SECONDS)


async def _plan_start(visit: Visit) -> page.Plan:
    planning = _planning(visit)
    plan: Plan | None = planning.known
    back = f"{PATH}?{urlencode([*_kept(visit), ('plan', '1')])}"
    if plan is None:
        nothing = "Its plan is being made …" if planning.is_looking else "Make its plan first."
        return page.Plan("Start an initial sync", nothing=nothing, back=back, is_looking=planning.is_looking)
    is_green = plan.exit is Exit.OK
    anyway = "" if is_green else ", although its plan is not green"
    what = f"Start the initial sync of {counted(plan.records, 'record')}{anyway}"
    do = partial(_start, visit.context, _scope(visit), plan)
    return page.Plan(what, do, plan.lines(), _kept(visit), is_grave=not is_green, back=back)


async def _start(context: Context, scope: Scope, plan: Plan, job: Job) -> Finding:
    expected = {each.table: each.rows for each in plan.tables}
    run, why_not = await start.create(context, RunKind.INITIAL_SYNC, scope, expected)
    job.back = f"{PATH}?{urlencode({'run': run.id})}"
    text = f"{run.kind} {run.id} is started: the app takes it up within a minute, and needs nobody."
    return attention(f"{text} {not_told(why_not)}", "") if why_not else ok(text)


async def _plan_steer(visit: Visit, *, word: str) -> page.Plan:
    run = await visit.context.runs.read(visit.word("run"))
    if run is None:
        return page.Plan(f"{word.capitalize()} a run", nothing="The address names no run.")
    back = f"{PATH}?{urlencode({'run': run.id})}"
    name = f"{word.capitalize()} {run.kind} {run.id}"
    if run.is_over:
        return page.Plan(name, nothing=f"It is {run.state} already.", back=back)
    details = {
        "pause": ["Nothing more is sent until it is resumed. What is in the queues already is synced all the same."],
        "resume": ["It goes on where it was, within a minute."],
        "cancel": ["Nothing more is sent, and it cannot be resumed. What it has synced stays in Marketo."],
    }[word]
    do = partial(_steer, visit, run, word)
    return page.Plan(name, do, details, [("run", run.id)], is_grave=word == "cancel", back=back)


async def _steer(visit: Visit, run: Run, word: str, _: Job) -> Finding:
    changed = await STEERS[word].apply(visit.context, run)
    visit.looks.outdate(("run", run.id))
    done = steers(group_of(changed))[word].done
    return Finding(Severity.OK, f"{changed.kind} {changed.id}: {done.format(run=changed.id)}")


START = Action("/runs/start", PATH, _plan_start)
STEER_ACTIONS = {word: Action(f"{PATH}/{word}", PATH, partial(_plan_steer, word=word)) for word in STEERS}
STEER_PATHS = {word: action.path for word, action in STEER_ACTIONS.items()}
PAGE = Page(
    PATH, "Runs", show, (START, *STEER_ACTIONS.values()), ((REPORT, _report),),
    lead=leads(Lead(PATH, "Runs"), "msisync initial-sync"),
)  # fmt: skip
