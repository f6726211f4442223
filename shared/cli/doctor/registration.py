"""Checks of what is registered in Dynamics: the plan of `msisync register` must be empty; no post has failed lately."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ...dataverse.client import API
from ...model.codes import Kind
from ...model.entities import REFERENCE_TABLES
from ...model.errors import DataverseError
from ...sync.dependants import deciding_tables
from ..finding import Finding, attention, failed, ok
from ..register.plan import Action, Repairs, plan
from ..register.rows import read_endpoints
from ..register.wanted import (
    NAME,
    WEBHOOK,
    Endpoint,
    Step,
    Target,
    place,
    places_of,
    queue_values,
    wanted,
)
from .fields import columns, columns_of
from .runner import Check, Subject

GROUP = "Registration in Dynamics"
#: Days that failed system jobs are looked for.
DAYS = 7
_MESSAGE = 300
_SECRET = re.compile(r"(?i)\b(sig|sharedaccesskey|saskey|code)=[^&;,\s]+")
#: Dataverse: asyncoperation.statuscode of a job that has failed, and of one that will try again (dataverse.md 5.2).
_FAILED, _WAITING = 31, 10
#: Waiting jobs that are looked at.
_SOME = 50


def _target(subject: Subject, endpoints: Iterable[Endpoint]) -> Target:
    """The webhook where that is what posts to us, else the queue."""
    settings = subject.context.settings
    places = places_of(settings)
    here = [endpoint for endpoint in endpoints if endpoint.place in places]
    if here and all(endpoint.values.get("contract") == WEBHOOK for endpoint in here):
        return Target({"contract": WEBHOOK, "authtype": 4, "url": here[0].values.get("url")})
    # Which policy it posts with is left open: whether that works shows in the system jobs.
    queues = sorted(p for p in places if p.startswith("sb://"))
    chosen = next((endpoint.place for endpoint in here if endpoint.place in queues), queues[0])
    host = chosen.removeprefix("sb://").partition("/")[0]
    values = queue_values(host, settings.queues.changes)
    return Target({name: value for name, value in values.items() if name != "solutionnamespace"})


async def _plan(subject: Subject) -> Repairs:
    context, config = subject.context, subject.context.config
    places = places_of(context.settings)
    endpoints = await subject.once("endpoints", lambda: read_endpoints(context.dataverse, NAME, places))
    found = await columns_of(subject, [*config.tables, *deciding_tables(config)])
    present = {table: known.values() for table, known in found.items()}
    needed = wanted(config, present, _target(subject, endpoints), places=places)
    return plan(needed, endpoints)


def _remedy(found: Repairs) -> str:
    webhook = " --webhook" if found.endpoint and found.endpoint.values.get("contract") == WEBHOOK else ""
    return f"msisync register{webhook} shows what it would write, msisync register{webhook} --apply fixes it"


def _lines(actions: Iterable[Action]) -> list[str]:
    return [f"{action.what}: {action.why}" for action in actions]


async def _endpoint(subject: Subject) -> Finding:
    try:
        found = await _plan(subject)
    except DataverseError as error:
        if error.kind not in (Kind.CONFIGURATION, Kind.PERMANENT):
            raise
        return attention(
            f"it cannot be seen ({error.code})",
            "sign in as a user that may read service endpoints and SDK message processing steps to check it; the sync "
            "itself does not need that",
            [error.message],
            blocks=True,
        )
    wrong = [a for a in found.actions if a.kind == "endpoint" and a.verb != "delete"]
    if wrong:
        return failed("changes do not come from Dynamics", _remedy(found), _lines(wrong))
    name = found.endpoint.name if found.endpoint else ""
    return ok(f"{name} posts JSON to {place(found.endpoint.values) if found.endpoint else ''}")


async def _steps(subject: Subject) -> Finding:
    found = await _plan(subject)
    steps = found.endpoint.steps if found.endpoint else ()
    of_steps = [action for action in found.actions if action.kind != "endpoint" and not _is_superfluous(action)]
    wrong = [action for action in of_steps if not await _is_idle(subject, action, steps)]
    if wrong and all(action.key[0] in REFERENCE_TABLES for action in wrong):
        text = "changes of teams or roles do not come: what they decide about is right only at its own next change"
        return attention(text, _remedy(found), _lines(wrong))
    if wrong and all(action.kind == "image" for action in wrong):
        text = "roles that are deleted or moved in Dynamics may stay in Marketo"
        return attention(text, _remedy(found), _lines(wrong))
    if wrong:
        missing = any(a.verb in ("create", "enable") for a in wrong)
        text = "changes of some rows do not come" if missing else "some steps are not as they must be"
        return failed(text, _remedy(found), _lines(wrong))
    return ok(f"{len(steps)} enabled, with the right columns")


async def _is_idle(subject: Subject, action: Action, steps: Iterable[Step]) -> bool:
    """Whether an update would only take columns away that are gone or cannot be read: they never fire a step."""
    if action.values.keys() != {"filteringattributes"}:
        return False
    step = next(step for step in steps if step.id == action.id)
    present, needed = (
        set(str(values.get("filteringattributes") or "").split(",")) for values in (step.values, action.values)
    )
    there = {name for name, column in (await columns(subject, step.table)).items() if column.readable}
    return needed <= present and not (present - needed) & there and "" not in present


def _is_superfluous(action: Action) -> bool:
    return action.verb == "delete" and (action.kind != "image" or action.why != "not the one that is needed")


async def _once_each(subject: Subject) -> Finding:
    found = await _plan(subject)
    lines = [*_lines(a for a in found.actions if _is_superfluous(a)), *found.attention]
    if lines:
        return attention("some changes are posted twice, or for nothing", _remedy(found), lines)
    return ok()


async def _jobs(subject: Subject) -> Finding:
    found = await _plan(subject)
    steps = found.endpoint.steps if found.endpoint else ()
    since = (datetime.now(UTC) - timedelta(days=DAYS)).strftime("%Y-%m-%dT%H:%M:%SZ")
    ours = " or ".join(f"_owningextensionid_value eq {step.id}" for step in steps)
    if not ours:
        return ok("there are no steps")

    async def jobs(status: int, most: int) -> Any:
        return await subject.context.dataverse.get(
            f"{API}/asyncoperations?$select=friendlymessage,message,retrycount,createdon&$count=true&$top={most}"
            f"&$orderby=createdon desc&$filter=statuscode eq {status} and createdon ge {since} and ({ours})"
        )

    lost = await jobs(_FAILED, 1)
    late = [job for job in (await jobs(_WAITING, _SOME))["value"] if _said(job) or job.get("retrycount")]
    if not lost["value"] and not late:
        return ok(f"none has failed in the last {DAYS} days")
    key = "see the newest message; a wrong key is fixed by msisync register --new-key --apply"
    if not lost["value"]:
        count = f"{len(late)} or more" if len(late) == _SOME else str(len(late))
        return attention(
            f"{count} could not post and will try again: their changes come late, or at last not at all",
            f"{key}. Dynamics continues automatically then",
            [_line(late[0])],
        )
    count = str(lost.get("@odata.count", 1))
    return attention(
        f"{count} failed in the last {DAYS} days: their changes have not come",
        f"{key}. Save those rows again in Dynamics once it is fixed",
        [_line(lost["value"][0]), *([f"waiting to try again: {_line(late[0])}"] if late else [])],
    )


def _said(job: Mapping[str, Any]) -> str:
    message = _SECRET.sub(r"\1=…", str(job.get("message") or job.get("friendlymessage") or ""))
    return " ".join(message.split())[:_MESSAGE]


def _line(job: Mapping[str, Any]) -> str:
    return f"{job.get('createdon')}: {_said(job)}"


_NEEDS = ("endpoint",)
CHECKS = (
    Check("endpoint", GROUP, "Service endpoint", _endpoint, needs=("dynamics-read",)),
    Check("steps", GROUP, "Steps", _steps, needs=_NEEDS),
    Check("posted-once", GROUP, "Posted once", _once_each, needs=_NEEDS),
    Check("system-jobs", GROUP, "System jobs", _jobs, needs=_NEEDS),
)
