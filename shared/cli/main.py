"""The `msisync` command: finds the command that is meant, runs it, and shows what it gives.

Settings come from the environment; what is not set there, from local.settings.json in the current directory. A file
that is named, with --settings or by the variable MSISYNC_SETTINGS, goes over the environment; so does what
azd deployed, with --env.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import traceback
from argparse import SUPPRESS
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.markup import escape

from ..config.version import commit, deployed
from ..model.errors import MsiSyncError, VendorError
from ..model.safe_text import plain
from ..telemetry.redaction import described, set_up_lines
from . import azd
from .command import EXITS, Command, Exit, Result
from .commands import FIRST_WORDS, all_commands, meant
from .context import SETTINGS_FILE, SETTINGS_VARIABLE, Context
from .invocation import NAME, as_typed, started, this_program, use
from .output import Console, as_json, nobody_reads, take_any_text
from .parsing import Parser, UsageError, empty
from .progress import so_far
from .settings_file import read_settings_file

#: Seconds that closing all connections may take.
CLOSE_SECONDS = 15.0
_MORE = f"""\
Settings are read from the environment, then from local.settings.json; a file named with --settings, or by the
variable MSISYNC_SETTINGS, takes precedence. --env NAME takes those of an app that azd deployed, and its secrets from
the Key Vault. --settings, --env and --json may stand before the command or after it.
Exit codes:
{"".join(f"  {code:>3}  {text}{chr(10)}" for code, text in EXITS.items())}\
Begin with: msisync doctor. By symptom and by code: docs/troubleshooting.md
Files that texts name, such as docs/troubleshooting.md or local.settings.example.json, are in msisync's repository."""
#: What to do when Service Bus does not answer or refuses (peek.QueueUnavailable), by code.
_OF_THE_BROKER = dict.fromkeys(("NoAnswer", "NoPermission"), "msisync doctor --only bus queues")
#: Of these groups, the command that is meant where none is named.
DEFAULTS = {"reconcile": "start"}
#: Groups of commands, with what their help says.
GROUPS: dict[str, str] = {
    "fields": "see, propose and check which Dynamics columns go to which Marketo fields",
    "show": "look at one record in every system",
    "dead-letters": "see, replay, archive or discard what could not be synced",
    "write-back": "Sales Insight's fields on their way back to Dynamics",
    "initial-sync": "bring all existing rows to Marketo, for the first time or again",
    "reconcile": "compare the values of both sides, and send what differs; with no other word: reconcile start",
    "lifecycle": "what becomes of persons that are new to the sync, and of records whose rows are deleted",
}


class _Version(argparse.Action):
    """Finds out the version when it is asked for: that takes a moment."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print it: as `msisync status` names the app's version, and the commit."""
        print(f"msisync {deployed()} (commit {commit()})")  # noqa: T201  (the command's output)
        parser.exit()


def parser(commands: Sequence[Command] | None = None) -> Parser:
    """The parser of the whole command line; `command` of its result is what to run, None where none was named.

    `commands`: those that it knows, all of them where nothing is said.
    """
    commands = all_commands() if commands is None else commands
    purpose = "Set up, check and watch the sync between Dynamics 365 and Marketo."
    top = Parser(prog=NAME, description=purpose, epilog=_MORE)
    top.add_argument("--version", action=_Version, nargs=0, help="show version and commit, and exit")
    top.commands = tuple(command.name for command in commands)
    top.set_defaults(command=None, parser=top, top=top, json=False, settings=None, env="")
    _add_common(top)
    places = {"": top.add_places()}
    for command in commands:
        group, _, name = command.name.rpartition(" ")
        if group not in places:
            holder = places[""].add_parser(group, help=GROUPS[group], description=GROUPS[group])
            holder.set_defaults(parser=holder)
            holder.default = DEFAULTS.get(group, "")
            _add_common(holder)
            places[group] = holder.add_places()
        leaf = places[group].add_parser(name, help=command.help, description=command.help, epilog=command.more)
        leaf.set_defaults(command=command, parser=leaf, refuse=leaf.error)
        _add_common(leaf)
        command.arguments(leaf)
    return top


def _add_common(each: Parser) -> None:
    """What may stand anywhere; what is not given leaves alone what stood before the command."""
    each.add_argument(
        "--json", action="store_true", default=SUPPRESS, help="print one JSON object instead of text for people"
    )
    each.add_argument(
        "--settings", type=Path, metavar="FILE", default=SUPPRESS,
        help=f"app settings; default {SETTINGS_FILE}, if there is one",
    )  # fmt: skip
    each.add_argument(
        "--env", metavar="NAME", default=SUPPRESS, help="the app that azd deployed from this environment, with az"
    )


