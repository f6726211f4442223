"""`msisync initial-sync start`: has the app bring all existing rows to Marketo, if the plan is green."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from rich.console import Console

from ...sync.history import What
from ...sync.runs.model import Run, RunKind, Scope, new_run
from ..command import Command, Exit, Result, option, options
from ..context import Context, not_told, renew
from ..invocation import again
from ..operator import did_at_large, operator
from ..output import say
from ..preview import about
from .plan import ASKED, Plan, make
from .scope import SCOPE, scope_of, tables_in

_MORE = """\
Makes the plan (see msisync initial-sync plan) and shows it. With --apply, and if the plan is green, the app begins
within a minute: it reads the rows, parents first, and sends them to the queues, a few hundred at a time, so that
changes in Dynamics are not held up. It goes on when this command has ended and this machine is off, uses at most
RUN_DAILY_SHARE of Marketo's day, and then waits for midnight.

With --anyway no plan is made. A table that another run has is refused.

Exit codes: 0 started, or a green plan; 1 something in the plan needs attention, and nothing was started; 2 something in
it does not work, or the run could not be started.
Next: msisync initial-sync status --watch
Undo: msisync initial-sync cancel"""


async def run(context: Context, given: Namespace, progress: Console) -> Result:
    """Start, or show the plan. Raises MsiSyncError, RunRefusedError among them, when it cannot be started."""
    if given.anyway and not given.apply:
        given.refuse("--anyway needs --apply")
    tables = tables_in(context, given)
    scope = scope_of(tables, given)
    plan = None if given.anyway else await make(context, given, progress)
    if plan and (plan.exit is not Exit.OK or not given.apply):
        return Result(plan.exit, {"started": None, "plan": plan.as_json()}, lambda console: _show_plan(console, plan))
    is_whole = scope == Scope(tuple(tables))
    expected = await counted_rows(context, tables) if is_whole and not plan else {}
    if plan:
        expected = {each.table: each.rows for each in plan.tables}
    return await begun(context, RunKind.INITIAL_SYNC, scope, expected, plan=plan)


async def begun(
    context: Context, kind: RunKind, scope: Scope, expected: Mapping[str, int], *, plan: Plan | None = None
) -> Result:
    """Store a new run, which the app takes up. Raises RunRefusedError while another has one of its tables."""
    new, why_not = await create(context, kind, scope, expected)
    data: dict[str, Any] = {"started": new.id, "announced": not why_not, **({"plan": plan.as_json()} if plan else {})}
    return Result(Exit.OK, data, lambda console: _show(console, new, plan, why_not))


async def create(context: Context, kind: RunKind, scope: Scope, expected: Mapping[str, int]) -> tuple[Run, str]:
    """Store a new run, and keep in the history who did. Gives it, and why the app could not be told to read anew.

    Raises as `begun` does.
    """
    new = new_run(kind, scope, datetime.now(UTC), unique=uuid4().hex, started_by=operator(), expected=expected)
    await context.runs.create(new)
    did_at_large(context, What.RUN_STARTED, run=new.id, kind=kind.value, tables=list(scope.tables))
    await context.history.written()
    return new, await renew(context, "rows", "schema")


async def counted_rows(context: Context, tables: Sequence[str]) -> dict[str, int]:
    """About how many rows the tables have, for the bars of `status`; nothing of one of which Dynamics does not say."""
    return {table: count for table in tables if (count := await about(context, table)) is not None}


def _show_plan(console: Console, plan: Plan) -> None:
    plan.show(console)
    if plan.exit is Exit.OK:
        say(console, f"Nothing was started. To start: {again('--apply')}")
    else:
        all_the_same = again("--apply", "--anyway")
        say(console, f"Nothing was started: the plan is not green. To start all the same: {all_the_same}", "yellow")


def _show(console: Console, new: Run, plan: Plan | None, why_not: str) -> None:
    if plan:
        plan.show(console)
    say(console, f"{new.kind} {new.id} is started: the app takes it up within a minute, and needs nobody.", "green")
    say(console, f"To see it: msisync initial-sync status {new.id} --watch")
    if why_not:
        say(console, not_told(why_not), "yellow")


COMMAND = Command(
    "initial-sync start",
    "have the app bring all existing rows to Marketo",
    _MORE,
    run,
    options(
        SCOPE,
        ASKED,
        option("--apply", action="store_true", help="start the run, if the plan is green"),
        option("--anyway", action="store_true", help="with --apply: start without a plan"),
    ),
)
