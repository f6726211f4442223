"""`msisync completion SHELL`: the script that lets a shell complete msisync's command lines.

The scripts are static: a shell that completes starts no Python, which would take most of a second a time.
"""

from __future__ import annotations

from argparse import Action, Namespace
from collections.abc import Iterable
from pathlib import Path

import shtab
from rich.console import Console

from .command import Command, Exit, Result, option
from .context import Context
from .parsing import Parser

SHELLS = ("bash", "zsh", "fish", "powershell")

_MORE = """\
Prints a script. Where it goes, so that every new shell has it:

bash         msisync completion bash > ~/.local/share/bash-completion/completions/msisync
             (with the package bash-completion; else eval "$(msisync completion bash)" in ~/.bashrc)
zsh          eval "$(msisync completion zsh)" in ~/.zshrc, after compinit
fish         msisync completion fish > ~/.config/fish/completions/msisync.fish
PowerShell   msisync completion powershell | Out-String | Invoke-Expression in the file $PROFILE

A folder that is not there yet: make it first, with mkdir -p. The script is of this version: make it again after an
upgrade. No settings are needed.

Exit codes: 0 printed."""


def _prepare(parser: Parser, shell: str) -> None:
    """Tell shtab what the parser does not say, here and in all parsers below."""
    for action in parser.arguments:
        if action.type is Path or action.metavar == "FILE" or action.dest == "file":
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks for it
        elif shell == "zsh":
            _prepare_for_zsh(action, [name for each in parser.arguments for name in each.option_strings])
    for below in parser.places.values():
        _prepare(below, shell)


def _prepare_for_zsh(action: Action, options: Iterable[str]) -> None:
    """Have it offer options where free text may stand too, and more values of an option that takes several.

    shtab writes the name of a value right after the place where zsh is told how many there are.
    """
    offers = ""
    if action.option_strings and action.nargs == "+":
        action.metavar = f"*-*:{action.metavar}"
        values = " ".join(action.choices or ())
        offers = f"[[ \\$PREFIX == -* ]] && compadd -- {' '.join(options)} || compadd -- {values}"
    elif not action.option_strings and not action.choices:
        offers = ":"
    if offers:
        action.complete = {"zsh": f"{{{offers}}}"}  # type: ignore[attr-defined]


async def run(_: Context, given: Namespace, __: Console) -> Result:
    """Print the script of a shell."""
    _prepare(given.top, given.shell)
    script = shtab.complete(given.top, given.shell)
    script = script.replace("-CommandName msisync ", "-CommandName 'msisync', 'msisync.exe' ")  # PowerShell's
    script = script.replace("$zsh_eval_context[-1] == eval ", "$zsh_eval_context[-1] == (eval|file) ")  # also by source

    def show(console: Console) -> None:
        console.file.write(script)  # as it is: it is no text for people

    return Result(Exit.OK, {"shell": given.shell, "script": script}, show)


COMMAND = Command(
    "completion",
    "print the script that completes msisync's commands in a shell",
    _MORE,
    run,
    option("shell", choices=SHELLS, help="the shell"),
    reads_settings=False,
)
