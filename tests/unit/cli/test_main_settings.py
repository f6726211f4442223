"""Where the msisync command has its settings from, and what it says of a file that cannot be used."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from shared.cli.command import Exit, Result
from shared.cli.context import Context
from tests.support.command_line import NAMES, Msisync, result

pytestmark = pytest.mark.usefixtures("nowhere")


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


def test_a_settings_file_that_cannot_be_used_is_named_with_what_is_wrong(
    msisync: Msisync, nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = nowhere / "given.json"
    assert msisync("look", "--settings", str(path), does=environment) == Exit.FAILED
    missing = f"NoSettings: {path} does not exist; copy local.settings.example.json and fill it in\n"
    assert capsys.readouterr().err == missing
    path.write_text('{"Values": {\n"A" 5\n}}')
    assert msisync("look", "--settings", str(path), does=environment) == Exit.FAILED
    wrong = f"BadSettings: {path} is no JSON: Expecting ':' delimiter at line 2, column 5\n"
    assert capsys.readouterr().err == wrong


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
