#!/usr/bin/env python3
"""What azd leaves to be done: settings of the msisync command, the app registration, secrets. Standard library and az.

    python3 infra/operate.py settings        writes .azure/<environment>/local.settings.json, no secrets (azd's hook)
    python3 infra/operate.py dynamics-app    makes an app registration for Dynamics, its secret into the Key Vault
    python3 infra/operate.py secrets         asks for the other secrets and puts them into the Key Vault
    python3 infra/operate.py pauses          notes paused queues, so that azd provision leaves them so (azd's hook)
    python3 infra/operate.py deployed        checks that what was deployed is there and runs (azd's hook)
    python3 infra/operate.py package         package.zip with all packages in it, for when Azure's build fails

`msisync --env NAME` runs any command for such an environment. `az login` and `azd auth login` first. Secrets go to the
Key Vault: never onto a command line, nor into a file for longer than az needs to read it.
"""

import getpass
import json
import os
import re
import secrets as secrets_of_python
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from shared.cli.azd import Run, run, secret_names, values_of  # noqa: E402  (the path is known now)
from shared.model.errors import MsiSyncError  # noqa: E402

NOTIFY_SECRETS = {"NOTIFY_URL": "notify-url"}
#: Dataverse's API in Entra, and its permission to act as the user who signs in.
DATAVERSE_API = "00000007-0000-0000-c000-000000000000"
USER_IMPERSONATION = "78ce3f0f-a1ce-49c2-8cde-64b5c0896db4=Scope"

CREDENTIAL = ["az", "ad", "app", "credential", "reset", "--id"]
#: App Service: references to the vault are resolved anew.
REFRESH = "/config/configreferences/appsettings/refresh?api-version=2022-03-01"


