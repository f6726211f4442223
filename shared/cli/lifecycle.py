"""`msisync lifecycle release`: lets go the deletions that the brake has stopped, and lifts the brake."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from ..model.entities import ENTITIES
from ..sync.delete_brake import CODE, KIND
from .command import Command, Exit, Result, option, options
from .context import Context
from .dead_letters.command import APPLYING
from .dead_letters.look import filters
from .dead_letters.replay import replay
from .entity_words import as_entity
from .output import say
from .remedies import RELEASE
from .status.facts import braked

_MORE = """\
The brake stops deletions of an entity when more than delete_brake of sync.toml are carried out within an hour. What it
has stopped lies in dead-letters (DeleteBrake). This sends it on, and lifts the brake: rows are read again, so what was
restored in Dynamics meanwhile is synced, and not deleted. If they were not to be deleted, restore them first, or
discard the dead letters.

Nothing is sent until --apply. Exit codes: 0 released, or nothing to release; 1 a dry run with something to do, or some
were left out and the brake stays on; 2 some failed.
Next: msisync status --watch"""


async def release(context: Context, given: Namespace, progress: Console) -> Result:
    """Replay what the brake has stopped, then lift it. Raises MsiSyncError when the broker or storage do not answer."""
    brake = await context.state.read(KIND, given.entity)
    wanted = filters("--entity", given.entity, "--code", CODE, apply=given.apply, max=given.max, again=True)
    replayed = await replay(context, wanted, progress, confirms=True)
    is_on = bool(brake.get("on"))
    lifted = is_on and given.apply and replayed.exit is Exit.OK
    if lifted:
        await context.state.remove(KIND, given.entity)
    shown = {key: brake.get(key) for key in ("on", "limit", "stopped")} if is_on else None
    data = {**replayed.data, "entity": given.entity, "brake": shown, "lifted": lifted}
    found = replayed.exit
    if found is Exit.OK and is_on and not lifted:
        found = Exit.ATTENTION

    def show(console: Console) -> None:
        say(console, _said(given.entity, brake, lifted=lifted), "green" if lifted or not is_on else "yellow")
        replayed.show(console)
        if is_on and not given.apply and not replayed.data["selected"]:
            say(console, f"To lift the brake: {RELEASE} {given.entity} --apply")

    return Result(found, data, show)


def _said(entity: str, brake: Mapping[str, Any], *, lifted: bool) -> str:
    if not brake.get("on"):
        return f"The brake on deletions of {entity} is not on."
    return f"The brake on deletions of {entity} is lifted." if lifted else f"{braked(entity, brake)}."


_ARGUMENTS = options(option("entity", type=as_entity, choices=list(ENTITIES), help="one of the five"), APPLYING)
COMMAND = Command("lifecycle release", "send on the deletions that the brake has stopped", _MORE, release, _ARGUMENTS)
