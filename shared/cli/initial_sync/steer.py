"""`pause`, `resume` and `cancel` of the initial sync and of `reconcile`: what the app is to do with a run now."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from ...sync.history import What
from ...sync.runs.model import Run, RunState
from ..command import Command, Exit, Result
from ..context import Context
from ..operator import did_at_large, operator
from ..output import say
from ..runs import INITIAL_SYNC, RUN, to_change

_PAUSE = """\
Nothing more is sent until msisync {group} resume. What is in the queues already is synced all the same. Changes
in Dynamics are synced as always; to stop those too, use msisync pause.

Exit codes: 0 paused; 2 there is no such run, it is over, several are going on and none is named, or storage does not
answer.
Undo: msisync {group} resume"""
_RESUME = """\
The run goes on where it was, within a minute.

Exit codes: 0 it goes on; 2 there is no such run, it is over, several are paused and none is named, or storage does not
answer.
Next: msisync {group} status --watch"""
_CANCEL = """\
Nothing more is sent, and the run cannot be resumed. What it has synced stays in Marketo; what is in the queues already
is synced all the same. A new run begins at the start: rows that Marketo has are updated, and nothing is doubled.

Exit codes: 0 cancelled; 2 there is no such run, it is over, several are not and none is named, or storage does not
answer.
Next: msisync {group} report; msisync {group} start"""


@dataclass(frozen=True, slots=True)
class Steer:
    """One change of a run: the state that it leads to, how the history calls that, what is said of `{run}` when it is
    done, and which states it is for.
    """

    state: RunState
    what: What
    done: str
    states: Collection[RunState]

    async def apply(self, context: Context, found: Run) -> Run:
        """Change the run, and keep in the history who did. Raises RunRefusedError and StorageUnavailableError."""
        reason = f"by {operator()}" if self.state is RunState.CANCELLED else ""
        changed = await context.runs.to(found.id, self.state, reason)
        if changed.state is not found.state:
            did_at_large(context, self.what, run=changed.id, kind=changed.kind.value)
            await context.history.written()
        return changed


async def run(context: Context, given: Namespace, _: Console, *, steer: Steer, group: str = INITIAL_SYNC) -> Result:
    """Change the run. Raises MsiSyncError when there is none that can be changed so, or storage does not answer."""
    changed = await steer.apply(context, await to_change(context.runs, given, steer.states, group))
    data = {"run": changed.id, "kind": changed.kind, "state": changed.state}
    text = f"{changed.kind} {changed.id}: {steer.done.format(run=changed.id)}"
    return Result(Exit.OK, data, lambda console: say(console, text, "green"))


def steers(group: str) -> dict[str, Steer]:
    """The changes, as this group of commands speaks of them."""
    going_on, over = f"To see it: msisync {group} status {{run}} --watch", f"msisync {group} report {{run}}"
    paused, goes_on = f"paused. To go on: msisync {group} resume {{run}}", f"goes on within a minute. {going_on}"
    cancelled = f"cancelled. What it has done: {over}"
    return {
        "pause": Steer(RunState.PAUSED, What.RUN_PAUSED, paused, {RunState.RUNNING}),
        "resume": Steer(RunState.RUNNING, What.RUN_RESUMED, goes_on, {RunState.PAUSED}),
        "cancel": Steer(RunState.CANCELLED, What.RUN_CANCELLED, cancelled, {RunState.RUNNING, RunState.PAUSED}),
    }


def commands(group: str) -> tuple[Command, ...]:
    """The three commands of a group."""
    words = {
        "pause": ("have a run send nothing more for the time being", _PAUSE),
        "resume": ("have a paused run go on", _RESUME),
        "cancel": ("end a run early", _CANCEL),
    }
    return tuple(
        Command(
            f"{group} {word}", help_, more.format(group=group),
            partial(run, steer=steers(group)[word], group=group), RUN,
        )
        for word, (help_, more) in words.items()
    )  # fmt: skip


STEERS = steers(INITIAL_SYNC)
