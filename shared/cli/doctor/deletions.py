"""The check of the brake on deletions: whether it is on, and what `[lifecycle]` of sync.toml says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...config.sync_toml import LifecyclePolicy
from ...model.entities import ENTITIES
from ...model.errors import StorageUnavailableError
from ...sync.delete_brake import KIND
from ..finding import Finding, attention, ok
from ..remedies import RELEASE
from ..status.facts import braked
from ..status.look import rows_of
from .runner import Check, Subject

GROUP = "App"


async def _deletions(subject: Subject) -> Finding:
    try:
        rows = await rows_of(subject.context, KIND)
    except StorageUnavailableError as error:
        return attention(f"the brake's row cannot be read ({error.cause})", "see the check storage")
    return finding(rows, subject.context.config.lifecycle)


def finding(rows: Mapping[str, Mapping[str, Any]], policy: LifecyclePolicy) -> Finding:
    """What the brake's rows say, by entity."""
    lines = [braked(name, row) for name, row in sorted(rows.items()) if row.get("on")]
    if lines:
        names = ", ".join(name for name, row in sorted(rows.items()) if row.get("on"))
        return attention(
            f"the brake is on: {names}",
            f"see whether so many rows were to be deleted in Dynamics (msisync dead-letters list --code DeleteBrake); "
            f"then {RELEASE} ENTITY",
            lines,
        )
    said = ", ".join(f"{name} {policy.of(name)}" for name in ENTITIES)
    return ok(f"no brake is on; when a row is deleted: {said}")


CHECKS = (Check("deletions", GROUP, "Deletions", _deletions, needs=("sync-toml",), after=("storage",)),)
