"""Pausing and resuming a queue, as `msisync pause` and `msisync resume` do."""

from __future__ import annotations

from functools import partial

from ...model.errors import MsiSyncError
from ..finding import Finding
from ..pause import ROUTING, said, set_status
from ..queues import ACTIVE, PAUSED, QUEUES, resume_line
from .jobs import Job
from .page import Action, Lead, Plan, Visit

_NAMES = {design.setting: design.name for design in QUEUES if design.setting != "dead_letters"}
_KEEPS = "Changes keep queueing, and nothing is lost."
_DRAINS = "Running instances go on within seconds, with what has waited first."


async def _plan(visit: Visit, *, status: str) -> Plan:
    setting = visit.word("queue")
    if setting not in _NAMES:
        raise MsiSyncError("NoSuchQueue", "the address names no queue that can be paused")
    name = visit.context.settings.queues.of(setting)
    word = "Pause" if status == PAUSED else "Resume"
    details = [_KEEPS if status == PAUSED else _DRAINS]
    if status == PAUSED and setting != ROUTING:
        details.append("While parents are paused, their children are parked.")
    return Plan(f"{word} {name}", partial(_do, visit, setting, status), details, [("queue", setting)])


async def _do(visit: Visit, setting: str, status: str, job: Job) -> Finding:
    (change,) = await set_status(visit.context, [setting], status)
    job.advance(1, 1)
    severity, text = said(change, status)
    return Finding(severity, f"{change.queue}: {text}")


PAUSE = Action("/queues/pause", "/", partial(_plan, status=PAUSED))
RESUME = Action("/queues/resume", "/", partial(_plan, status=ACTIVE))
ACTIONS = (PAUSE, RESUME)


def lead(remedy: str) -> Lead | None:
    """The link for a remedy that ends a pause."""
    found = (setting for setting in _NAMES if resume_line(setting) == remedy)
    return next((Lead(f"{RESUME.path}?queue={setting}", "Resume…") for setting in found), None)
