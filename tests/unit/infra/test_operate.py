"""infra/operate.py: the settings it writes are complete and without secrets, which reach az in a private file only."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from infra import operate
from shared.cli import azd
from shared.config import settings

VALUES = {
    "AZURE_ENV_NAME": "prod", "AZURE_SUBSCRIPTION_ID": "sub-1", "AZURE_RESOURCE_GROUP": "rg-msisync-prod",
    "FUNCTION_APP_NAME": "func-msisync-x", "KEY_VAULT_NAME": "kv-msisync-x", "SERVICE_BUS_NAMESPACE": "sb-msisync-x",
    "SERVICE_BUS_HOST": "sb-msisync-x.servicebus.windows.net",
    "STORAGE_TABLE_URI": "https://stmsisyncx.table.core.windows.net/", "DATAVERSE_AUTH": "client_secret",
    "DATAVERSE_URL": "https://contoso.crm4.dynamics.com",
    "DATAVERSE_CLIENT_ID": "5d1f0c3a-0000-4000-8000-000000000001", "MARKETO_URL": "https://123-abc-456.mktorest.com",
    "MARKETO_CLIENT_ID": "marketo-id", "MARKETO_DAILY_CALLS": "20000",
}  # fmt: skip


class Az:
    """Stands for az and azd: notes the commands, and what the files that they name hold."""

    def __init__(self, answers: dict[str, str] | None = None) -> None:
        self.answers = answers or {}
        self.commands: list[str] = []
        self.kept: dict[str, str] = {}

    def __call__(self, command: Sequence[str]) -> str:
        self.commands.append(" ".join(command))
        if "--cert" in command:
            self.kept["certificate"] = Path(command[command.index("--cert") + 1].removeprefix("@")).read_text()
        if "--file" in command:
            path = Path(command[command.index("--file") + 1])
            assert path.stat().st_mode & 0o077 == 0
            self.kept[command[command.index("--name") + 1]] = path.read_text()
        return next((answer for part, answer in self.answers.items() if part in self.commands[-1]), "")


def test_the_settings_file_is_all_that_the_app_s_settings_need_but_secrets(tmp_path: Path) -> None:
    path = operate.settings_file(VALUES, tmp_path)
    assert path == tmp_path / ".azure/prod/local.settings.json"
    values = json.loads(path.read_text())["Values"]
    loaded = settings.load({**values, "DATAVERSE_CLIENT_SECRET": "s", "MARKETO_CLIENT_SECRET": "s"})
    assert loaded.bus.namespace == VALUES["SERVICE_BUS_HOST"]
    assert loaded.queues.opportunity_role == "opportunity-roles"
    assert loaded.dataverse.client_id == VALUES["DATAVERSE_CLIENT_ID"]
    assert loaded.marketo.daily_calls == 20_000  # as azd has it
    assert loaded.marketo.calls_per_20_seconds == 50  # as main.parameters.json has it
    assert not [name for name in values if "SECRET" in name or "PASSWORD" in name]


def test_an_operator_does_not_sign_in_as_the_app_s_identity() -> None:
    auth = operate.settings({**VALUES, "DATAVERSE_AUTH": "managed_identity"})["DATAVERSE_AUTH"]
    assert auth == "client_secret"
    assert "DATAVERSE_CLIENT_SECRET" in azd.secret_names(auth)


def test_secrets_go_through_a_private_file_and_the_app_reads_them_again() -> None:
    az = Az()
    answers = {"MARKETO": " m-secret ", "DATAVERSE_CLIENT": "c-secret", "DATAVERSE_PASSWORD": ""}
    operate.secrets(
        {**VALUES, "DATAVERSE_AUTH": "password"},
        az,
        lambda prompt: next(answer for part, answer in answers.items() if part in prompt),
    )
    assert az.kept == {"marketo-client-secret": "m-secret", "dataverse-client-secret": "c-secret"}  # none for the empty
    refresh, restart = az.commands[-2:]
    assert refresh == (
        "az rest --method post --url /subscriptions/sub-1/resourceGroups/rg-msisync-prod/providers/Microsoft.Web/sites/"
        "func-msisync-x/config/configreferences/appsettings/refresh?api-version=2022-03-01 -o none"
    )
    assert restart == "az functionapp restart --name func-msisync-x --resource-group rg-msisync-prod"
    assert not [command for command in az.commands if "m-secret" in command or "c-secret" in command]


@pytest.mark.parametrize("wanted", ["true", "false", ""])
def test_the_address_that_is_told_of_runs_is_asked_for_where_it_is_wanted(wanted: str) -> None:
    az = Az()
    operate.secrets({**VALUES, "NOTIFY": wanted}, az, lambda prompt: "https://hook" if "NOTIFY_URL" in prompt else "")
    assert az.kept == ({"notify-url": "https://hook"} if wanted == "true" else {})


@pytest.mark.parametrize(("auth", "consents"), [("client_secret", False), ("password", True)])
def test_the_registration_s_secret_is_hidden(auth: str, consents: bool, capsys: pytest.CaptureFixture[str]) -> None:
    az = Az({"app create": "the-app", "credential reset": "the-secret"})
    operate.dynamics_app({**VALUES, "DATAVERSE_AUTH": auth, "DATAVERSE_CLIENT_ID": ""}, az)
    assert az.kept == {"dataverse-client-secret": "the-secret"}
    assert any("configreferences/appsettings/refresh" in command for command in az.commands)
    assert "azd env set DATAVERSE_CLIENT_ID the-app" in az.commands
    assert any("admin-consent" in command for command in az.commands) is consents
    said = capsys.readouterr().out
    assert "the-app" in said
    assert "the-secret" not in said


def test_a_second_run_makes_a_new_secret_for_the_same_registration() -> None:
    for known, answers in (("the-app", {}), ("", {"app list": "the-app\n"})):
        az = Az({**answers, "credential reset": "newer"})
        operate.dynamics_app({**VALUES, "DATAVERSE_CLIENT_ID": known}, az)
        assert az.kept == {"dataverse-client-secret": "newer"}
        assert any("credential reset --id the-app " in command for command in az.commands)
        assert not [command for command in az.commands if " create " in command]


def test_another_registration_whose_name_only_begins_so_is_left_alone() -> None:
    az = Az({"app list": "one\ntwo\n"})
    with pytest.raises(SystemExit, match="azd env set DATAVERSE_CLIENT_ID"):
        operate.dynamics_app({**VALUES, "DATAVERSE_CLIENT_ID": ""}, az)
    assert "--filter displayName eq 'msisync'" in az.commands[0]
    assert az.kept == {}


def test_a_certificate_goes_to_the_vault_and_its_public_part_to_the_app_registration(tmp_path: Path) -> None:
    values = {**VALUES, "DATAVERSE_AUTH": "certificate"}
    az = Az()
    operate.dynamics_app(values, az)
    assert az.kept == {}  # no secret that nobody uses
    public = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
    pem = tmp_path / "both.pem"
    pem.write_text(f"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n{public}\n")
    operate.secrets(values, az, lambda prompt: str(pem) if "PEM" in prompt else "")
    assert az.kept == {"certificate": f"{public}\n", "dataverse-client-certificate": pem.read_text()}
    pem.write_text("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n")
    with pytest.raises(SystemExit, match="no certificate in that file"):
        operate.secrets(values, az, lambda prompt: str(pem) if "PEM" in prompt else "")


def test_msisync_is_run_by_itself() -> None:
    with pytest.raises(SystemExit, match="msisync --env NAME register --apply"):
        operate.main(["msisync", "register", "--apply"])


@pytest.mark.parametrize("command", ["dynamics-app", "pauses"])
def test_one_sentence_says_that_az_or_azd_is_missing(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    for name, value in VALUES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATAVERSE_CLIENT_ID", "")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match=r"^azd? is not installed: .*; then azd? .*login$"):
        operate.main([command])


def test_the_values_come_from_azd_s_own_file(tmp_path: Path) -> None:
    (tmp_path / ".azure/prod").mkdir(parents=True)
    (tmp_path / ".azure/config.json").write_text('{"version": 1, "defaultEnvironment": "prod"}')
    (tmp_path / ".azure/prod/.env").write_text('AZURE_ENV_NAME="prod"\nKEY_VAULT_NAME="kv=1"\n')
    assert operate.azd_values(tmp_path, {}) == {"AZURE_ENV_NAME": "prod", "KEY_VAULT_NAME": "kv=1"}


def test_without_an_environment_azd_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="run azd up first"):
        operate.azd_values(tmp_path, {})


def test_an_unknown_command_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert operate.main(["deploy"]) == 64
    assert "infra/operate.py dynamics-app" in capsys.readouterr().out
