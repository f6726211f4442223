"""`--env NAME`: settings that azd's hook wrote, secrets from the Key Vault by az, and one sentence where az cannot."""

import json
import os
import shutil
import subprocess
from argparse import Namespace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from shared.cli import azd, main
from shared.cli.command import Command, Exit, Result
from shared.model.errors import MsiSyncError

VALUES = {"KEY_VAULT_NAME": "kv-x", "AZURE_RESOURCE_GROUP": "rg-x", "SERVICE_BUS_NAMESPACE": "sb-x"}
SETTINGS = {"DATAVERSE_AUTH": "password", "CHANGES_QUEUE": "dynamics-changes"}
#: What az prints: its own arguments, so that a test sees what was asked.
ECHO = 'printf "%s " "$@"'


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder below one in which azd has deployed `prod`; no az is on the path."""
    environment = tmp_path / "clone/.azure/prod"
    environment.mkdir(parents=True)
    (environment / ".env").write_text("".join(f'{name}="{value}"\n' for name, value in VALUES.items()))
    (environment / "local.settings.json").write_text(json.dumps({"Values": SETTINGS}))
    below = tmp_path / "clone/below"
    below.mkdir()
    monkeypatch.chdir(below)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return below


def install(tmp_path: Path, script: str) -> None:
    """Have an az that does this."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    az = tmp_path / "bin/az"
    az.write_text(f"#!/bin/sh\n{script}\n")
    az.chmod(0o755)


@pytest.fixture
def msisync(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command `doctor`, or another one, that gives the environment that it finds."""

    async def look(*_: Any) -> Result:
        return Result(Exit.OK, dict(os.environ), lambda console: console.print("msisync doctor"))

    def run(*words: str, name: str = "doctor") -> int:
        command = Command(name, "look", "", look)
        monkeypatch.setattr(main, "meant", lambda _: (command,))
        with patch.dict(os.environ):
            return main.main(words)

    return run


@pytest.mark.parametrize("words", [("--env", "prod", "doctor"), ("doctor", "--env", "prod")])
def test_settings_and_secrets_are_in_the_environment_of_this_one_run(
    clone: Path, msisync: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    install(tmp_path, ECHO)
    assert msisync(*words, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert SETTINGS.items() <= found.items()
    assert found["SYNC_CONFIG"] == str(clone.parent / "sync.toml")
    asked = "keyvault secret show --vault-name kv-x --query value -o tsv --name "
    assert found["MARKETO_CLIENT_SECRET"].strip() == asked + "marketo-client-secret"
    assert found["DATAVERSE_CLIENT_SECRET"].strip() == asked + "dataverse-client-secret"
    assert found["DATAVERSE_PASSWORD"].strip() == asked + "dataverse-password"
    for part in ("--name dataverse-send", "--queue-name dynamics-changes", "--namespace-name sb-x"):
        assert part in found["CHANGES_SEND_CONNECTION"]
    assert sorted(path.name for path in clone.parent.glob(".azure/prod/*")) == [".env", "local.settings.json"]


@pytest.mark.usefixtures("clone")
def test_the_key_that_dynamics_posts_with_is_read_for_those_alone_who_need_it(
    msisync: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, ECHO)
    assert msisync("status", "--env", "prod", "--json", name="status") == 0
    assert "CHANGES_SEND_CONNECTION" not in json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("clone")
def test_what_is_printed_names_the_environment(
    msisync: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, ECHO)
    assert msisync("doctor", "--env", "prod") == 0
    assert capsys.readouterr().out == "msisync --env prod doctor\n"


@pytest.mark.parametrize(
    ("script", "code", "told"),
    [
        (
            "echo \"ERROR: Please run 'az login' to setup account.\" >&2; exit 1",
            "NotSignedIn",
            "az is not signed in to Azure, or no longer: az login",
        ),
        (
            "echo 'AADSTS700082: The refresh token has expired due to inactivity.' >&2; exit 1",
            "NotSignedIn",
            "az is not signed in to Azure, or no longer: az login",
        ),
        ("echo '(Forbidden) no' >&2; exit 3", "ToolFailed", "az keyvault secret show … failed\n(Forbidden) no"),
    ],
    ids=["never signed in", "no longer", "forbidden"],
)
@pytest.mark.usefixtures("clone")
def test_one_sentence_says_why_az_cannot_help(
    msisync: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, script: str, code: str, told: str
) -> None:
    install(tmp_path, script)
    assert msisync("doctor", "--env", "prod", "--json") == Exit.FAILED
    assert json.loads(capsys.readouterr().out)["error"] == {"code": code, "message": told}


@pytest.mark.usefixtures("clone")
def test_one_sentence_says_where_az_is_to_be_had(msisync: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert msisync("doctor", "--env", "prod", "--json") == Exit.FAILED
    told = "az is not installed: it is the Azure CLI, https://aka.ms/azcli; then az login"
    assert json.loads(capsys.readouterr().out)["error"] == {"code": "NoTool", "message": told}


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        (".env", "AZURE_RESOURCE_GROUP=rg-x\n", "'KEY_VAULT_NAME' is missing"),
        (".env", 'KEY_VAULT_NAME="kv', "JSONDecodeError"),
        ("local.settings.json", '{"Values": {"DATAVERSE_AUTH": "magic"}}', "'magic' is missing or unknown"),
    ],
)
def test_what_azd_has_not_written_whole_is_no_defect_of_msisync(
    clone: Path, msisync: Any, capsys: pytest.CaptureFixture[str], *, file: str, text: str, told: str
) -> None:
    (clone.parent / ".azure/prod" / file).write_text(text)
    assert msisync("doctor", "--env", "prod", "--json") == Exit.FAILED
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "BadSettings"
    assert told in error["message"]
    assert error["message"].endswith("azd provision writes it again")


def test_an_environment_that_is_not_there_is_named_with_those_that_are(clone: Path) -> None:
    with pytest.raises(MsiSyncError, match=r"has no environment dev in .*; there are prod: run msisync in the clone"):
        azd.settings_path("dev", clone)
    (clone.parent / ".azure/prod/local.settings.json").unlink()
    with pytest.raises(MsiSyncError, match="azd has not written the settings of prod yet"):
        azd.settings_path("prod", clone)


@pytest.mark.usefixtures("clone")
def test_one_place_for_settings_is_enough(msisync: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert msisync("doctor", "--env", "prod", "--settings", "x.json") == Exit.USAGE
    assert "give one of --env and --settings" in capsys.readouterr().err


def test_azs_name_on_windows_is_found_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """az.cmd is not found by its name: CreateProcess adds .exe alone."""
    ran: list[Any] = []
    monkeypatch.setattr(shutil, "which", lambda name: rf"C:\azure\{name}.cmd")

    def run(command: list[str], **_: Any) -> Namespace:
        ran.append(command)
        return Namespace(returncode=0, stdout="s\n", stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    assert azd.run(["az", "version"]) == "s"
    assert ran == [[r"C:\azure\az.cmd", "version"]]
