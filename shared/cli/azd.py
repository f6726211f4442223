"""`msisync --env NAME`: the settings of an environment that azd deployed, and its secrets from the Key Vault.

The settings are in .azure/NAME/local.settings.json, which azd's hook writes (infra/operate.py settings). The secrets
are fetched with az for this one run, and are only ever in this process' memory. Standard library alone, for
infra/operate.py uses it before any package is installed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..model.errors import MsiSyncError

#: What each way of signing in to Dynamics keeps in the Key Vault, as in app.bicep; and Marketo's, always.
MARKETO_SECRETS = {"MARKETO_CLIENT_SECRET": "marketo-client-secret"}
DATAVERSE_SECRETS = {
    "client_secret": {"DATAVERSE_CLIENT_SECRET": "dataverse-client-secret"},
    "password": {"DATAVERSE_CLIENT_SECRET": "dataverse-client-secret", "DATAVERSE_PASSWORD": "dataverse-password"},
    "certificate": {"DATAVERSE_CLIENT_CERTIFICATE": "dataverse-client-certificate"},
    "managed_identity": {},
}
#: The key in bus.bicep that Dynamics posts with, and the commands that look at it.
SEND_RULE = "dataverse-send"
_KEY_READERS = ("doctor", "register")
#: Where azd keeps its environments, and the settings file of each.
FOLDER, FILE = ".azure", "local.settings.json"
#: Where the two tools are to be had, and how one signs in.
_TOOLS = {
    "az": ("Azure CLI", "https://aka.ms/azcli", "az login"),
    "azd": ("Azure Developer CLI", "https://aka.ms/azd", "azd auth login"),
}
#: What the two say to those who have not signed in, or whose sign-in has ended.
_SIGN_IN = ("az login", "azd auth login", "not logged in", "AADSTS")

#: Runs az or azd, and gives what it prints. Raises MsiSyncError.
Run = Callable[[Sequence[str]], str]


def run(command: Sequence[str]) -> str:
    """Run az or azd. Raises MsiSyncError that says what to do when it is missing, has no sign-in, or fails."""
    name, *words = command
    what, address, login = _TOOLS.get(name, (name, "", ""))
    program = shutil.which(name)  # on Windows az is az.cmd, which only its whole path starts
    if program is None:
        raise MsiSyncError("NoTool", f"{name} is not installed: it is the {what}, {address}; then {login}")
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)  # noqa: S603  (our own words)
    if done.returncode == 0:
        return done.stdout.strip()
    if any(text in done.stderr for text in _SIGN_IN):
        raise MsiSyncError("NotSignedIn", f"{name} is not signed in to Azure, or no longer: {login}")
    raise MsiSyncError("ToolFailed", f"{' '.join([name, *words][:4])} … failed\n{done.stderr.strip()}")


def secret_names(auth: str) -> dict[str, str]:
    """The settings that are secret with a way to sign in to Dynamics, and the names of their secrets."""
    return {**MARKETO_SECRETS, **DATAVERSE_SECRETS[auth]}


def settings_path(name: str, folder: Path) -> Path:
    """The settings file of an environment, in this folder or one above it. Raises MsiSyncError where there is none."""
    for place in (folder, *folder.parents):
        if (place / FOLDER / name / FILE).exists():
            return place / FOLDER / name / FILE
    known = [place for above in (folder, *folder.parents) for place in sorted((above / FOLDER).glob("*/.env"))]
    if any(place.parent.name == name for place in known):
        raise MsiSyncError("NoSettings", f"azd has not written the settings of {name} yet: azd provision does it")
    there = ", ".join(place.parent.name for place in known)
    raise MsiSyncError(
        "NoEnvironment",
        f"azd has no environment {name} in {folder} or above it; {f'there are {there}' if there else 'there is none'}: "
        "run msisync in the clone in which azd has been run",
    )


def values_of(file: Path) -> dict[str, str]:
    """The values of an azd environment: NAME="value", a line each. Raises OSError."""
    lines = file.read_text(encoding="utf-8").splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    return {name: json.loads(text) if text.startswith('"') else text for name, text in found.items()}


def completed(file: Path, settings: Mapping[str, str], command: str, az: Run = run) -> dict[str, str]:
    """The settings of `file` with what they lack for a command.

    Raises MsiSyncError when az cannot be used, or when what azd has written is not whole.
    """
    try:
        asked = _questions(values_of(file.with_name(".env")), settings, command)
    except (OSError, ValueError, KeyError) as error:
        what = f"{error} is missing or unknown" if isinstance(error, KeyError) else type(error).__name__
        text = f"what azd has written into {file.parent} cannot be used ({what}): azd provision writes it again"
        raise MsiSyncError("BadSettings", text) from None
    sync_toml = file.parents[2] / settings.get("SYNC_CONFIG", "sync.toml")  # beside .azure, wherever msisync is run
    with ThreadPoolExecutor() as together:  # each takes a second or two
        found = dict(zip(asked, together.map(az, asked.values()), strict=True))
    return {**settings, **found, "SYNC_CONFIG": str(sync_toml)}


def _questions(values: Mapping[str, str], settings: Mapping[str, str], command: str) -> dict[str, list[str]]:
    """What az is asked for each setting that is secret. Raises KeyError for a value that is not there."""
    show = ["az", "keyvault", "secret", "show", "--vault-name", values["KEY_VAULT_NAME"], "--query", "value"]
    secrets = secret_names(settings["DATAVERSE_AUTH"])
    asked = {setting: [*show, "-o", "tsv", "--name", secret] for setting, secret in secrets.items()}
    if command in _KEY_READERS:
        keys = ["az", "servicebus", "queue", "authorization-rule", "keys", "list", "--name", SEND_RULE]
        where = ["--resource-group", values["AZURE_RESOURCE_GROUP"], "--queue-name", settings["CHANGES_QUEUE"]]
        space = ["--namespace-name", values["SERVICE_BUS_NAMESPACE"]]
        asked["CHANGES_SEND_CONNECTION"] = [*keys, *where, *space, "--query", "primaryConnectionString", "-o", "tsv"]
    return asked
