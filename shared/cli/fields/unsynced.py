"""What sync.toml says otherwise than in the last run over all rows, and the command for the rows that do not change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from ...azure.errors import storage_within
from ...model.entities import TABLES
from ...model.errors import StorageUnavailableError
from ...sync.runs.synced_fields import KIND, Unsynced, unsynced
from ..context import RENEWAL_SECONDS, Context
from ..output import say
from ..status.look import rows_of


async def look(context: Context) -> list[Unsynced]:
    """By the app's notes; nothing where storage does not answer: it is advice, no finding."""
    try:
        async with storage_within(RENEWAL_SECONDS):
            return unsynced(context.config, await rows_of(context.state, KIND))
    except StorageUnavailableError:
        return []


def remedy(found: Unsynced) -> str:
    """The command. A quick sync needs the key that records of opportunity roles do not have."""
    if found.is_whole or found.is_filtered_anew or not TABLES[found.table][0].key:
        return f"msisync initial-sync start --only {found.table}"
    return f"msisync quick-sync {found.table} --fields {','.join(found.fields)}"


def as_json(found: Sequence[Unsynced]) -> list[dict[str, Any]]:
    """The same for `--json`."""
    return [
        {
            "table": each.table,
            "fields": list(each.fields),
            "filter_changed": each.is_filtered_anew,
            "next": remedy(each),
        }
        for each in found
    ]


def show(console: Console, found: Sequence[Unsynced]) -> None:
    """Print it."""
    for each in found:
        names = "the whole table" if each.is_whole else ", ".join(each.fields)
        if names:
            say(
                console,
                f"{each.table}: rows that do not change lack what was mapped since the last run over all: {names}",
            )
        if each.is_filtered_anew:
            say(console, f"{each.table}: the last run over all rows was with another filter than sync.toml has now")
        say(console, f"  when sync.toml is deployed: {remedy(each)}")
