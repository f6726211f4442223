"""The parser of msisync's command line: argparse, with errors that say what was probably meant."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from ..config.validation import nearest
from ..model.safe_text import plain
from .command import Exit
from .invocation import as_typed

#: From so many choices on, an error names the nearest one only.
_MANY = 12


class UsageError(SystemExit):
    """The command line is wrong. Ends the process with that exit code, unless somebody shows it first.

    `usage` says how the command is written, `command` which one it is.
    """

    def __init__(self, usage: str, command: str, message: str) -> None:
        super().__init__(int(Exit.USAGE))
        self.usage = usage
        self.command = command
        self.message = message


class Parser(argparse.ArgumentParser):
    """Shows texts as they are, and raises UsageError instead of ending the process with 2.

    `commands`: the names of all commands, where this is the parser of the whole line. `default`: the command below that
    is meant where none is named.
    """

    def __init__(self, *, description: str, **options: Any) -> None:
        sentence = description[:1].upper() + description[1:]
        super().__init__(description=sentence, formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self.commands: tuple[str, ...] = ()
        self.default = ""
        self._places: Any = None

    def add_places(self) -> Any:
        """Where the parsers of commands are added; a command need not be given."""
        self._places = self.add_subparsers(metavar="command")
        return self._places

    @property
    def arguments(self) -> list[argparse.Action]:
        """All arguments and options, but for the commands."""
        return [action for action in self._actions if action is not self._places]

    @property
    def places(self) -> dict[str, Parser]:
        """The parsers of the commands below, by name."""
        return dict(self._places.choices) if self._places else {}

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(self.format_usage(), self.prog, plain(message))

    def format_help(self) -> str:
        """The help; below the usage, the commands that it names are as they were started."""
        usage, whole = self.format_usage(), super().format_help()
        return usage + as_typed(whole.removeprefix(usage))

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As always; but a command takes no words that it does not know."""
        if self.default and not _asks_for_help(args or ()):
            first = next((word for word in args or () if not word.startswith("-")), "")
            args = args if first in self.places else [self.default, *(args or ())]
        if self._places is None:
            self._refuse_unknown_options(args or ())
        found, rest = super().parse_known_args(args, namespace)
        if rest and self._places is None:
            self.error(f"{' '.join(rest)}: more than it takes")
        return found, rest

    def _refuse_unknown_options(self, words: Sequence[str]) -> None:
        """Before anything else is refused: the value of a misspelt option would be taken for an argument."""
        known = [name for action in self._actions for name in action.option_strings]
        for word in words:
            name = word.partition("=")[0]
            if word == "--":
                return
            if name.startswith("--") and not any(each.startswith(name) for each in known):
                self.error(f"there is no option {name}{meant(name, known)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        if action is self._places:
            self.error(f"there is no command {value!r}{self._meant_command(value)}")
        names = [str(choice) for choice in action.choices]
        listed = f"; one of: {', '.join(names)}" if len(names) < _MANY or not nearest(str(value), names) else ""
        raise argparse.ArgumentError(action, f"there is no {value!r}{meant(str(value), names)}{listed}")

    def _meant_command(self, value: str) -> str:
        """The second words of commands count as well: `msisync replay` is `msisync dead-letters replay`."""
        spelt = {name.split()[-1]: name for name in reversed(self.commands)} | {name: name for name in self.commands}
        spelt |= {name: name for name in self._places.choices}
        found = nearest(value, list(spelt))
        return f"; did you mean {spelt[found]}?" if found else ""


def empty(words: Sequence[str]) -> str:
    """The option or argument that is blank on a command line, in words; empty: none is.

    Nothing takes a blank one. It comes from a variable that is not set, and an option that counts as if it were not
    given would widen what is done: `discard --code "$CODE"`, `--env "$NAME" pause`.
    """
    before = ""
    for word in words:
        name, sign, value = word.partition("=")
        is_option = name.startswith("--")
        if not word.strip() or (is_option and sign and not value.strip()):
            option = name if is_option else before
            return f"the value of {option}" if option else "an argument"
        before = name if is_option and not sign else ""
    return ""


def _asks_for_help(words: Sequence[str]) -> bool:
    return any(word in ("-h", "--help") for word in words)


def meant(given: str, names: Sequence[str]) -> str:
    """The end of a sentence that says what was probably meant."""
    found = nearest(given, names)
    return f"; did you mean {found}?" if found else ""
