"""Lets the running app read reference data and schema anew, so that what it keeps does not outlive a repair."""

from __future__ import annotations

from ..azure.errors import storage_within
from ..model.errors import MsiSyncError, StorageUnavailableError
from ..sync.reference_state import ReferenceState
from .context import Context

#: An operator does not wait longer for that.
SECONDS = 10.0


async def renew(context: Context, *what: str) -> str:
    """Have every process of the app read `what` ("rows" of users, teams and roles, "schema") anew at its next batch.

    Gives why it could not be told, empty when it was: then what it keeps is at most some minutes old.
    """
    try:
        async with storage_within(SECONDS):
            for part in what:
                await ReferenceState(context.state).renew(part)
    except StorageUnavailableError as error:
        return error.cause
    except MsiSyncError as error:
        return error.code
    return ""


def not_told(why: str) -> str:
    """The line that says so."""
    return (
        f"Storage does not answer ({why}), so the running app could not be told to read users, roles and schema anew: "
        "it does so within some minutes, Marketo's fields within an hour"
    )
