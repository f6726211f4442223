"""dev.py test infra: policies for what infra/ makes and for the workflows, secrets in files, schemas; without Azure.

Scanners see resources, and infra/ calls verified modules. So each call is first written out as the resource that its
parameters amount to, for checkov to judge. Every rule that is skipped has its reason in SKIPPED.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import bicep

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements-infra.txt"
FOLDER = ROOT / ".local" / "scan"
BIN = FOLDER / "venv" / "bin"


@dataclass(frozen=True)
class Resource:
    """What a verified module makes: parameters that become properties by the same name, or elsewhere."""

    type: str
    properties: tuple[str, ...] = ()
    renamed: Mapping[str, str] | None = None
    beside: Mapping[str, Any] | None = None


#: By the end of the module's path. API versions are the modules' own.
RESOURCES = {
    "storage/storage-account": Resource(
        "Microsoft.Storage/storageAccounts@2025-06-01",
        ("allowSharedKeyAccess", "allowBlobPublicAccess", "minimumTlsVersion", "publicNetworkAccess", "networkAcls"),
        beside={"kind": "StorageV2", "sku": {"name": "Standard_ZRS"}},
    ),
    "service-bus/namespace": Resource(
        "Microsoft.ServiceBus/namespaces@2024-01-01",
        ("minimumTlsVersion", "publicNetworkAccess", "disableLocalAuth"),
        beside={"sku": {"name": "Standard"}},
    ),
    "key-vault/vault": Resource(
        "Microsoft.KeyVault/vaults@2024-11-01",
        ("enableRbacAuthorization", "enablePurgeProtection", "publicNetworkAccess", "networkAcls"),
        beside={"properties": {"enableSoftDelete": True}},
    ),
    "web/site": Resource(
        "Microsoft.Web/sites@2025-03-01",
        ("httpsOnly", "clientAffinityEnabled", "publicNetworkAccess", "siteConfig"),
        beside={"kind": "functionapp,linux", "identity": {"type": "UserAssigned"}},
    ),
    "web/serverfarm": Resource("Microsoft.Web/serverfarms@2025-03-01", ("reserved",), beside={"sku": {"name": "FC1"}}),
    "operational-insights/workspace": Resource(
        "Microsoft.OperationalInsights/workspaces@2025-07-01", ("features",), {"dataRetention": "retentionInDays"}
    ),
    "insights/component": Resource("Microsoft.Insights/components@2020-02-02", ("disableLocalAuth", "retentionInDays")),
}
#: Modules that make nothing a policy speaks of.
WITHOUT_POLICY = {
    "managed-identity/user-assigned-identity",
    "insights/action-group",
    "network/virtual-network",
    "network/private-dns-zone",
}

_PUBLIC = "reachable by address, opened by Entra only: docs/security.md, what is public"
_FLEX = "Flex Consumption has no such thing"
#: Rules that do not hold here, and why. One that finds nothing any more must go.
SKIPPED = {
    "CKV_AZURE_35": f"storage: {_PUBLIC}",
    "CKV_AZURE_59": f"storage: {_PUBLIC}",
    "CKV_AZURE_206": "storage: replication is a parameter, three zones by default; the rule wants a second region",
    "CKV_AZURE_109": f"Key Vault: {_PUBLIC}",
    "CKV_AZURE_189": f"Key Vault: {_PUBLIC}",
    "CKV_AZURE_222": "app: for deployments, and for the webhook where one is registered; it asks for a function key",
    "CKV_AZURE_16": "app: the rule wants a system-assigned identity; this one is assigned by us, and outlives the app",
    "CKV_AZURE_17": "app: callers have a function key; Dataverse can present no certificate",
    "CKV_AZURE_18": "app: HTTP/2 brings nothing to a webhook; queues do the work",
    "CKV_AZURE_67": "app: the same rule for function apps",
    "CKV_AZURE_78": f"app: {_FLEX} as FTP, and its credentials are switched off",
    "CKV_AZURE_212": f"app: {_FLEX} as a least number of instances; it counts them itself",
    "CKV_AZURE_213": f"app: {_FLEX} as a health check path; what waits in the queues is watched instead",
    "CKV_AZURE_225": "plan: the queues and tables are in three zones; an instance may be lost at any time",
    "CKV_SECRET_6": "infra/app.bicep: names of secrets, not secrets",
}


def public(value: Any) -> Any:
    """A parameter as it is where the network is public, which is what is shipped: isPublic ? this : that."""
    if isinstance(value, dict) and value.get("operator", {}).get("type") == "conditional":
        return value["operator"]["operands"]["true_value"]
    return {name: public(inner) for name, inner in value.items()} if isinstance(value, dict) else value


def written_out() -> Iterator[dict[str, Any]]:
    """Every verified module's call as the resource that it amounts to. Raises KeyError for a module not known here."""
    for call in bicep.calls():
        path = call.source.partition(":avm/res/")[2].rpartition(":")[0]
        if call.is_local or path in WITHOUT_POLICY:
            continue
        known = RESOURCES[path]
        kind, _, version = known.type.partition("@")
        given = {name: public(call.params[name]) for name in known.properties if name in call.params}
        moved = {new: call.params[old] for old, new in (known.renamed or {}).items() if old in call.params}
        beside = dict(known.beside or {})
        properties = {**beside.pop("properties", {}), **given, **moved}
        yield {"type": kind, "apiVersion": version, "name": f"msisync{call.name}", **beside, "properties": properties}


