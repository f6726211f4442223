"""The msisync command itself: what it understands, its exit codes, where settings come from, how errors look."""

import asyncio
import json
import os
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from shared.cli import main
from shared.cli.command import Command, Exit, Result
from shared.cli.commands import all_commands
from shared.cli.context import Context
from shared.cli.peek import QueueUnavailable
from shared.model.codes import Kind
from shared.model.errors import ConfigurationError, DataverseError, MarketoError, SignInError, VendorError

Run = Callable[[Context, Namespace, Console], Awaitable[Result]]
NAMES = ("MSISYNC_TEST_A", "MSISYNC_TEST_B")


def command(name: str, run: Run, arguments: Callable[[ArgumentParser], None] | None = None) -> Command:
    return Command(name, f"{name} things", "Then: msisync doctor", run, arguments or (lambda _: None))


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory, and an environment that is put back."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


Msisync = Callable[..., int]


@pytest.fixture
def msisync(monkeypatch: pytest.MonkeyPatch) -> Msisync:
    """Runs the command line with these commands instead of the product's."""
    monkeypatch.setitem(main.GROUPS, "things", "what there is of things")

    def run(*words: str, does: Run, name: str = "look", arguments: Any = None) -> int:
        monkeypatch.setattr(main, "meant", lambda _: (command(name, does, arguments),))
        return main.main(words)

    return run


def result(exit_code: Exit = Exit.OK, **data: Any) -> Result:
    return Result(exit_code, data, lambda console: console.print("[green]fine[/green]", data))


async def look(_: Context, given: Namespace, progress: Console) -> Result:
    progress.print("looking …")
    return result(name=given.command.name)


@pytest.mark.parametrize("code", [Exit.OK, Exit.ATTENTION, Exit.FAILED])
@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["text", "json"])
def test_the_exit_code_is_that_of_the_result(msisync: Msisync, code: Exit, as_json: tuple[str, ...]) -> None:
    async def done(*_: Any) -> Result:
        return result(code)

    assert msisync("look", *as_json, does=done) == code


def test_people_get_text_and_progress_beside_it(msisync: Msisync, capsys: pytest.CaptureFixture[str]) -> None:
    assert msisync("look", does=look) == 0
    said = capsys.readouterr()
    assert said.out == "fine\n{'name': 'look'}\n"
    assert said.err == "looking …\n"


def test_programs_get_one_json_object_and_nothing_else(msisync: Msisync, capsys: pytest.CaptureFixture[str]) -> None:
    assert msisync("look", "--json", does=look) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"name": "look"}
    assert said.err == ""


def test_a_command_of_two_words_is_found_in_its_group(msisync: Msisync, capsys: pytest.CaptureFixture[str]) -> None:
    assert msisync("things", "look", "--json", does=look, name="things look") == 0
    assert json.loads(capsys.readouterr().out) == {"name": "things look"}


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


