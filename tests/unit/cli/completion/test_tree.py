"""What the scripts know: every command, option and choice of the parser, quoted for each shell."""

import json
import re
import shlex
from pathlib import Path

import pytest

from shared.cli.commands import all_commands
from shared.cli.completion import bash, fish, powershell, zsh
from shared.cli.completion.command import SHELLS
from shared.cli.completion.tree import Value, Word, places
from shared.cli.main import main, parser

PLACES = {place.path: place for place in places(parser())}
#: A help text with what each shell reads in its own way.
HELP = """it's "$HOME" `date` \\ a:b 100 %"""


def test_every_command_has_its_place_with_what_may_follow() -> None:
    assert {command.name for command in all_commands()} <= PLACES.keys()
    assert {word.text for word in PLACES["dead-letters"].words} >= {"list", "replay"}
    assert PLACES["pause"].choices == ["sales_person", "company", "person", "opportunity", "opportunity_role"]
    options = {option.word.text: option.value for option in PLACES["dead-letters discard"].options}
    assert options["--apply"] is None
    assert options["--exported"] == Value(is_file=True)
    assert options["--max"] == Value()
    assert PLACES["dead-letters import"].takes_file
    assert not PLACES["show person"].takes_file


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_has_every_command_and_option(shell: str) -> None:
    script = SHELLS[shell](list(PLACES.values()))
    for place in PLACES.values():
        assert place.path in script
        for option in place.options:
            name = option.word.text
            assert (f"-l {name[2:]} " if shell == "fish" else name) in script


def test_the_command_prints_the_script_and_nothing_else(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MSISYNC_SETTINGS", "nowhere.json")  # which a shell that starts must not stumble over
    assert main(["completion", "bash"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out == bash.script(list(PLACES.values()))
    assert main(["completion", "bash", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shell"] == "bash"
    assert main(["completion", "csh"]) == 64


def test_help_is_quoted_for_each_shell() -> None:
    assert fish._quoted(HELP) == r"""'it\'s "$HOME" `date` \\ a:b 100 %'"""
    assert powershell._quoted(HELP) == r"""'it''s "$HOME" `date` \ a:b 100 %'"""
    assert zsh._described([Word("a:b", HELP)]) == shlex.quote(rf"a\:b:{HELP}")


def test_brackets_and_quotes_of_the_script_for_powershell_are_balanced() -> None:
    """It cannot be run here: what is within quotes is taken out, and the rest must close what it opens."""
    bare = re.sub(r"'(?:[^']|'')*'|\"[^\"]*\"|#.*", "", powershell.script(list(PLACES.values())))
    assert "'" not in bare
    opened: list[str] = []
    for sign in re.findall(r"[()\[\]{}]", bare):
        if sign in "([{":
            opened.append(sign)
        else:
            assert opened.pop() + sign in {"()", "[]", "{}"}
    assert not opened