def tree() -> Path:
    """Lay out what is scanned in one folder, for the scanner reports once per folder. Returns it."""
    folder = FOLDER / "tree"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("infra", ".github"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    content = {"$schema": schema, "contentVersion": "1.0.0.0", "resources": list(written_out())}
    (folder / "template.json").write_text(json.dumps(content, indent=2))
    return folder


def install() -> None:
    """Bring the scanners' virtual environment up to date; their pins clash with the project's."""
    stamp = FOLDER / "installed.txt"
    if stamp.exists() and stamp.read_text() == LOCK.read_text():
        return
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(BIN.parent)], check=True)
    # `sync` takes the lock as it is: one of its pins is not the one that checkov asks for.
    subprocess.run([*uv, "pip", "sync", "--quiet", "--python", str(BIN / "python"), str(LOCK)], check=True)
    stamp.write_text(LOCK.read_text())


def checkov(folder: Path) -> tuple[dict[str, list[str]], list[str]]:
    """The rules that failed, with where; and the files that could not be read."""
    options = ["--framework", "arm", "bicep", "github_actions", "secrets", "--quiet", "--skip-download"]
    command = [str(BIN / "checkov"), *options, "--output", "json", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    failed: dict[str, list[str]] = {}
    unread: list[str] = []
    for report in json.loads(done.stdout):
        unread += report["results"].get("parsing_errors", [])  # not every framework parses
        for check in report["results"]["failed_checks"]:
            place = f"{check['file_path']} {check['resource']}: {check['check_name']}"
            failed.setdefault(check["check_id"], []).append(place)
    return failed, unread


def schema(name: str, path: Path) -> list[str]:
    """The command that compares a file with a schema that the checker brings; nothing is fetched."""
    return [str(BIN / "check-jsonschema"), "--builtin-schema", f"vendor.{name}", str(path)]


def verdict(failed: Mapping[str, list[str]], unread: list[str]) -> list[str]:
    """What is wrong, in lines: findings without a reason, reasons without a finding, files that nobody looked at."""
    return [
        *(f"{rule}: {where}" for rule, places in failed.items() if rule not in SKIPPED for where in places),
        *(f"{rule} is skipped, and finds nothing any more" for rule in SKIPPED if rule not in failed),
        *(f"{path} cannot be read" for path in unread),
    ]


def main() -> int:
    """Run the scanners and say what they found. Returns the exit code."""
    install()
    failed, unread = checkov(tree())
    lines = verdict(failed, unread)
    commands = [
        [str(BIN / "zizmor"), "--offline", "--quiet", ".github"],
        *(schema("github-workflows", path) for path in sorted((ROOT / ".github/workflows").glob("*.yml"))),
        *(
            schema("github-issue-config" if path.name == "config.yml" else "github-issue-forms", path)
            for path in sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
        ),
        schema("compose-spec", ROOT / "docker-compose.yml"),
    ]
    for command in commands:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines.append(f"{Path(command[0]).name}: {done.stdout}{done.stderr}")
    print("\n".join(lines or ["no finding without its reason"]))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
