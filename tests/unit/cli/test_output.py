"""The edge of every command's output: any encoding, any text of a row, any reader."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from shared.cli.command import Exit
from shared.cli.commands import all_commands
from shared.cli.output import Console, as_json
from shared.cli.show.text import render
from tests.support.values import ROOT
from tests.unit.cli.show.test_text import VERDICT, everything

#: What a row's name may hold: colours, a line of its own, the other direction, a bell, hidden characters, emoji codes.
HOSTILE = "Łucja ‖ \x1b[2J\x1b[31m\nOK all is well\r\x07\u202egnp.exe\u2066\u200b\x9b1m :warning: [bold]\ud800"
#: What a terminal would obey, or show elsewhere.
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def shown(print_it: Callable[[Console], None], **options: Any) -> str:
    output = io.StringIO()
    print_it(Console(file=output, highlight=False, **{"width": 300, **options}))
    return output.getvalue()


def a_table() -> Table:
    table = Table("a", HOSTILE.replace("[bold]", ""), title="t")
    table.add_row(HOSTILE.replace("[bold]", ""), Text(HOSTILE))
    return table


@pytest.mark.parametrize(
    "print_it",
    [
        lambda console: console.print(HOSTILE, markup=False),
        lambda console: console.print(Text(HOSTILE)),
        lambda console: console.print("a", Text.assemble(("b", "bold"), HOSTILE)),
        lambda console: console.print(Padding(Text(HOSTILE), (0, 2))),
        lambda console: console.print(Panel(Text(HOSTILE), title="x")),
        lambda console: console.print(a_table()),
        lambda console: console.print(HOSTILE, markup=False, soft_wrap=True),
    ],
    ids=["text", "Text", "assembled", "Padding", "Panel", "Table", "soft"],
)
def test_no_text_commands_the_terminal_or_begins_a_line_of_its_own(print_it: Callable[[Console], None]) -> None:
    said = shown(print_it)
    assert not OBEYED.search(said)
    assert not [line for line in said.splitlines() if line.lstrip(" │┃|").startswith("OK all is well")]
    assert r"\x1b[31m\nOK all is well" in said
    assert ":warning:" in said


@given(st.text(), st.integers(20, 200))
def test_whatever_is_printed_is_one_line_of_harmless_text(text: str, width: int) -> None:
    said = shown(lambda console: console.print(text, markup=False, soft_wrap=True), width=width)
    assert not OBEYED.search(said)
    assert said.count("\n") == 1


def test_the_colours_of_a_terminal_are_our_own_alone() -> None:
    said = shown(
        lambda console: console.print(Text(HOSTILE, style="red")), force_terminal=True, color_system="standard"
    )
    assert said.count("\x1b") == 2
    assert r"\x1b[2J" in said


def test_everything_that_show_knows_of_a_person_is_harmless() -> None:
    search = everything()
    person = search.persons[0]
    person.subject.name = HOSTILE
    person.notes = [HOSTILE]
    person.relations = [replace(relation, name=HOSTILE, email=HOSTILE) for relation in person.relations]
    person.records = [{"id": 17, "email": HOSTILE}]
    person.roles = [replace(role, role=HOSTILE, name=HOSTILE) for role in person.roles]
    person.verdict = replace(VERDICT, text=HOSTILE)
    search.troubles = {"x": HOSTILE}
    said = shown(lambda console: render(console, search), soft_wrap=True)
    assert not OBEYED.search(said)
    assert r"\x1b[2J" in said


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_json_is_valid_and_ascii_whatever_is_in_it(value: Any) -> None:
    said = as_json({"value": value, "more": (value, HOSTILE)})
    assert said.isascii()
    assert json.loads(said, parse_constant=pytest.fail)["more"][1] == HOSTILE


#: Every command of the product, but what it finds, refuses or stumbles over is hostile; the real ones are tried below.
EVERY_COMMAND = """
import sys
from argparse import ArgumentParser
from dataclasses import replace
from shared.cli import main as cli
from shared.cli.commands import all_commands
from shared.model.errors import ConfigurationError
from shared.cli.command import Exit, Result
from tests.unit.cli.test_output import HOSTILE, a_table
from rich.text import Text

def show(console):
    console.print(HOSTILE, markup=False)
    console.print(Text(HOSTILE))
    console.print(a_table())

async def finds(context, given, progress):
    progress.print(HOSTILE, markup=False)
    return Result(Exit.ATTENTION, {"name": HOSTILE}, show)

async def fails(*_):
    raise ConfigurationError("Bad", "a " + HOSTILE + chr(10) + HOSTILE)

async def stumbles(*_):
    raise ValueError(HOSTILE)

for run, code in ((finds, Exit.ATTENTION), (fails, Exit.FAILED), (stumbles, Exit.FAILED)):
    for command in all_commands():
        mine = replace(command, run=run, arguments=lambda leaf: None)
        cli.meant = lambda words: (mine,)
        assert cli.main([*command.name.split(), *sys.argv[1:]]) == code, (command.name, run)
"""


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-X", "utf8=0", "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, check=False)  # noqa: S603  (our own)


def written_by_every_command(encoding: str, *words: str) -> str:
    done = python(EVERY_COMMAND, *words, PYTHONIOENCODING=encoding)
    said, errors = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert done.returncode == 0, errors
    assert not OBEYED.search(said + errors)
    assert errors.count("Traceback") == len(all_commands()), "of those that stumble"
    return said


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_every_command_writes_to_any_terminal_and_keeps_its_exit_code(encoding: str) -> None:
    assert r"\x1b[31m\nOK all is well" in written_by_every_command(encoding)
    rest, objects = written_by_every_command(encoding, "--json").strip(), list[Any]()
    while rest:
        found, end = json.JSONDecoder().raw_decode(rest)
        objects.append(found)
        rest = rest[end:].strip()
    assert [type(each) for each in objects] == [dict] * 3 * len(all_commands())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["doctor"], ["doctor", "--json"], ["show", "person", "‖"], ["Ł\x1b"]]
)
def test_the_real_commands_end_as_documented(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        f"import os, sys; os.chdir({str(tmp_path)!r}); from shared.cli.main import main; sys.exit(main({arguments!r}))"
    )
    done = python(code, PYTHONIOENCODING="ascii")
    assert done.returncode in set(Exit)
    assert b"Traceback" not in done.stderr
    assert not OBEYED.search((done.stdout + done.stderr).decode("ascii"))


@pytest.mark.parametrize("in_json", [False, True])
def test_a_reader_that_has_had_enough_gets_the_exit_code_and_no_traceback(in_json: bool) -> None:
    code = (
        "import sys; from shared.cli import main as cli;"
        "from shared.cli.command import Command, Result;"
        "show = lambda console: [console.print('x' * 1000) for _ in range(1000)]\n"
        "async def run(*_): return Result(1, {'x': ['y' * 1000] * 1000}, show)\n"
        "cli.meant = lambda words: (Command('look', 'look', 'more', run),);"
        f"sys.exit(cli.main({['look', *['--json'] * in_json]}))"
    )
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=write, stderr=-1, check=False)  # noqa: S603
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_only_the_edge_writes() -> None:
    """No command has a console of its own, or prints around it."""
    around = re.compile(r"(?<![\w.])print\(|sys\.std(out|err)\.write")
    allowed = {"output.py", "main.py", "start.py", "helper.py"}  # the edge; what writes to another process
    for path in (ROOT / "shared/cli").rglob("*.py"):
        if path.name not in allowed:
            text = path.read_text()
            assert not around.search(text), path
            assert "Console(" not in text or re.search(r"from \.+output import .*Console", text), path