class _Line(logging.Formatter):
    """A line of the log on one line, whoever wrote it."""

    def format(self, record: logging.LogRecord) -> str:
        """Without traceback: the command itself tells what failed."""
        return plain(f"{record.levelname} {record.getMessage()}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    program = this_program() if arguments is None else (NAME,)
    use(started(words, program, FIRST_WORDS))
    take_any_text()
    try:
        return _main(words)
    except UsageError as error:
        return _show_usage(error, in_json="--json" in words)
    except BrokenPipeError:  # of the help, or of an error's text
        nobody_reads()
        return int(Exit.OK)


def _main(words: Sequence[str]) -> int:
    given = parser(meant(words)).parse_args(words)
    if given.command is None:
        if given.json:
            given.parser.error("a command is missing")
        given.parser.print_help()
        return int(Exit.OK)
    if name := empty(words):
        given.refuse(f"{name} is empty: is a variable of the shell not set?")
    errors = logging.StreamHandler()
    errors.setFormatter(_Line())
    logging.basicConfig(level=logging.ERROR, handlers=[errors])
    set_up_lines()
    in_json: bool = given.json
    progress = Console(stderr=True, quiet=in_json)
    try:
        result = asyncio.run(_run(given, _take_settings(given), progress))
        _show(result, in_json=in_json)
    except MsiSyncError as error:
        return _show_known(error, in_json=in_json)
    except KeyboardInterrupt:
        return _show_stop(Exit.INTERRUPTED, "the keyboard", progress, in_json=in_json)
    except asyncio.CancelledError:
        return _show_stop(Exit.TERMINATED, "SIGTERM", progress, in_json=in_json)
    except Exception as error:  # noqa: BLE001  (Python's own exit code, 1, would say that all works)
        what = "a defect of msisync; report it with this line and the ones on standard error"
        sys.stderr.write("Traceback (most recent call last):\n")
        sys.stderr.write("".join(traceback.format_tb(error.__traceback__)))  # no text of the error: it may quote data
        return _show_error("Defect", f"{what}: {described(error)}", in_json=in_json)
    return int(result.exit)


def _take_settings(given: argparse.Namespace) -> Path | None:
    """Put the settings into the environment, so that proxies and certificates count as well.

    Gives the file that was looked for, where it is not there. Raises MsiSyncError.
    """
    if not given.command.reads_settings:
        return None
    named = given.settings or os.environ.get(SETTINGS_VARIABLE)
    if given.env:
        if given.settings:
            given.refuse("--env has settings of its own: give one of --env and --settings")
        named = azd.settings_path(given.env, Path.cwd())
    file = Path(named or SETTINGS_FILE)
    values = read_settings_file(file, required=bool(named))
    if given.env:
        values = azd.completed(file, values, given.command.name)
    for name, value in values.items():
        if named or name not in os.environ:
            os.environ[name] = value
    return None if file.exists() else file.absolute()


async def _run(given: argparse.Namespace, missing_file: Path | None, progress: Console) -> Result:
    running = asyncio.current_task()
    asyncio.get_running_loop().set_exception_handler(_lost)
    with suppress(NotImplementedError, RuntimeError):  # Windows has no such signal, and a thread takes none
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel if running else sys.exit)
    context = Context(missing_file=missing_file)
    try:
        result: Result = await given.command.run(context, given, progress)
        return result
    finally:
        # A link whose opening or answer Ctrl-C has cut off may wait for its end for ever.
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await context.close()


def _lost(loop: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
    """What a task raised that nobody waits for any more: of several answers that did not come, one is told."""
    if not isinstance(what.get("exception"), MsiSyncError):
        loop.default_exception_handler(what)


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
    except OSError as error:  # a full disk, for one
        nobody_reads()
        why = error.strerror or type(error).__name__
        raise MsiSyncError("NotWritten", f"the output could not be written: {why}") from None


def _show_usage(error: UsageError, *, in_json: bool) -> int:
    if in_json:
        print(as_json({"error": {"code": "Usage", "message": error.message}}))  # noqa: T201
    else:
        sys.stderr.write(f"{error.usage}{error.command}: {as_typed(error.message)}\n")
    return int(Exit.USAGE)


def _show_stop(how: Exit, whom: str, progress: Console, *, in_json: bool) -> int:
    """Somebody has stopped the command: say what it has done."""
    done = [each for each in so_far(progress) if each.count or each.total]
    text = f"stopped by {whom}" + (f": {', '.join(map(str, done))}" if done else "")
    _show_error("Interrupted", text, in_json=in_json, facts={"done": done})
    return int(how)


def _show_known(error: MsiSyncError, *, in_json: bool) -> int:
    """Where a system does not answer, or refuses: which of them, and what to do."""
    if not isinstance(error, VendorError):
        next_ = {"remedy": remedy} if (remedy := _OF_THE_BROKER.get(error.code)) else {}
        shown = f"{error.message}\n  next: {remedy}" if next_ and not in_json else error.message
        return _show_error(error.code, shown, in_json=in_json, facts=next_)
    from .remedies import after, vendor  # noqa: PLC0415  (what it needs takes a moment)

    who = vendor(error)
    named = any(name in error.message.lower() for name in (who.lower(), error.system))
    message = error.message if named else f"{who}: {error.message}"
    remedy = "; ".join(filter(None, (after(error), "msisync doctor")))
    shown = message if in_json else f"{message}\n  next: {remedy}"
    return _show_error(error.code, shown, in_json=in_json, facts={"system": error.system, "remedy": remedy})


def _show_error(code: str, message: str, *, in_json: bool, facts: Mapping[str, Any] | None = None) -> int:
    if in_json:
        print(as_json({"error": {"code": code, "message": message, **(facts or {})}}))  # noqa: T201
    else:
        console = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
        first, *more = message.splitlines() or [""]
        console.print(f"[red]{escape(plain(code))}[/red]: {escape(plain(first))}")
        for line in more:
            console.print(line, markup=False)
    return int(Exit.FAILED)


if __name__ == "__main__":
    sys.exit(main())
