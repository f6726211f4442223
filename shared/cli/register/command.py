"""`msisync register` and `unregister`: the service endpoint and the steps in Dynamics that post changes to this app."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from ...model.errors import ConfigurationError, DataverseError
from ...sync.runs.synced_fields import Unsynced
from ..command import Command, Exit, Result, option, options
from ..context import Context, renew
from ..fields import unsynced
from ..invocation import again
from ..output import say
from ..progress import steps
from .plan import Action, Repairs, plan, plan_removal
from .rows import Writer, read_columns, read_endpoints
from .wanted import NAME, Endpoint, Wanted, places_of, queue_target, wanted, webhook_target

_ROLE = (
    "the user that signs in needs the role System Customizer or System Administrator in this environment (Power "
    "Platform admin center, Environments, Settings, Users); or let an administrator run this command"
)
#: Dataverse: a privilege is missing in the role; no right on the row (dataverse.md 5.3).
_FORBIDDEN = ("0x80040220", "0x80048306")
_SOLUTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MARKS = {"create": "+", "update": "~", "enable": "~", "delete": "-"}


def _solution(given: str) -> str:
    if not _SOLUTION.fullmatch(given):
        raise ArgumentTypeError("a solution's unique name has letters, digits and _ only")
    return given


async def register(context: Context, given: Namespace, progress: Console) -> Result:
    """Compare, and with `--apply` write. Raises DataverseError that tells what was done when Dataverse refuses."""
    needed = await _wanted(context, given)
    endpoints = await _endpoints(context, needed.name, needed.places)
    found = plan(needed, endpoints, new_key=given.new_key)
    new = await unsynced.look(context)
    if not given.apply:
        return _result(needed.name, found, needed, new=new)
    await _carry_out(found.actions, Writer(context.dataverse, needed.target, solution=given.solution), progress)
    await renew(context, "schema", "rows")  # who registers has changed the mapping, or Dynamics
    after = plan(needed, await _endpoints(context, needed.name, needed.places))
    return _result(needed.name, found, needed, after, new=new)


async def _wanted(context: Context, given: Namespace) -> Wanted:
    settings = context.settings
    if given.webhook:
        target = webhook_target(settings.registration.webhook_url, settings.registration.webhook_key)
    else:
        target = queue_target(settings.registration.send_connection, settings.queues.changes)
    if not context.config.tables:
        raise ConfigurationError(
            "NothingMapped", f"{settings.sync.config} maps no table; add [account.fields] and so on"
        )
    columns = await read_columns(context.config, context.metadata)
    return wanted(context.config, columns, target, name=given.name, places=places_of(settings))


async def _endpoints(context: Context, name: str, places: frozenset[str]) -> list[Endpoint]:
    try:
        return await read_endpoints(context.dataverse, name, places)
    except DataverseError as error:
        raise _explained(error, "what is registered could not be read") from None


async def unregister(context: Context, given: Namespace, progress: Console) -> Result:
    """Take away what `register` has made. Raises as it does."""
    places = places_of(context.settings)
    found = plan_removal(given.name, places, await _endpoints(context, given.name, places))
    if not given.apply:
        return _result(given.name, found)
    await _carry_out(found.actions, Writer(context.dataverse, None), progress)
    after = plan_removal(given.name, places, await _endpoints(context, given.name, places))
    return _result(given.name, found, after=after)


async def _carry_out(actions: Sequence[Action], writer: Writer, progress: Console) -> None:
    try:
        await writer.prepare(actions)
    except DataverseError as error:
        raise _explained(error, "nothing has been written") from None
    done = steps(progress, "written", len(actions))
    for number, action in enumerate(actions, 1):
        try:
            await writer.write(action)
        except DataverseError as error:
            before = ", ".join(f"{each.verb} {each.what}" for each in actions[: number - 1]) or "nothing"
            doing = f"{action.verb} {action.what} failed; done before it: {before}"
            raise _explained(error, f"{doing}. When it is fixed, run the same command again") from None
        done.count = number
        progress.print(f"{number}/{len(actions)} {action.verb} {action.what}: done", markup=False)


def _explained(error: DataverseError, doing: str) -> DataverseError:
    """The same error, with what was being done and which role is missing."""
    parts = [error.message.rstrip("."), *([_ROLE] if error.code in _FORBIDDEN else []), doing]
    if error.request_id:
        parts.append(f"Microsoft's support asks for request {error.request_id}")
    return DataverseError(
        error.code, ". ".join(parts), kind=error.kind, retry_after=error.retry_after, request_id=error.request_id
    )


def _result(
    name: str,
    found: Repairs,
    needed: Wanted | None = None,
    after: Repairs | None = None,
    *,
    new: Sequence[Unsynced] = (),
) -> Result:
    """What is to be done; with `after`, what was done, and what is still to be done then. `new`: fields to be sent."""
    remaining = after.actions if after else ()
    attention = (after or found).attention
    data = {
        "name": found.endpoint.name if found.endpoint else name,
        "posts_to": needed.target.place if needed else None,
        "applied": after is not None,
        "actions": [_as_json(action) for action in found.actions],
        "remaining": [_as_json(action) for action in remaining],
        "attention": list(attention),
        "not_synced_yet": unsynced.as_json(new),
        "left_out": [{"table": table, "column": column} for table, column in (needed.left_out if needed else ())],
    }
    todo = remaining if after else found.actions

    def show(console: Console) -> None:
        _show(console, data)
        unsynced.show(console, new)

    return Result(Exit.ATTENTION if todo or attention else Exit.OK, data, show)


def _as_json(action: Action) -> dict[str, Any]:
    table, message = action.key
    return {
        "action": action.verb,
        "component": action.kind,
        "table": table,
        "message": message,
        "what": action.what,
        "why": action.why,
        "values": dict(action.values),  # the secret is not among them
    }


def _show(console: Console, data: Mapping[str, Any]) -> None:
    actions, applied = data["actions"], data["applied"]
    for action in () if applied else actions:
        say(console, f"{_MARKS[action['action']]} {action['action']} {action['what']}: {action['why']}")
    for action in data["remaining"]:
        say(console, f"! {action['what']} is still not as written: {action['why']}", "yellow")
    for text in data["attention"]:
        say(console, f"! {text}", "yellow")
    for left_out in data["left_out"]:
        column = f"{left_out['table']} has no column {left_out['column']} in Dynamics"
        say(console, f"  {column}: left out; see msisync fields check")
    if actions and applied:
        say(console, f"{len(actions)} written.", "green")
    elif actions:
        changes = "this change" if len(actions) == 1 else f"these {len(actions)} changes"
        say(console, f"Nothing has been written. To write {changes}: {again('--apply')}")
    else:
        registered = f"{data['name']} posts to {data['posts_to']}, and every step is right"
        missing = f"nothing named {data['name']} is registered"
        state = registered if data["posts_to"] else missing
        say(console, f"Nothing to do: {state}.", "yellow" if data["attention"] else "green")


_APPLY = option("--apply", action="store_true", help="write to Dynamics; without it nothing is written")
_NAME = option("--name", default=NAME, help="name of the service endpoint; default %(default)s")
REGISTER = Command(
    "register",
    "have Dynamics post its changes: create or repair the service endpoint and the steps",
    "Shows what is to be done and writes nothing until --apply. Exit code 1: something is to be done.\n"
    "Run it again after changes of sync.toml and after a solution import (which takes the key away), and with\n"
    "--new-key after a change of the key. Then: msisync doctor",
    register,
    options(
        _APPLY,
        _NAME,
        option("--webhook", action="store_true", help="post to WEBHOOK_URL instead of the queue"),
        option("--new-key", action="store_true", help="write the endpoint's key again, though one is set"),
        option("--solution", type=_solution, metavar="NAME", help="unique name of the solution to add them to"),
    ),
)
UNREGISTER = Command(
    "unregister",
    "take the service endpoint and its steps away from Dynamics again",
    "Shows what is to be done and writes nothing until --apply. Changes made while nothing is registered are not\n"
    "posted later.",
    unregister,
    options(_APPLY, _NAME),
)
