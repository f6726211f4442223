"""What surrounds a deployment: a pause outlasts it, and afterwards it proves itself. Called by infra/operate.py.

Asks Azure with the sign-in of azd, which is all that a pipeline has.
"""

import ast
import json
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra.operate import ROOT, settings
from shared.cli.azd import Run, run
from shared.config.version import deployed

#: Azure's management, its resources' versions, and what the tables of storage want of a caller.
MANAGEMENT, STORAGE = "https://management.azure.com", "https://storage.azure.com"
BUS_VERSION, SITE_VERSION = "2024-01-01", "2024-04-01"
TABLE_HEADERS = {"x-ms-version": "2020-12-06", "Accept": "application/json;odata=nometadata"}
#: Seconds until Azure has indexed the functions, and until the minute timer has run; and between two looks.
INDEXED_SECONDS, RUNS_SECONDS, LOOK_SECONDS = 300, 240, 10
#: What is deployed, and what the wheels must fit: the platform of Flex Consumption.
APP_FILES = ("function_app.py", "host.json", "requirements.txt", "sync.toml")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")

#: Asks an address with a token of azd for a resource; None when there is no such thing.
Ask = Callable[[str, str], dict[str, Any] | None]


def ask_azure(url: str, resource: str, az: Run = run) -> dict[str, Any] | None:
    """What Azure answers to a GET, asked with the sign-in of azd; None for 404. Exits when it does not answer."""
    token = json.loads(az(["azd", "auth", "token", "--output", "json", "--scope", f"{resource}/.default"]))["token"]
    headers = {"Authorization": f"Bearer {token}", **(TABLE_HEADERS if resource == STORAGE else {})}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        sys.exit(f"{url.partition('?')[0]} answers HTTP {error.code}")
    except OSError as error:
        sys.exit(f"{url.partition('?')[0]} does not answer ({type(error).__name__})")


def keep_pauses(environment: Mapping[str, str], az: Run = run, ask: Ask = ask_azure) -> None:
    """Note the queues that are not Active in azd's environment: the template gives each its status back.

    Before the first deployment there are none. Exits when they cannot be seen: a deployment would end a pause.
    """
    found: list[str] = []
    if environment.get("AZURE_SUBSCRIPTION_ID") and environment.get("AZURE_ENV_NAME"):
        group = f"rg-msisync-{environment['AZURE_ENV_NAME']}"
        provider = f"/subscriptions/{environment['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{group}/providers"
        spaces = ask(f"{MANAGEMENT}{provider}/Microsoft.ServiceBus/namespaces?api-version={BUS_VERSION}", MANAGEMENT)
        for space in (spaces or {}).get("value", []):
            queues = ask(f"{MANAGEMENT}{space['id']}/queues?api-version={BUS_VERSION}", MANAGEMENT)
            for queue in (queues or {}).get("value", []):
                status = queue["properties"].get("status", "Active")
                found += [f"{queue['name']}={status}"] if status != "Active" else []
    az(["azd", "env", "set", "QUEUE_STATUSES", ",".join(sorted(found))])
    if found:
        print(f"These queues stay as they are: {', '.join(sorted(found))}. To go on: msisync resume")


def functions() -> set[str]:
    """The names of the functions of function_app.py that are always there: all but serve_console."""
    tree = ast.parse((ROOT / "function_app.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.AsyncFunctionDef) and node.decorator_list}


def check(values: Mapping[str, str], ask: Ask = ask_azure, sleep: Callable[[float], None] = time.sleep) -> int:
    """Whether every function is indexed, and whether the app runs this version. Returns the exit code."""
    site = f"{values['AZURE_RESOURCE_GROUP']}/providers/Microsoft.Web/sites/{values['FUNCTION_APP_NAME']}"
    url = f"{MANAGEMENT}/subscriptions/{values['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{site}/functions"
    missing = functions()
    for _ in range(INDEXED_SECONDS // LOOK_SECONDS):
        there = (ask(f"{url}?api-version={SITE_VERSION}", MANAGEMENT) or {}).get("value", [])
        missing = functions() - {each["name"].rpartition("/")[2] for each in there}
        if not missing:
            break
        sleep(LOOK_SECONDS)
    if missing:
        print(f"Deployed, but the app does not have these functions: {', '.join(sorted(missing))}.")
        print("As a rule its packages are for another Python than the app's: azd env set PYTHON_VERSION 3.11, azd up;")
        print("or bring the packages along. Both: docs/troubleshooting.md#no-functions")
        return 1
    print(f"All {len(functions())} functions are there.")
    return runs(values, ask, sleep)


def runs(values: Mapping[str, str], ask: Ask, sleep: Callable[[float], None]) -> int:
    """Whether the minute timer has noted this version. An app that never ran may well lack its secrets yet."""
    table = settings(values)["STATE_TABLE"]
    row = f"{table}(PartitionKey='heartbeat',RowKey='release_deferred')"
    wanted, found = deployed(ROOT), ""
    for _ in range(RUNS_SECONDS // LOOK_SECONDS):
        answer = ask(f"{values['STORAGE_TABLE_URI'].rstrip('/')}/{row}", STORAGE)
        found = str(json.loads(answer["Value"]).get("version", "")) if answer else ""
        if found == wanted:
            print(f"The app runs, version {wanted}.")
            return 0
        sleep(LOOK_SECONDS)
    if not found:
        print("The app has not run yet. On the first day its secrets are still to come: docs/first-day.md, step 4.")
        print("Later, look at docs/troubleshooting.md#app-silent")
        return 0
    print(f"The app still runs {found}, not {wanted}: see docs/troubleshooting.md#app-silent")
    return 1


def package(values: Mapping[str, str], az: Run = run, target: Path = ROOT / "package.zip") -> Path:
    """A package that needs no build in Azure: the app with wheels for its Python. Returns where it is."""
    with tempfile.TemporaryDirectory() as folder:
        wheels = [f"--platform={name}" for name in PLATFORMS]
        where = Path(folder) / ".python_packages/lib/site-packages"
        version = values.get("PYTHON_VERSION") or "3.13"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--only-binary=:all:", *wheels]
        how = [f"--python-version={version}", "--implementation=cp", "--require-hashes", "--target", str(where)]
        az([*pip, *how, "-r", str(ROOT / "requirements.txt")])
        shared = (path for path in (ROOT / "shared").rglob("*") if path.is_file() and path.parent.name != "__pycache__")
        files = [ROOT / name for name in APP_FILES] + sorted(shared)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                archive.write(path, path.relative_to(ROOT))
            for path in sorted(Path(folder).rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(folder))
    return target
