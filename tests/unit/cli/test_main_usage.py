"""What the msisync command understands, what it says of a wrong command line, and its help."""

import json
import re
from argparse import ArgumentParser, Namespace
from typing import Any

import pytest

from shared.cli import main
from shared.cli.command import Exit, Result
from shared.cli.commands import all_commands
from shared.cli.context import Context
from tests.support.command_line import Msisync, look, result

pytestmark = pytest.mark.usefixtures("nowhere")


WRONG = {
    ("lok",): "msisync: there is no command 'lok'; did you mean look?",
    ("look", "--jsn"): "msisync look: there is no option --jsn; did you mean --json?",
    ("look", "--cuont", "1"): "msisync look: there is no option --cuont; did you mean --count?",
    ("look", "--zzz"): "msisync look: there is no option --zzz",
    ("look", "--side", "lefft"): "argument --side: there is no 'lefft'; did you mean left?; one of: left, right",
    ("look", "more"): "msisync look: more: more than it takes",
    ("look", "--count", "x"): "msisync look: argument --count: invalid int value: 'x'",
}


def count(leaf: ArgumentParser) -> None:
    leaf.add_argument("--count", type=int)
    leaf.add_argument("--side", choices=["left", "right"])


@pytest.mark.parametrize(("words", "told"), WRONG.items(), ids=str)
def test_a_wrong_command_line_has_an_exit_code_of_its_own_and_says_what_is_right(
    msisync: Msisync, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    assert msisync(*words, does=look, arguments=count) == Exit.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("usage: msisync")
    assert said.err.endswith(f"{told}\n")
    assert msisync("--json", *words, does=look, arguments=count) == Exit.USAGE
    said = capsys.readouterr()
    error = json.loads(said.out)["error"]
    assert (error["code"], said.err) == ("Usage", "")
    assert told.endswith(error["message"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--env", "", "pause"), "the value of --env is empty"),
        (("dead-letters", "discard", "--code", "", "--apply"), "the value of --code is empty"),
        (("dead-letters", "discard", "--code=", "--apply"), "the value of --code is empty"),
        (("resync", "contact", "--query", " ", "--apply"), "the value of --query is empty"),
        (("status", "--settings="), "the value of --settings is empty"),
    ],
)
def test_a_variable_that_is_not_set_does_not_mean_everything(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    assert main.main(words) == Exit.USAGE
    assert told in capsys.readouterr().err
    assert main.main((*words, "--json")) == Exit.USAGE
    assert told in json.loads(capsys.readouterr().out)["error"]["message"]


def test_what_a_command_itself_refuses_is_wrong_usage_too(msisync: Msisync, capsys: pytest.CaptureFixture[str]) -> None:
    async def refuse(_: Context, given: Namespace, *__: Any) -> Result:
        given.refuse("give ids, or --query")
        return result()

    assert msisync("look", "--json", does=refuse) == Exit.USAGE
    assert json.loads(capsys.readouterr().out)["error"] == {"code": "Usage", "message": "give ids, or --query"}


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("statsu", "status"),
        ("deadletters list", "dead-letters"),
        ("dead-letters lst", "list"),
        ("replay", "dead-letters replay"),
        ("Status", "status"),
        ("stat", "status"),
    ],
)
def test_a_misspelt_command_is_recognised(capsys: pytest.CaptureFixture[str], line: str, meant: str) -> None:
    assert main.main(line.split()) == Exit.USAGE
    assert capsys.readouterr().err.endswith(f"; did you mean {meant}?\n")


def test_without_a_command_there_is_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([]) == 0
    assert capsys.readouterr().out.startswith("usage: msisync ")
    assert main.main(["dead-letters"]) == 0
    assert capsys.readouterr().out.startswith("usage: msisync dead-letters ")
    assert main.main(["--json"]) == Exit.USAGE
    assert json.loads(capsys.readouterr().out)["error"] == {"code": "Usage", "message": "a command is missing"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("dead-letters list --limit 0", "a number of at least 1 is needed"),
        ("dead-letters replay --max some", "a number is needed"),
        ("dead-letters list --since soon", "--since"),
        ("dead-letters list --replayed often", "--replayed"),
        ("link contact 2e6d9f40 7", "'2e6d9f40' is not a valid GUID"),
    ],
)
def test_a_wrong_value_is_named(capsys: pytest.CaptureFixture[str], line: str, told: str) -> None:
    assert main.main(line.split()) == Exit.USAGE
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", [command.name for command in all_commands()])
def test_the_help_of_each_command_says_what_it_does_and_what_to_do_next(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as left:
        main.main([*name.split(), "--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    (meant,) = (command for command in all_commands() if command.name == name)
    assert said.startswith(f"usage: msisync {name} ")
    assert "--json" in said
    assert "--settings FILE" in said
    assert meant.more
    assert meant.more in said


def test_the_help_of_all_lists_every_command_and_where_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["--help"])
    said = capsys.readouterr().out
    for command in all_commands():
        assert re.search(rf"^ +{command.name.split()[0]}\s", said, re.MULTILINE)
    assert "Begin with: msisync doctor" in said
    assert "64  wrong usage" in said


def test_each_group_of_commands_lists_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    for group in main.GROUPS:
        with pytest.raises(SystemExit):
            main.main([group, "--help"])
        said = capsys.readouterr().out
        for command in all_commands():
            if command.name.startswith(f"{group} "):
                assert f"    {command.name.split()[1]} " in said