@pytest.mark.parametrize("words", [*WRONG, ()], ids=str)
def test_programs_are_told_of_a_wrong_command_line_in_json(
    msisync: Msisync, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert msisync("--json", *words, does=look, arguments=count) == Exit.USAGE
    said = capsys.readouterr()
    error = json.loads(said.out)["error"]
    assert error["code"] == "Usage"
    assert WRONG.get(words, "a command is missing").endswith(error["message"])
    assert said.err == ""


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
    assert json.loads(capsys.readouterr().out)["error"] == {
        "code": "Usage",
        "message": "give ids, or --query",
    }


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("statsu", "status"),
        ("deadletters list", "dead-letters"),
        ("dead-letters lst", "list"),
        ("replay", "dead-letters replay"),
        ("Status", "status"),
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


@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_has_code_and_remedy(msisync: Msisync, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    async def refuse(*_: Any) -> Result:
        raise SignInError("AADSTS50126", "check [DATAVERSE_USERNAME]")

    assert msisync("look", *["--json"] * as_json, does=refuse) == Exit.FAILED
    said = capsys.readouterr()
    if as_json:
        assert json.loads(said.out) == {"error": {"code": "AADSTS50126", "message": "check [DATAVERSE_USERNAME]"}}
        assert said.err == ""
    else:
        assert (said.out, said.err) == ("", "AADSTS50126: check [DATAVERSE_USERNAME]\n")


@pytest.mark.parametrize("vendor", [MarketoError, DataverseError])
def test_an_outage_names_the_system_and_what_to_do(
    msisync: Msisync, capsys: pytest.CaptureFixture[str], vendor: type[VendorError]
) -> None:
    async def ask(*_: Any) -> Result:
        raise vendor("Unreachable", "no answer: ConnectError", kind=Kind.TRANSIENT)

    who = {"marketo": "Marketo", "dataverse": "Dynamics"}[vendor.system]
    assert msisync("look", does=ask) == Exit.FAILED
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"Unreachable: {who}: no answer: ConnectError"
    assert second.startswith(f"  next: {who} is unwell or out of reach: try again")
    assert second.endswith("msisync doctor")
    assert msisync("look", "--json", does=ask) == Exit.FAILED
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["message"], error["system"]) == (
        "Unreachable",
        f"{who}: no answer: ConnectError",
        vendor.system,
    )
    assert "msisync doctor" in error["remedy"]


def test_an_output_that_cannot_be_written_is_no_defect(
    msisync: Msisync, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Console) -> None:
        raise OSError(28, "No space left on device")

    async def much(*_: Any) -> Result:
        return Result(Exit.OK, {}, full)

    assert msisync("look", does=much) == Exit.FAILED
    assert capsys.readouterr().err == "NotWritten: the output could not be written: No space left on device\n"
    monkeypatch.setattr(sys, "stdout", None)
    assert msisync("look", does=look) == Exit.OK
    sys.stdout.close()


def test_of_several_answers_that_did_not_come_one_is_told(msisync: Msisync, caplog: pytest.LogCaptureFixture) -> None:
    async def late() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise MarketoError("Unreachable", "no answer: ConnectError", kind=Kind.TRANSIENT)

    async def ask(*_: Any) -> Result:
        tasks = [asyncio.ensure_future(late())]
        await asyncio.sleep(0)
        raise DataverseError("Unreachable", f"no answer to {len(tasks)}", kind=Kind.TRANSIENT)

    assert msisync("look", does=ask) == Exit.FAILED
    assert caplog.records == []


def test_a_service_bus_that_does_not_answer_leads_to_its_checks(
    msisync: Msisync, capsys: pytest.CaptureFixture[str]
) -> None:
    async def ask(*_: Any) -> Result:
        raise QueueUnavailable("NoAnswer", "Service Bus does not answer")

    assert msisync("look", does=ask) == Exit.FAILED
    assert (
        capsys.readouterr().err == "NoAnswer: Service Bus does not answer\n  next: msisync doctor --only bus queues\n"
    )
    assert msisync("look", "--json", does=ask) == Exit.FAILED
    assert json.loads(capsys.readouterr().out)["error"]["remedy"] == "msisync doctor --only bus queues"


def test_lines_of_long_errors_are_whole_in_a_pipe(msisync: Msisync, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"/etc/msisync/sync.toml: lead.fields.{name}: {'must be a column in quotes, ' * 6}" for name in "xy"]

    async def refuse(*_: Any) -> Result:
        raise ConfigurationError("BadSyncConfig", "\n".join(lines))

    assert msisync("look", does=refuse) == Exit.FAILED
    assert capsys.readouterr().err == "BadSyncConfig: " + "\n".join(lines) + "\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_defect_fails_with_its_traceback(msisync: Msisync, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    async def stumble(*_: Any) -> Result:
        raise ZeroDivisionError

    assert msisync("look", *["--json"] * as_json, does=stumble) == Exit.FAILED
    said = capsys.readouterr()
    assert "Traceback" in said.err
    assert "ZeroDivisionError" in (json.loads(said.out)["error"]["message"] if as_json else said.err)


def test_ctrl_c_ends_without_a_traceback(msisync: Msisync, capsys: pytest.CaptureFixture[str]) -> None:
    async def interrupted(*_: Any) -> Result:
        raise KeyboardInterrupt

    assert msisync("look", does=interrupted) == 130
    assert capsys.readouterr().err == "Interrupted: stopped by the keyboard\n"


async def environment(*_: Any) -> Result:
    return result(A=os.environ.get(NAMES[0]), B=os.environ.get(NAMES[1]))


def settings_file(path: Path, **values: Any) -> Path:
    path.write_text(json.dumps({"IsEncrypted": False, "Values": {"// MSISYNC_TEST_A": "what it is", **values}}))
    return path


def test_settings_of_the_current_directory_count_where_the_environment_has_none(
    msisync: Msisync, nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings_file(nowhere / "local.settings.json", MSISYNC_TEST_A="file", MSISYNC_TEST_B=5)
    monkeypatch.setenv("MSISYNC_TEST_A", "environment")
    assert msisync("look", "--json", does=environment) == 0
    assert json.loads(capsys.readouterr().out) == {"A": "environment", "B": "5"}


def test_settings_may_be_in_any_file_which_then_goes_over_the_environment(
    msisync: Msisync, nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MSISYNC_TEST_A", "environment")
    settings_file(nowhere / "local.settings.json", MSISYNC_TEST_A="this directory's", MSISYNC_TEST_B="this directory's")
    other = settings_file(nowhere / "other.json", MSISYNC_TEST_A="other")
    assert msisync("look", "--json", "--settings", str(other), does=environment) == 0
    assert json.loads(capsys.readouterr().out) == {"A": "other", "B": None}


def test_the_settings_file_may_be_named_by_the_environment_or_before_the_command(
    msisync: Msisync, nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MSISYNC_TEST_A", "environment")
    monkeypatch.setenv("MSISYNC_SETTINGS", str(settings_file(nowhere / "one.json", MSISYNC_TEST_A="one")))
    assert msisync("look", "--json", does=environment) == 0
    assert json.loads(capsys.readouterr().out)["A"] == "one"
    other = settings_file(nowhere / "other.json", MSISYNC_TEST_A="other")
    assert msisync("--settings", str(other), "--json", "look", does=environment) == 0
    assert json.loads(capsys.readouterr().out)["A"] == "other"
    monkeypatch.setenv("MSISYNC_SETTINGS", "nowhere.json")
    assert msisync("look", does=environment) == Exit.FAILED
    assert capsys.readouterr().err.startswith("NoSettings: nowhere.json does not exist; ")


def test_a_file_from_windows_and_nulls(msisync: Msisync, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "windows.json"
    text = json.dumps({"Values": {NAMES[0]: "given", NAMES[1]: None}})
    file.write_text(text, encoding="utf-8-sig")
    assert msisync("look", "--json", "--settings", str(file), does=environment) == 0
    assert json.loads(capsys.readouterr().out) == {"A": "given", "B": None}


def test_without_any_file_the_environment_alone_counts(msisync: Msisync, capsys: pytest.CaptureFixture[str]) -> None:
    assert msisync("look", "--json", does=environment) == 0
    assert json.loads(capsys.readouterr().out) == {"A": None, "B": None}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "NoSettings: {} does not exist; copy local.settings.example.json and fill it in"),
        ('{"Values": {\n"A" 5\n}}', "BadSettings: {} is no JSON: Expecting ':' delimiter at line 2, column 5"),
        ("[]", 'BadSettings: {} is no settings file: JSON with "Values" is expected'),
        ("{}", 'BadSettings: {} is no settings file: an object named "Values" is expected'),
        ('{"Values": ["s3cret"]}', 'BadSettings: {} is no settings file: an object named "Values" is expected'),
    ],
)
def test_a_settings_file_that_cannot_be_used_is_told_without_what_is_in_it(
    msisync: Msisync, nowhere: Path, capsys: pytest.CaptureFixture[str], content: str | None, told: str
) -> None:
    path = nowhere / "given.json"
    if content is not None:
        path.write_text(content)
    assert msisync("look", "--settings", str(path), does=environment) == Exit.FAILED
    assert capsys.readouterr().err == f"{told.format(path)}\n"


def test_a_command_that_needs_settings_says_which_are_missing(
    msisync: Msisync, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATAVERSE_URL", raising=False)
    monkeypatch.setenv("MARKETO_CLIENT_ID", "given")

    async def ask(context: Context, *_: Any) -> Result:
        return result(url=context.settings.dataverse.url)

    assert msisync("look", "--json", does=ask) == Exit.FAILED
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "BadSettings"
    assert "app settings: DATAVERSE_URL: is missing\n" in error["message"]


def test_where_there_are_no_settings_at_all_the_file_that_was_looked_for_is_named(
    msisync: Msisync, nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)

    async def ask(context: Context, *_: Any) -> Result:
        return result(url=context.settings.dataverse.url)

    assert msisync("look", does=ask) == Exit.FAILED
    first, second = capsys.readouterr().err.splitlines()
    assert first == (
        "NoSettings: there are no settings: the environment has none of them, and "
        f"{nowhere / 'local.settings.json'} does not exist"
    )
    assert "--settings FILE" in second


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
