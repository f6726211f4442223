"""How this msisync was started, so that every command that its output names can be pasted as it stands.

Texts name a command as `msisync doctor`, wherever they are written: in the app, too, which knows no command line. Where
text leaves (output.py, the help), `msisync` becomes what was typed: `.venv/bin/msisync --settings dev.json`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

NAME = "msisync"
#: Options that say where settings come from; each has a value. They may stand before the command or after it.
PLACES = ("--settings", "--env")


@dataclass(frozen=True, slots=True)
class Invocation:
    """`program` and `options` stand in place of the name; `arguments` are the command's, without those options.

    `commands` are the first words of all commands: what follows the name where a command is meant.
    """

    program: tuple[str, ...] = (NAME,)
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()

    @property
    def beginning(self) -> str:
        """What stands in place of the name."""
        return quoted([*self.program, *self.options])

    @property
    def names(self) -> re.Pattern[str]:
        """Finds the name where a command follows it; not within another command line."""
        following = "|".join(map(re.escape, self.commands)) or "(?!)"
        return re.compile(rf"(?<![\w./\\-]){NAME}(?= (?:{following})(?![\w-]))")


_in_use = Invocation()


def in_use() -> Invocation:
    """How msisync was started."""
    return _in_use


def use(invocation: Invocation) -> None:
    """Note how msisync was started; `main` does it before anything is printed."""
    global _in_use  # noqa: PLW0603  (a process is started once)
    _in_use = invocation


def started(arguments: Sequence[str], program: Iterable[str], commands: Iterable[str]) -> Invocation:
    """An invocation from the words that were typed."""
    options: list[str] = []
    others: list[str] = []
    words = iter(arguments)
    for word in words:
        name, sign, value = word.partition("=")
        if place := _place(name):
            options += [place, value if sign else next(words, "")]
        else:
            others.append(word)
    if "--json" in others:  # at the end, wherever it stood: the command's name comes first
        others = [*(word for word in others if word != "--json"), "--json"]
    return Invocation(tuple(program), tuple(options), tuple(others), tuple(commands))


def _place(name: str) -> str:
    """The option of PLACES that is meant: argparse takes the beginning of a name as well. Empty: none."""
    return next((place for place in PLACES if len(name) > len("--") and place.startswith(name)), "")


def typed_program(script: str, original: Sequence[str], arguments: Sequence[str]) -> tuple[str, ...]:
    """The words that started this process: `script` is sys.argv[0], `original` sys.orig_argv."""
    if Path(script).stem.lower() == NAME:
        on_path = shutil.which(NAME)
        is_it = on_path and Path(script).exists() and Path(on_path).samefile(script)
        return (NAME,) if is_it else (script,)
    words = tuple(original[: len(original) - len(arguments)])
    return (NAME,) if not words or "-c" in words else words


def this_program() -> tuple[str, ...]:
    """The words that started this very process."""
    return typed_program(sys.argv[0], sys.orig_argv, sys.argv[1:])


def quoted(words: Iterable[str]) -> str:
    """Words as the shell in use reads them."""
    return subprocess.list2cmdline(list(words)) if os.name == "nt" else shlex.join(words)


def command_line(*words: str) -> str:
    """A command as texts name it, its words quoted: `msisync show person 'a b'`."""
    text = quoted(words)
    if os.name != "nt":  # a command that is named in a word is no command: '' is nothing to the shell
        text = _in_use.names.sub(f"{NAME}''", text)
    return f"{NAME} {text}"


def again(*flags: str, instead: Sequence[str] = ()) -> str:
    """The command that is running, with these flags as well; `instead` replaces its name."""
    typed = _in_use.arguments[len(instead) :]
    return command_line(*instead, *typed, *(flag for flag in flags if flag not in typed))


def names_command(text: str) -> bool:
    """Whether a text names a command to be pasted."""
    return bool(_in_use.names.search(text))


def as_typed(text: str) -> str:
    """A text with each command as it was started."""
    return _in_use.names.sub(lambda _: _in_use.beginning, text)
