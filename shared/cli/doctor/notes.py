"""Checks of what the app notes in storage: that it runs, the brake on deletions, rows that it cannot see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from ...azure.table import Table
from ...config.sync_toml import LifecyclePolicy
from ...config.version import deployed
from ...model.clock import AHEAD
from ...model.entities import ENTITIES
from ...model.ids_and_times import moment
from ...sync.delete_brake import KIND as BRAKES
from ...sync.heartbeat import KIND, LATE_LEAST, TIMER, Beat, beat_of, interval, silence
from ...sync.reference_state import HIDDEN
from ..finding import Finding, age, attention, failed, ok
from ..remedies import APP_SILENT, RELEASE
from ..status.facts import braked
from ..status.look import rows_of
from .runner import Check, Subject

#: So many notes are counted.
MOST = 1000
#: What the app has not met for so long may have been put right.
RECENT = timedelta(days=1)
_EFFECTS = {
    "systemusers": "their records keep the owner that Marketo has",
    "teams": "their records keep the owner that Marketo has",
    "connectionroles": "connections with these roles are tried again, then dead letters (RoleHidden)",
    "relationshiproles": "legacy roles of these kinds are tried again, then dead letters (RoleHidden)",
    "contacts": "what is linked to its company through them goes without it",
}


async def _alive(subject: Subject) -> Finding:
    """The minute timer's note in the shared table, against its schedule."""
    rows = await rows_of(subject.context.state, KIND)
    schedule = subject.context.environment.get("RELEASE_SCHEDULE", "")
    beat = beat_of(rows.get(TIMER, {}))
    return runs(beat, schedule, datetime.fromtimestamp(subject.clock(), UTC))


def runs(beat: Beat | None, schedule: str, now: datetime) -> Finding:
    """What a note says at this moment."""
    if beat is None:
        if interval(schedule) is None:
            return ok(f"nothing can be told: {TIMER} runs seldom (RELEASE_SCHEDULE)")
        remedy = f"deploy and start it, then ask again in a minute; else {APP_SILENT}"
        return attention(f"{TIMER} has never run here", remedy)
    if beat.at > now + AHEAD:
        return attention(
            f"{TIMER} has run in the future, {beat.at:%Y-%m-%d %H:%M} UTC",
            "set the clock of the app's machine, or of this one, right; see docs/troubleshooting.md#clocks",
        )
    silent = silence(beat, schedule, now)
    if silent:
        return failed(f"{TIMER} has not run for {age(silent)}; version {beat.version or '?'}", APP_SILENT)
    here = deployed()
    version = f"version {beat.version or '?'}" + ("" if beat.version == here else f", this msisync is {here}")
    when = "now" if now - beat.at < LATE_LEAST else f"{age(now - beat.at)} ago"
    return ok(f"{TIMER} has run {when}; {version}")


async def _deletions(subject: Subject) -> Finding:
    return brakes(await rows_of(subject.context.state, BRAKES), subject.context.config.lifecycle)


def brakes(rows: Mapping[str, Mapping[str, Any]], policy: LifecyclePolicy) -> Finding:
    """What the brake's rows say, by entity."""
    lines = {name: braked(name, row) for name, row in sorted(rows.items()) if row.get("on")}
    if lines:
        return attention(
            f"the brake is on: {', '.join(lines)}",
            f"see whether so many rows were to be deleted in Dynamics (msisync dead-letters list --code DeleteBrake); "
            f"then {'; '.join(f'{RELEASE} {name}' for name in lines)}",
            lines.values(),
        )
    said = ", ".join(f"{name} {policy.of(name)}" for name in ENTITIES)
    merges = "merged in Marketo too, which cannot be undone" if policy.merged == "merge" else policy.merged
    return ok(f"no brake is on; when a row is deleted: {said}; when persons are merged: {merges}")


async def _hidden(subject: Subject) -> Finding:
    rows = await rows_of(subject.context.state, HIDDEN)
    refused = await _refused(subject.context.parked.table)
    return hidden(rows, datetime.fromtimestamp(subject.clock(), UTC), refused)


async def _refused(table: Table) -> Counter[str]:
    """Rows whose own sync has found them hidden, by table, as far as they are noted (shared/azure/parked_rows.py)."""
    found: Counter[str] = Counter()
    async for page in table.pages("RowKey lt '0' and Code eq @code", {"code": "RowHidden"}, select=["Table"]):
        found.update(str(note["Table"]) for note in page)
        if found.total() >= MOST:
            break
    return found


def hidden(
    rows: Mapping[str, Mapping[str, Any]], now: datetime, refused: Mapping[str, int] = MappingProxyType({})
) -> Finding:
    """What the app's notes say at this moment: by entity set, see shared/sync/reference_state.py.

    `refused`: how many rows are dead letters because they are hidden, by table.
    """
    lines = [
        f"{name}: {row.get('rows')} in one read, such as {row.get('first')}: {_EFFECTS.get(name, '')}"
        for name, row in sorted(rows.items())
        if (at := moment(row.get("at"), zoned=True)) and now - at < RECENT
    ]
    lines += [
        f"{table}: {count}{' or more' if sum(refused.values()) >= MOST else ''} not synced (RowHidden); what refers to "
        "them goes without the link"
        for table, count in sorted(refused.items())
    ]
    if lines:
        return attention(
            "rows could not be seen that are to be synced, or that others refer to",
            "give the sync user's security role Read on these tables for the whole organisation: what refers to them "
            "is synced again within a quarter of an hour; replay the dead letters (RowHidden, RoleHidden)",
            lines,
        )
    return ok("every row that is to be synced, or that others refer to, could be seen")


CHECKS = (
    Check("app", "App", "Runs", _alive, needs=("settings",), after=("storage",)),
    Check("deletions", "App", "Deletions", _deletions, needs=("sync-toml",), after=("storage",)),
    Check("hidden-rows", "Dynamics", "Role: hidden rows", _hidden, needs=("dynamics-read",), after=("storage",)),
)
