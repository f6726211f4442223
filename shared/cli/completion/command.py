"""`msisync completion SHELL`: the script that lets a shell complete msisync's command lines."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence

from rich.console import Console

from ..command import Command, Exit, Result, option
from ..context import Context
from . import bash, fish, powershell, zsh
from .tree import Place, places

SHELLS: dict[str, Callable[[Sequence[Place]], str]] = {
    "bash": bash.script,
    "zsh": zsh.script,
    "fish": fish.script,
    "powershell": powershell.script,
}

_MORE = """\
Prints a script. Where it goes, so that every new shell has it:

bash         msisync completion bash > ~/.local/share/bash-completion/completions/msisync
             (with the package bash-completion; else eval "$(msisync completion bash)" in ~/.bashrc)
zsh          eval "$(msisync completion zsh)" in ~/.zshrc, after compinit
fish         msisync completion fish > ~/.config/fish/completions/msisync.fish
PowerShell   msisync completion powershell | Out-String | Invoke-Expression in the file $PROFILE

The script is of this version: make it again after an upgrade. No settings are needed.

Exit codes: 0 printed."""


async def run(_: Context, given: Namespace, __: Console) -> Result:
    """Print the script of a shell."""
    script = SHELLS[given.shell](list(places(given.top)))
    data = {"shell": given.shell, "script": script}

    def show(console: Console) -> None:
        console.file.write(script)  # as it is: it is no text for people

    return Result(Exit.OK, data, show)


COMMAND = Command(
    "completion",
    "print the script that completes msisync's commands in a shell",
    _MORE,
    run,
    option("shell", choices=list(SHELLS), help="the shell"),
    reads_settings=False,
)
