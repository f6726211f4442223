"""Who does what a command does, for the history: `did` writes it, and `did_at_large` what is about no single record.

A command is its user's: whoever is signed in to az, or else to this machine. Who acts for several people, such as a
console, says for whom: ``with acting_as(name): …``.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from ..model.safe_text import plain
from ..sync.history import What
from ..sync.history_log import Key
from .context import Context

#: Longest name that is kept.
LENGTH = 100
UNKNOWN = "operator"
#: Where somebody acts who is not this process' user.
CONSOLE = "console"

_acting: ContextVar[str] = ContextVar("operator", default="")


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Inside, what is done is done by this person, also by tasks that are started there."""
    token = _acting.set(name)
    try:
        yield
    finally:
        _acting.reset(token)


def operator() -> str:
    """Who is acting."""
    return plain(_acting.get() or _of_this_process())[:LENGTH]


def did(context: Context, what: What, rows: Iterable[Key], **facts: Any) -> None:
    """Keep that the operator did this to these rows (table, id). Returns at once, and never raises."""
    context.history.happened(what, rows, by=operator(), **facts)


def did_at_large(context: Context, what: What, *, run: str = "", **facts: Any) -> None:
    """Keep that the operator did this, which concerns no single record (`run`: but that run), as `did` does."""
    place = {"place": CONSOLE} if _acting.get() else {}
    context.history.happened_at_large(what, by=operator(), run=run, **facts, **place)


@cache
def _of_this_process() -> str:
    return _signed_in_to_az(os.environ) or _user()


def _signed_in_to_az(environment: Mapping[str, str]) -> str:
    """The user of az's default subscription, from az's own file: az takes a second. Empty where there is none."""
    folder = Path(environment.get("AZURE_CONFIG_DIR") or Path.home() / ".azure")
    try:
        profile = json.loads((folder / "azureProfile.json").read_text(encoding="utf-8-sig"))
        users = [each["user"]["name"] for each in profile["subscriptions"] if each.get("isDefault")]
    except (OSError, ValueError, TypeError, KeyError):
        return ""
    return str(users[0]) if users else ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return UNKNOWN