def azd_values(root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The values of the azd environment: from azd's hook, or from the file of the default environment."""
    if "KEY_VAULT_NAME" in environment:
        return dict(environment)
    try:
        name = (
            environment.get("AZURE_ENV_NAME")
            or json.loads((root / ".azure/config.json").read_text(encoding="utf-8"))["defaultEnvironment"]
        )
        return values_of(root / ".azure" / name / ".env")
    except (OSError, KeyError, ValueError):
        sys.exit("There is no azd environment here yet: run azd up first.")


def settings(values: Mapping[str, str]) -> dict[str, str]:
    """The app settings of the environment, for a person's own sign-in to Azure, without secrets."""
    given = json.loads((ROOT / "infra/main.parameters.json").read_text(encoding="utf-8"))["parameters"]["settings"][
        "value"
    ]
    queues = json.loads((ROOT / "infra/queues.json").read_text(encoding="utf-8"))
    auth = values["DATAVERSE_AUTH"]
    return {
        "ServiceBusConnection__fullyQualifiedNamespace": values["SERVICE_BUS_HOST"],
        "AzureWebJobsStorage__tableServiceUri": values["STORAGE_TABLE_URI"],
        **{queue["setting"]: queue["name"] for queue in queues},
        **{name: substituted(text, values) for name, text in given.items()},
        **{name: values[name] for name in ("DATAVERSE_URL", "MARKETO_URL", "MARKETO_CLIENT_ID")},
        # No identity of Azure's is to be had on a person's machine.
        "DATAVERSE_AUTH": "client_secret" if auth == "managed_identity" else auth,
    }


def substituted(text: str, values: Mapping[str, str]) -> str:
    """A value of main.parameters.json as azd reads it: ${NAME=default}."""
    return re.sub(r"\$\{(\w+)=([^}]*)\}", lambda match: values.get(match[1]) or match[2], text)


def settings_file(values: Mapping[str, str], root: Path = ROOT) -> Path:
    """Write local.settings.json of the environment and return where it is."""
    path = root / ".azure" / values["AZURE_ENV_NAME"] / "local.settings.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    written = json.dumps({"IsEncrypted": False, "Values": settings(values)}, indent=2) + "\n"
    fresh = path.with_name(f"{path.name}.{secrets_of_python.token_hex(6)}")
    private_file(fresh, written)
    fresh.replace(path)  # a link in its place is replaced, not followed
    return path


def private_file(path: Path, text: str) -> None:
    """A new file that only this user can read."""
    how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, how, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def store(az: Run, vault: str, name: str, value: str) -> None:
    """Put a secret into the Key Vault, through a file that only this user can read, for as long as that takes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        private_file(path, value)
        command = ["az", "keyvault", "secret", "set", "--vault-name", vault, "--name", name]
        az([*command, "--file", str(path), "-o", "none"])


def dynamics_app(values: Mapping[str, str], az: Run = run) -> None:
    """Make the app registration, keep a new secret of it, tell azd its id, say what an administrator of Dynamics does.

    Can be run again, when the secret is about to end.
    """
    auth = values["DATAVERSE_AUTH"]
    application = values.get("DATAVERSE_CLIENT_ID") or found_application(az)
    if not application:
        made = ["az", "ad", "app", "create", "--display-name", "msisync", "-o", "tsv", "--query", "appId"]
        application = az(made)
        az(["az", "ad", "sp", "create", "--id", application, "-o", "none"])
    print(f"App registration msisync: {application}.")
    if auth != "certificate":
        reset = [*CREDENTIAL, application, "--append", "--display-name", "msisync", "--query", "password", "-o", "tsv"]
        store(az, values["KEY_VAULT_NAME"], "dataverse-client-secret", az(reset))
        print("Its secret is in the Key Vault and is valid for a year.")
    if auth == "password":
        allow = ["--id", application, "--api", DATAVERSE_API, "--api-permissions", USER_IMPERSONATION]
        az(["az", "ad", "app", "permission", "add", *allow])
        az(["az", "ad", "app", "permission", "admin-consent", "--id", application])
    az(["azd", "env", "set", "DATAVERSE_CLIENT_ID", application])
    read_again(values, az)
    if auth in ("client_secret", "certificate"):
        print(
            "Now, as an administrator of the environment (admin.powerplatform.microsoft.com, the environment, Settings,"
        )
        print(f"Users + permissions, Application users, New app user): add {application}, with the role for msisync.")
    if auth == "password" and not values.get("DATAVERSE_USERNAME"):
        print("Then: azd env set DATAVERSE_USERNAME <the sync user, user@domain>")
    print("Then: python3 infra/operate.py secrets, and azd provision")


def found_application(az: Run) -> str:
    """The id of the app registration of that very name; empty when there is none. Exits when there are several."""
    named = ["--filter", "displayName eq 'msisync'", "--query", "[].appId", "-o", "tsv"]
    found = az(["az", "ad", "app", "list", *named]).split()
    if len(found) > 1:
        sys.exit("Several app registrations are called msisync: azd env set DATAVERSE_CLIENT_ID <the right one's id>")
    return "".join(found)


def register_certificate(values: Mapping[str, str], pem: str, az: Run) -> None:
    """Give the app registration the public part of a certificate, by which Entra knows who signs in."""
    public = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", pem, re.DOTALL)
    if not public:
        sys.exit("There is no certificate in that file: it must have BEGIN CERTIFICATE beside the private key.")
    if not values.get("DATAVERSE_CLIENT_ID"):
        sys.exit("There is no app registration yet: python3 infra/operate.py dynamics-app")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "certificate.pem"
        private_file(path, public[0] + "\n")
        az([*CREDENTIAL, values["DATAVERSE_CLIENT_ID"], "--append", "--cert", f"@{path}", "-o", "none"])


def read_again(values: Mapping[str, str], az: Run) -> None:
    """Have the app take the vault's secrets anew: by itself it keeps what it has read for a day."""
    site = f"{values['AZURE_RESOURCE_GROUP']}/providers/Microsoft.Web/sites/{values['FUNCTION_APP_NAME']}"
    url = f"/subscriptions/{values['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{site}{REFRESH}"
    az(["az", "rest", "--method", "post", "--url", url, "-o", "none"])
    names = ["--name", values["FUNCTION_APP_NAME"], "--resource-group", values["AZURE_RESOURCE_GROUP"]]
    az(["az", "functionapp", "restart", *names])


def secrets(values: Mapping[str, str], az: Run = run, ask: Callable[[str], str] = getpass.getpass) -> None:
    """Ask for each secret, keep it, and have the app read them again. An empty answer leaves one as it is."""
    notifies = values.get("NOTIFY", "").lower() == "true"
    names = secret_names(values["DATAVERSE_AUTH"]) | (NOTIFY_SECRETS if notifies else {})
    for setting, name in names.items():
        if setting == "DATAVERSE_CLIENT_CERTIFICATE":
            path = ask("Path of a PEM file with private key and certificate (empty: leave it): ")
            value = Path(path).read_text(encoding="utf-8") if path else ""
        else:
            value = ask(f"{setting} (empty: leave it): ").strip()
        if value and setting == "DATAVERSE_CLIENT_CERTIFICATE":
            register_certificate(values, value, az)
        if value:
            store(az, values["KEY_VAULT_NAME"], name, value)
    read_again(values, az)


def main(arguments: Sequence[str]) -> int:
    """Run the command that the first argument names. Returns the exit code; exits with what az or azd lacks."""
    command, *rest = arguments or ["help"]
    if command == "msisync":
        words = shlex.join(rest or ["doctor"])
        sys.exit(f"infra/operate.py msisync has become an option of the command itself: msisync --env NAME {words}")
    if command not in {"settings", "dynamics-app", "secrets", "pauses", "deployed", "package"}:
        print(__doc__)
        return 64
    try:
        return carry_out(command)
    except MsiSyncError as error:
        sys.exit(error.message)


def carry_out(command: str) -> int:
    """Run it. Returns the exit code."""
    from infra import deployment  # noqa: PLC0415  (it needs this module)

    if command == "pauses":
        deployment.keep_pauses(os.environ)
        return 0
    values = azd_values()
    if command == "deployed":
        return deployment.check(values)
    if command == "package":
        names = f"--resource-group {values['AZURE_RESOURCE_GROUP']} --name {values['FUNCTION_APP_NAME']}"
        print(f"Next: az functionapp deployment source config-zip {names} --src {deployment.package(values)}")
    elif command == "dynamics-app":
        dynamics_app(values)
    elif command == "secrets":
        secrets(values)
    else:
        print(f"Settings for msisync: {settings_file(values).relative_to(ROOT)}")
        print("Next: docs/first-day.md, from step 4 (python3 infra/operate.py dynamics-app, then secrets).")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
