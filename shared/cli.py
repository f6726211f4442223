"""The `msisync` command: finds the command that is meant, runs it, and shows what it gives.

Settings come from the environment; what is not set there, from local.settings.json in the current directory. A file
that is named with --settings goes over the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.markup import escape

from shared.errors import MsiSyncError
from shared.operations.command import SELDOM, Command, Exit, Result
from shared.operations.context import SETTINGS_FILE, Context, read_settings_file
from shared.operations.dead_letters.command import COMMANDS as DEAD_LETTERS
from shared.operations.dead_letters.command import GROUP as DEAD_LETTERS_HELP
from shared.operations.doctor.command import COMMAND as DOCTOR
from shared.operations.fields.command import COMMANDS as FIELDS
from shared.operations.fields.command import GROUP as FIELDS_HELP
from shared.operations.pause import PAUSE, RESUME
from shared.operations.registration.command import REGISTER, UNREGISTER
from shared.operations.resync import COMMAND as RESYNC
from shared.operations.show.command import COMMAND as SHOW_PERSON
from shared.operations.status.command import COMMAND as STATUS
from shared.operations.write_back import COMMAND as WRITE_BACK
from shared.operations.write_back import GROUP as WRITE_BACK_HELP

COMMANDS: tuple[Command, ...] = (
    DOCTOR,
    STATUS,
    *FIELDS,
    REGISTER,
    UNREGISTER,
    SHOW_PERSON,
    *DEAD_LETTERS,
    PAUSE,
    RESUME,
    RESYNC,
    WRITE_BACK,
)

#: Seconds that closing all connections may take.
CLOSE_SECONDS = 15.0
_MORE = """\
Settings are read from the environment, then from local.settings.json; a file named with --settings goes first.
Exit codes: 0 all is well; 1 something needs attention; 2 something does not work; 64 wrong usage.
Begin with: msisync doctor"""
#: Groups of commands, with what their help says.
GROUPS: dict[str, str] = {
    "fields": FIELDS_HELP,
    "show": "look at one record in every system",
    "dead-letters": DEAD_LETTERS_HELP,
    "write-back": WRITE_BACK_HELP,
}


class _Parser(argparse.ArgumentParser):
    """Exits with USAGE instead of 2, which means something else here."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(Exit.USAGE, f"{self.prog}: {message}\n")


def parser(commands: Sequence[Command] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of the whole command line; `command` of its result is what to run."""
    top = _parser(None, "msisync", "Set up, check and watch the sync between Dynamics 365 and Marketo.", _MORE)
    places = {"": top.add_subparsers(metavar="command", required=True, parser_class=_Parser)}
    for command in commands:
        group, _, name = command.name.rpartition(" ")
        if group not in places:
            holder = _parser(places[""], group, GROUPS[group], "")
            places[group] = holder.add_subparsers(metavar="command", required=True, parser_class=_Parser)
        leaf = _parser(places[group], name, command.help, command.more)
        leaf.set_defaults(command=command)
        leaf.add_argument("--json", action="store_true", help="print one JSON object instead of text for people")
        leaf.add_argument(
            "--settings", type=Path, metavar="FILE", help=f"app settings; default {SETTINGS_FILE}, if there is one"
        )
        command.arguments(leaf)
    return top


def _parser(places: Any, name: str, text: str, more: str) -> argparse.ArgumentParser:
    options: dict[str, Any] = {
        "description": text[:1].upper() + text[1:],
        "epilog": more,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }
    if places is None:
        return _Parser(prog=name, **options)
    made: argparse.ArgumentParser = places.add_parser(name, help=text, **options)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    given = parser().parse_args(arguments)
    if given.command in DEAD_LETTERS:  # they handle up to hundreds of thousands of messages
        gc.set_threshold(SELDOM)
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(message)s")
    as_json: bool = given.json
    try:
        result = asyncio.run(_run(given))
    except MsiSyncError as error:
        return _show_error(error.code, error.message, as_json=as_json)
    except KeyboardInterrupt:
        return _show_error("Interrupted", "stopped by the keyboard", as_json=as_json)
    except Exception as error:  # noqa: BLE001  (Python's own exit code, 1, would say that all works)
        traceback.print_exc()
        what = f"a defect of msisync, {type(error).__name__}; report it with the lines on standard error"
        return _show_error("Defect", what, as_json=as_json)
    if as_json:
        print(json.dumps(result.data, indent=2, default=str))  # noqa: T201  (the command's output)
    else:
        result.show(Console(highlight=False, soft_wrap=not sys.stdout.isatty()))
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


def _show_error(code: str, message: str, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": {"code": code, "message": message}}, indent=2))  # noqa: T201
    else:
        console = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
        console.print(f"[red]{escape(code)}[/red]: {escape(message)}")
    return int(Exit.FAILED)


if __name__ == "__main__":
    sys.exit(main())
