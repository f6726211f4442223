"""The scripts in the shells themselves: typed with the tabulator in bash and zsh, and asked for in fish."""

import asyncio
import json
import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.cli.commands import all_commands
from shared.cli.completion import SHELLS
from shared.cli.main import main, parser
from tests.support.commands import typed

SECONDS = 60.0

#: What is typed, with tabulators, and the words that come of it.
TYPED = [
    ("do\t", "doctor"),
    ("dead-l\tlis\t--ent\tcomp\t", "dead-letters list --entity company"),
    ("pau\topportunity_\t", "pause opportunity_role"),
    ("initial-sync pl\t--onl\tcontact lea\t", "initial-sync plan --only contact lead"),
    ("doctor --only bus --js\t", "doctor --only bus --json"),
    ("show person x --val\t", "show person x --values"),
    ("--settings my\\ se\tstat\t", "--settings my settings.json status"),
    ("status --settings my\\ se\t--js\t", "status --settings my settings.json --json"),
    ("dead-letters import lett\t--ap\t", "dead-letters import letters.jsonl --apply"),
    ("resync --quer\tx", "resync --query x"),
    ("completion pow\t", "completion powershell"),
]


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    return {name: asyncio.run(typed(None, "completion", name))[0].data["script"] for name in SHELLS}


@pytest.fixture
def folder(tmp_path: Path, scripts: dict[str, str]) -> Path:
    """Where the scripts are, with files to be completed."""
    for name, script in scripts.items():
        (tmp_path / name).write_text(script)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/msisync").write_text(PRINTS)
    (tmp_path / "bin/msisync").chmod(0o755)
    (tmp_path / "my settings.json").touch()
    (tmp_path / "letters.jsonl").touch()
    return tmp_path


class Terminal:
    """A shell at a terminal, in a folder, with nobody's settings."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            environment = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "TERM": "dumb", "HOME": str(folder)}
            os.execvpe(command[0], command, environment)  # noqa: S606

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def wait_for(self, text: str) -> str:
        """Everything up to this text."""
        ends = time.monotonic() + SECONDS
        while text.encode() not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], ends - time.monotonic())
            assert ready, self.seen.decode(errors="replace")
            self.seen += os.read(self.fd, 65536)
        before, _, self.seen = self.seen.partition(text.encode())
        return before.decode(errors="replace")

    def end(self) -> None:
        os.close(self.fd)
        os.waitpid(self.pid, 0)


START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source ./bash"),
    "zsh": (["zsh", "-f", "-i"], 'autoload -Uz compinit; compinit -u -D; eval "$(cat ./zsh)"'),
    "zsh, by source": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -u -D; source ./zsh"),
}
#: What stands for msisync: it prints its words, with a bar before each.
PRINTS = """#!/bin/sh
printf 'GOT'; printf '|%s' "$@"; echo '|END'
"""


def shell(name: str) -> str:
    """The shell, if this machine has it."""
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed here")
    return name


@pytest.fixture(params=START)
def terminal(request: pytest.FixtureRequest, folder: Path) -> Iterator[Terminal]:
    """A shell that has read its script."""
    command, start = START[request.param]
    shell(command[0])
    opened = Terminal(command, folder)
    try:
        opened.type(f"PS1=''; {start}; echo REA''DY\n")  # the echo of the line has no such word
        opened.wait_for("READY")
        yield opened
    finally:
        opened.end()


@pytest.mark.parametrize("command", ["msisync", "bin/msisync"])
def test_the_tabulator_completes_what_is_typed(terminal: Terminal, command: str) -> None:
    for keys, words in TYPED:
        terminal.type(f"{command} {keys}\n")
        terminal.wait_for("GOT|")
        assert terminal.wait_for("|END").replace("|", " ") == words


@pytest.mark.parametrize(
    ("line", "offered", "not_offered"),
    [
        ("", {"doctor", "dead-letters"}, {"list"}),
        ("--", {"--settings", "--version"}, {"--apply"}),
        ("dead-letters ", {"list", "replay"}, {"doctor"}),
        ("dead-letters replay --", {"--apply", "--json"}, {"--oldest"}),
        ("dead-letters list --entity ", {"company", "person"}, {"--json", "letters.jsonl"}),
        ("status --settings ", {"letters.jsonl"}, {"--json"}),
        ("--settings x doctor --only ", {"bus", "clock"}, {"letters.jsonl"}),
        ("show person ", set[str](), {"letters.jsonl", "person"}),
        ("dead-letters import ", {"letters.jsonl"}, {"list"}),
    ],
)
def test_fish_offers_what_may_follow(folder: Path, line: str, offered: set[str], not_offered: set[str]) -> None:
    asked = "source ./fish; complete -C $argv[1]"
    done = subprocess.run(  # noqa: S603  (fixed)
        [shell("fish"), "--no-config", "-c", asked, f"msisync {line}"],
        cwd=folder, capture_output=True, text=True, check=True, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    found = {row.partition("\t")[0] for row in done.stdout.splitlines()}
    assert done.stderr == ""
    assert offered <= found
    assert not found & not_offered


def test_a_script_has_every_command_and_option(scripts: dict[str, str]) -> None:
    top = parser()
    below = [each for place in top.places.values() for each in (place, *place.places.values())]
    options = {name for each in (top, *below) for action in each.arguments for name in action.option_strings}
    in_fish = {f"-l {name[2:]} " if name.startswith("--") else f"-s {name[1:]} " for name in options}
    words = {word for command in all_commands() for word in command.name.split()}
    for shell, script in scripts.items():
        expected = words | (in_fish if shell == "fish" else options)
        assert {each for each in expected if each not in script} == set(), shell


def test_powershell_completes_both_names_of_the_command(scripts: dict[str, str]) -> None:
    registers = "Register-ArgumentCompleter -Native -CommandName 'msisync', 'msisync.exe' -ScriptBlock {"
    assert registers in scripts["powershell"]


def test_the_command_prints_the_script_and_nothing_else(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MSISYNC_SETTINGS", "nowhere.json")  # which a shell that starts must not stumble over
    assert main(["completion", "bash"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert main(["completion", "bash", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"shell": "bash", "script": said.out}
    assert main(["completion", "csh"]) == 64
