"""What a command of `msisync` is: its place in the help, its arguments, and a result that people or programs read."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any
from uuid import UUID

from rich.console import Console

from ..model.ids_and_times import as_guid
from .context import Context


class Exit(IntEnum):
    """What the exit code of every command means."""

    OK = 0
    ATTENTION = 1  # it works, but something should be looked at or is still to be done
    FAILED = 2  # something does not work
    USAGE = 64  # the command line itself is wrong
    INTERRUPTED = 130  # by Ctrl-C, as shells say it
    TERMINATED = 143  # by SIGTERM


#: What is said of each, in the help and in docs/commands.md.
EXITS = {
    Exit.OK: "all is well, or it is done",
    Exit.ATTENTION: "something needs attention, or is still to be done",
    Exit.FAILED: "something does not work",
    Exit.USAGE: "wrong usage; the message says what was probably meant",
    Exit.INTERRUPTED: "stopped by Ctrl-C; the message says what was done",
    Exit.TERMINATED: "the same, stopped by SIGTERM",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a command found or did: `data` for `--json`, `show` for people."""

    exit: Exit
    data: Mapping[str, Any]
    show: Callable[[Console], None]


def number(text: str, *, positive: bool = False) -> int:
    """A number on the command line. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdecimal()) or (positive and not int(text)):
        raise ArgumentTypeError("a number of at least 1 is needed" if positive else "a number is needed")
    return int(text)


positive_number = partial(number, positive=True)


def guid(text: str) -> str:
    """A GUID in lower case with hyphens, however it is written. Raises ArgumentTypeError."""
    try:
        return str(UUID(text.strip().strip("(){}")))
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a valid GUID") from None


def guid_or_email(text: str) -> str:
    """What names a record: a GUID, or an e-mail address. Raises ArgumentTypeError."""
    if not as_guid(text) and "@" not in text:
        raise ArgumentTypeError(f"{text!r} is neither a GUID nor an e-mail address")
    return text.strip()


#: Adds something to a command's parser.
Adding = Callable[[ArgumentParser], object]


def option(*names: str, **settings: Any) -> Adding:
    """An argument or option, as ArgumentParser.add_argument takes it."""
    return lambda parser: parser.add_argument(*names, **settings)


def options(*adding: Adding) -> Adding:
    """All of these."""
    return lambda parser: [add(parser) for add in adding]


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `name` may have two words: "fields list". `help` is a line, `more` says what to do next.

    `run` gets the context, the parsed arguments and the console for progress (standard error); it raises MsiSyncError
    with the remedy when it cannot do its work.
    """

    name: str
    help: str
    more: str
    run: Callable[[Context, Namespace, Console], Awaitable[Result]]
    arguments: Adding = lambda _: None
    reads_settings: bool = True
