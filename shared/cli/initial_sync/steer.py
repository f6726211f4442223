"""`msisync initial-sync pause`, `resume` and `cancel`: what the app is to do with a run from its next look on."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from ...sync.runs.model import Run, RunState
from ...sync.runs.store import Runs
from ..command import Command, Exit, Result
from ..context import Context
from ..operator import operator
from ..output import say
from ..runs import RUN, runs_of, to_change

_PAUSE = """\
Nothing more is sent until msisync initial-sync resume. What is in the queues already is synced all the same. Changes
in Dynamics are synced as always; to stop those too, use msisync pause.

Exit codes: 0 paused; 2 there is no such run, it is over, several are going on and none is named, or storage does not
answer.
Undo: msisync initial-sync resume"""
_RESUME = """\
The run goes on where it was, within a minute.

Exit codes: 0 it goes on; 2 there is no such run, it is over, several are paused and none is named, or storage does not
answer.
Next: msisync initial-sync status --watch"""
_CANCEL = """\
Nothing more is sent, and the run cannot be resumed. What it has synced stays in Marketo; what is in the queues already
is synced all the same. A new run begins at the start: rows that Marketo has are updated, and nothing is doubled.

Exit codes: 0 cancelled; 2 there is no such run, it is over, several are not and none is named, or storage does not
answer.
Next: msisync initial-sync report; msisync initial-sync start"""


@dataclass(frozen=True, slots=True)
class Steer:
    """One change of a run: what it does, what is said of `{run}` when it is done, and which states it is for."""

    change: Callable[[Runs, Run], Awaitable[Run]]
    done: str
    states: Collection[RunState]


async def run(context: Context, given: Namespace, _: Console, *, steer: Steer) -> Result:
    """Change the run. Raises MsiSyncError when there is none that can be changed so, or storage does not answer."""
    runs = runs_of(context)
    changed = await steer.change(runs, await to_change(runs, given, steer.states))
    data = {"run": changed.id, "kind": changed.kind, "state": changed.state}
    text = f"{changed.kind} {changed.id}: {steer.done.format(run=changed.id)}"
    return Result(Exit.OK, data, lambda console: say(console, text, "green"))


async def _pause(runs: Runs, found: Run) -> Run:
    return await runs.pause(found.id)


async def _resume(runs: Runs, found: Run) -> Run:
    return await runs.resume(found.id)


async def _cancel(runs: Runs, found: Run) -> Run:
    return await runs.cancel(found.id, f"by {operator()}")


STEERS = {
    "pause": Steer(_pause, "paused. To go on: msisync initial-sync resume {run}", {RunState.RUNNING}),
    "resume": Steer(
        _resume, "goes on within a minute. To see it: msisync initial-sync status {run} --watch", {RunState.PAUSED}
    ),
    "cancel": Steer(
        _cancel, "cancelled. What it has done: msisync initial-sync report {run}", {RunState.RUNNING, RunState.PAUSED}
    ),
}


COMMANDS = (
    Command(
        "initial-sync pause", "have a run send nothing more for the time being", _PAUSE,
        partial(run, steer=STEERS["pause"]), RUN,
    ),
    Command(
        "initial-sync resume", "have a paused run go on", _RESUME,
        partial(run, steer=STEERS["resume"]), RUN,
    ),
    Command(
        "initial-sync cancel", "end a run early", _CANCEL,
        partial(run, steer=STEERS["cancel"]), RUN,
    ),
)  # fmt: skip
