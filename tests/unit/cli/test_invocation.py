"""Commands in texts: as they were started, quoted for the shell, and never broken at the terminal's edge."""

import io
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Group
from rich.table import Table
from rich.text import Text

from shared.cli import invocation
from shared.cli.invocation import Invocation, again, as_typed, command_line, started, typed_program
from shared.cli.output import Console, Indented, as_json
from tests.support.values import ROOT

COMMANDS = ("doctor", "dead-letters", "show")
BEGINNING = ".venv/bin/msisync --settings 'my dev.json'"
LINE = "look at it, then msisync dead-letters replay --id 2e6d9f40-1c52-ef11-a316-000d3a5b7c8d --apply"


@pytest.fixture(autouse=True)
def used() -> Iterator[None]:
    """From a clone, with a settings file whose name has a blank."""
    before = invocation.in_use()
    words = ["dead-letters", "replay", "--settings", "my dev.json", "--code", "a b"]
    invocation.use(started(words, [".venv/bin/msisync"], COMMANDS))
    yield
    invocation.use(before)


def printed(*objects: object, width: int = 80) -> str:
    text = io.StringIO()
    Console(file=text, width=width, highlight=False).print(*objects)
    return text.getvalue()


@pytest.mark.parametrize(
    "words",
    [["--env=dev", "doctor"], ["doctor", "--env", "dev"], ["--env", "dev", "doctor"], ["doctor", "--en", "dev"]],
)
def test_what_says_where_settings_come_from_stands_before_every_command(words: list[str]) -> None:
    found = started(words, ["msisync"], COMMANDS)
    assert found.beginning == "msisync --env dev"
    assert found.arguments == ("doctor",)


def test_a_command_in_a_text_is_as_it_was_started() -> None:
    assert as_typed("msisync doctor") == f"{BEGINNING} doctor"
    assert as_typed(f"(msisync dead-letters list); {LINE}").count(BEGINNING) == 2
    assert as_typed(as_typed(LINE)) == as_typed(LINE)


@pytest.mark.parametrize(
    "text",
    [
        "msisync heard nothing of it",
        "msisync showed",
        "this msisync is version 1",
        "./msisync doctor",
        "msisync-doctor",
        "docs of msisync",
        "msisync dead-letters-x",
    ],
)
def test_what_is_no_command_stays_as_it_is(text: str) -> None:
    assert as_typed(text) == text


@given(st.lists(st.text(), min_size=1), st.lists(st.text()))
@example(["x"], ["--reason", "see msisync doctor"])
@example(["x"], ["msisync", "doctor"])
def test_a_command_line_is_read_by_the_shell_as_it_was_meant(program: list[str], words: list[str]) -> None:
    typed = Invocation(tuple(program), (), (), COMMANDS)
    before = invocation.in_use()
    invocation.use(typed)
    try:
        assert shlex.split(as_typed(command_line("doctor", *words))) == [*program, "doctor", *words]
    finally:
        invocation.use(before)


def test_the_command_that_runs_can_be_repeated_with_more() -> None:
    assert again("--apply") == "msisync dead-letters replay --code 'a b' --apply"
    assert again("--apply", instead=["dead-letters", "discard"]) == "msisync dead-letters discard --code 'a b' --apply"
    assert as_typed(again("--apply")) == f"{BEGINNING} dead-letters replay --code 'a b' --apply"
    assert again("--code", "--apply") == "msisync dead-letters replay --code 'a b' --apply", "--code is there already"


def test_programs_get_the_same_text() -> None:
    assert BEGINNING in as_json({"next": [{"remedy": "run msisync doctor"}]})


@pytest.mark.parametrize("text", [LINE, Text(LINE), Group(LINE), Group("x", Text(LINE)), Indented(Text(LINE), 0)])
def test_a_line_with_a_command_is_not_broken(text: object) -> None:
    assert as_typed(LINE) in printed(text).splitlines()


def test_other_lines_are_broken_as_ever() -> None:
    assert max(map(len, printed("word " * 40).splitlines())) <= 80


def test_a_name_keeps_its_style_and_leaves_that_of_others_where_it_is() -> None:
    text = Text.assemble(("to do: ", "bold"), ("msisync doctor", "red"), (" then", "green"))
    output = io.StringIO()
    Console(file=output, force_terminal=True, color_system="standard", width=200).print(text)
    assert "\x1b[31m" + ".venv/bin/msisync" in output.getvalue()
    assert "\x1b[32m then" in output.getvalue()


def test_a_command_in_a_table_is_as_it_was_started() -> None:
    table = Table("next")
    table.add_row("msisync doctor")
    assert BEGINNING in printed(table, width=200)


def test_windows_quotes_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "name", "nt")
    found = invocation.quoted([r"C:\my tools\msisync.exe", "doctor"])
    monkeypatch.undo()
    assert found == r'"C:\my tools\msisync.exe" doctor'


def test_a_command_on_the_path_needs_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "msisync"
    script.touch(0o755)
    assert typed_program(str(script), ["python", str(script), "doctor"], ["doctor"]) == (str(script),)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert typed_program(str(script), ["python", str(script), "doctor"], ["doctor"]) == ("msisync",)
    assert typed_program("-c", ["python", "-c", "import this", "doctor"], ["doctor"]) == ("msisync",)


def test_a_module_is_named_with_its_python() -> None:
    command = [sys.executable, "-m", "shared.cli.main"]
    done = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.stdout.startswith("usage: msisync ")
    assert f"Begin with: {shlex.join(command)} doctor." in done.stdout
