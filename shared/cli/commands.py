"""All commands, by their first words. A module is imported when its command is meant: all of them take a moment."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module

from .command import Command
from .invocation import started

#: The first word of each command, in the order of the help, and where the commands with it are.
_PLACES = {
    "doctor": "doctor.command:COMMAND",
    "status": "status.command:COMMAND",
    "console": "console.command:COMMAND",
    "completion": "completion:COMMAND",
    "fields": "fields.command:COMMANDS",
    "register": "register.command:REGISTER",
    "unregister": "register.command:UNREGISTER",
    "show": "show.command:COMMAND show.command:RECORD",
    "history": "history:COMMAND",
    "dead-letters": "dead_letters.command:COMMANDS",
    "pause": "pause:PAUSE",
    "resume": "pause:RESUME",
    "resync": "resync:COMMAND",
    "reconcile": "reconcile.commands:COMMANDS",
    "link": "link:COMMAND",
    "write-back": "write_back:COMMAND",
    "lifecycle": "preview:COMMAND lifecycle:COMMAND",
    "initial-sync": "initial_sync.commands:COMMANDS",
    "quick-sync": "quick_sync:COMMAND",
}
FIRST_WORDS = tuple(_PLACES)
#: Its script has all commands.
_COMPLETION = "completion"


def all_commands() -> tuple[Command, ...]:
    """Every command."""
    return tuple(command for word in FIRST_WORDS for command in _with(word))


def meant(words: Sequence[str]) -> tuple[Command, ...]:
    """Those that a command line may be about: of its first word. All of them where it has none, or an unknown one."""
    first = next(iter(started(words, (), ()).arguments), "")
    if first == "--version":
        return ()
    return all_commands() if first == _COMPLETION or first not in _PLACES else _with(first)


@cache
def _with(word: str) -> tuple[Command, ...]:
    """The commands with this first word."""
    found: list[Command] = []
    for place in _PLACES[word].split():
        module, _, name = place.partition(":")
        there = getattr(import_module(f".{module}", __package__), name)
        found += [there] if isinstance(there, Command) else there
    return tuple(found)
