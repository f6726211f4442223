"""The `msisync` command: finds the command that is meant, runs it, and shows what it gives.

Settings come from the environment; what is not set there, from local.settings.json in the current directory. A file
that is named with --settings goes over the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from rich.markup import escape

from ..config.version import commit, deployed
from ..model.errors import MsiSyncError
from ..model.safe_text import plain
from ..telemetry.redaction import described, set_up_lines
from . import lifecycle, link, pause, preview, quick_sync, reconcile, resync, write_back
from .command import Command, Exit, Result
from .context import SETTINGS_FILE, Context
from .dead_letters import command as dead_letters
from .doctor import command as doctor
from .fields import command as fields
from .initial_sync.commands import COMMANDS as INITIAL_SYNC
from .output import Console, as_json, nobody_reads, take_any_text
from .register import command as register
from .settings_file import read_settings_file
from .show import command as show
from .status import command as status

COMMANDS: tuple[Command, ...] = (
    doctor.COMMAND,
    status.COMMAND,
    *fields.COMMANDS,
    register.REGISTER,
    register.UNREGISTER,
    show.COMMAND,
    *dead_letters.COMMANDS,
    pause.PAUSE,
    pause.RESUME,
    resync.COMMAND,
    reconcile.COMMAND,
    link.COMMAND,
    write_back.COMMAND,
    preview.COMMAND,
    lifecycle.COMMAND,
    *INITIAL_SYNC,
    quick_sync.COMMAND,
)

#: Seconds that closing all connections may take.
CLOSE_SECONDS = 15.0
_MORE = """\
Settings are read from the environment, then from local.settings.json; a file named with --settings takes precedence.
Exit codes: 0 all is well; 1 something needs attention; 2 something does not work; 64 wrong usage.
Begin with: msisync doctor. By symptom and by code: docs/troubleshooting.md
Files that texts name, such as docs/troubleshooting.md or local.settings.example.json, are in msisync's repository."""
#: Groups of commands, with what their help says.
GROUPS: dict[str, str] = {
    "fields": "see, propose and check which Dynamics columns go to which Marketo fields",
    "show": "look at one record in every system",
    "dead-letters": "see, replay, archive or discard what could not be synced",
    "write-back": "Sales Insight's fields on their way back to Dynamics",
    "initial-sync": "bring all existing rows to Marketo, for the first time or again",
    "lifecycle": "what becomes of persons that are new to the sync, and of records whose rows are deleted",
}


class _Version(argparse.Action):
    """Finds out the version when it is asked for: that takes a moment."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print it: as `msisync status` names the app's version, and the commit."""
        print(f"msisync {deployed()} (commit {commit()})")  # noqa: T201  (the command's output)
        parser.exit()


class _Parser(argparse.ArgumentParser):
    """Shows texts as they are, and exits with USAGE instead of 2, which means something else here."""

    def __init__(self, *, description: str, **options: Any) -> None:
        sentence = description[:1].upper() + description[1:]
        super().__init__(description=sentence, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(Exit.USAGE, f"{self.prog}: {plain(message)}\n")


def parser(commands: Sequence[Command] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of the whole command line; `command` of its result is what to run."""
    purpose = "Set up, check and watch the sync between Dynamics 365 and Marketo."
    top = _Parser(prog="msisync", description=purpose, epilog=_MORE)
    top.add_argument("--version", action=_Version, nargs=0, help="show version and commit, and exit")
    places = {"": top.add_subparsers(metavar="command", required=True)}
    for command in commands:
        group, _, name = command.name.rpartition(" ")
        if group not in places:
            holder = places[""].add_parser(group, help=GROUPS[group], description=GROUPS[group])
            places[group] = holder.add_subparsers(metavar="command", required=True)
        leaf = places[group].add_parser(name, help=command.help, description=command.help, epilog=command.more)
        leaf.set_defaults(command=command, refuse=leaf.error)
        leaf.add_argument("--json", action="store_true", help="print one JSON object instead of text for people")
        leaf.add_argument(
            "--settings", type=Path, metavar="FILE", help=f"app settings; default {SETTINGS_FILE}, if there is one"
        )
        command.arguments(leaf)
    return top


class _Line(logging.Formatter):
    """A line of the log on one line, whoever wrote it."""

    def format(self, record: logging.LogRecord) -> str:
        """Without traceback: the command itself tells what failed."""
        return plain(f"{record.levelname} {record.getMessage()}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    take_any_text()
    try:
        return _main(arguments)
    except BrokenPipeError:  # of the help, or of an error's text
        nobody_reads()
        return int(Exit.OK)


def _main(arguments: Sequence[str] | None) -> int:
    given = parser().parse_args(arguments)
    errors = logging.StreamHandler()
    errors.setFormatter(_Line())
    logging.basicConfig(level=logging.ERROR, handlers=[errors])
    set_up_lines()
    in_json: bool = given.json
    try:
        result = asyncio.run(_run(given))
        _show(result, in_json=in_json)
    except MsiSyncError as error:
        return _show_error(error.code, error.message, in_json=in_json)
    except KeyboardInterrupt:
        return _show_error("Interrupted", "stopped by the keyboard", in_json=in_json)
    except Exception as error:  # noqa: BLE001  (Python's own exit code, 1, would say that all works)
        what = "a defect of msisync; report it with this line and the ones on standard error"
        sys.stderr.write("Traceback (most recent call last):\n")
        sys.stderr.write("".join(traceback.format_tb(error.__traceback__)))  # no text of the error: it may quote data
        return _show_error("Defect", f"{what}: {described(error)}", in_json=in_json)
    return int(result.exit)


async def _run(given: argparse.Namespace) -> Result:
    # Into the environment, as the Functions host does, so that proxies and certificates count as well.
    values = read_settings_file(given.settings or Path(SETTINGS_FILE), required=given.settings is not None)
    for name, value in values.items():
        if given.settings or name not in os.environ:
            os.environ[name] = value
    context = Context()
    try:
        result: Result = await given.command.run(context, given, Console(stderr=True, quiet=given.json))
        return result
    finally:
        # A link whose opening or answer Ctrl-C has cut off may wait for its end for ever.
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await context.close()


def _show(result: Result, *, in_json: bool) -> None:
    """What the command found. Who has read enough (`| head`) gets its exit code all the same."""
    try:
        if in_json:
            print(as_json(result.data))  # noqa: T201  (the command's output)
        else:
            result.show(Console(highlight=False, soft_wrap=not sys.stdout.isatty()))
        sys.stdout.flush()
    except BrokenPipeError:
        nobody_reads()


def _show_error(code: str, message: str, *, in_json: bool) -> int:
    if in_json:
        print(as_json({"error": {"code": code, "message": message}}))  # noqa: T201
    else:
        console = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
        first, *more = message.splitlines() or [""]
        console.print(f"[red]{escape(plain(code))}[/red]: {escape(plain(first))}")
        for line in more:
            console.print(line, markup=False)
    return int(Exit.FAILED)


if __name__ == "__main__":
    sys.exit(main())
