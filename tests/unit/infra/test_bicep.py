"""The Bicep files without Azure: they parse, call each other rightly, pin what they take, and open nothing by mistake.

What the verified modules make is checked by their own project; what we hand to them is checked here, for the scanner of
`dev.py test infra` sees resources and not the parameters of modules.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from tools import bicep
from tools.bicep import INFRA, Call

CALLS = bicep.calls()
VERIFIED = [call for call in CALLS if not call.is_local]
LOCAL = [call for call in CALLS if call.is_local]

#: What a verified module must be given, by the end of its path. Its own default is another, or may become one.
POLICY: dict[str, dict[str, Any]] = {
    "storage/storage-account": {
        "allowSharedKeyAccess": False, "allowBlobPublicAccess": False, "defaultToOAuthAuthentication": True,
        "minimumTlsVersion": "TLS1_2",
    },
    "service-bus/namespace": {"minimumTlsVersion": "1.2", "skuObject": {"name": "Standard"}},
    "key-vault/vault": {
        "enableRbacAuthorization": True, "enablePurgeProtection": True, "enableVaultForDeployment": False,
        "enableVaultForDiskEncryption": False, "enableVaultForTemplateDeployment": False,
    },
    "insights/component": {"disableLocalAuth": True, "disableIpMasking": False},
    "web/site": {
        "httpsOnly": True,
        "basicPublishingCredentialsPolicies": [{"name": "ftp", "allow": False}, {"name": "scm", "allow": False}],
        "siteConfig": {"alwaysOn": False, "minTlsVersion": "1.2"},
    },
}  # fmt: skip
#: Who may do what. The app: "appPrincipalId"; people and pipelines that operate: "operator.id".
ROLES = {
    ("bus.bicep", "appPrincipalId"): {"Azure Service Bus Data Owner", "Azure Service Bus Data Sender"},
    ("bus.bicep", "operator.id"): {"Azure Service Bus Data Owner"},
    ("storage.bicep", "appPrincipalId"): {"Storage Blob Data Owner", "Storage Table Data Contributor"},
    ("storage.bicep", "operator.id"): {"Storage Table Data Contributor"},
    ("vault.bicep", "appPrincipalId"): {"Key Vault Secrets User"},
    ("vault.bicep", "operator.id"): {"Key Vault Secrets Officer"},
    ("telemetry.bicep", "appPrincipalId"): {"Monitoring Metrics Publisher"},
}
ROLE_NAME = re.compile(r"'((?:Azure Service Bus|Storage|Key Vault|Monitoring) [A-Z][A-Za-z ]+)'")


@pytest.mark.parametrize("path", bicep.files(), ids=lambda path: path.name)
def test_every_file_is_bicep_and_described(path: Path) -> None:
    assert bicep.parsed(path)["parameters"]
    assert path.read_text().startswith("// ")
    assert max(map(len, path.read_text().splitlines())) <= 160


@pytest.mark.parametrize("call", LOCAL, ids=lambda call: call.name)
def test_a_module_gets_what_it_asks_for(call: Call) -> None:
    declared = bicep.parameters(INFRA / call.source)
    needed = {name for name, required in declared.items() if required}
    assert needed <= call.params.keys() <= declared.keys()


def test_every_deployment_has_a_name_of_its_own() -> None:
    """They share the resource group: one that is called like the one that it is part of waits for itself."""
    names = [call.deployment for call in CALLS]
    assert len(names) == len(set(names))


def test_every_output_that_is_used_is_there() -> None:
    used = {(path.name, *pair) for path in bicep.files() for pair in bicep.outputs_used(path)}
    offered = {
        (call.file, call.name, output) for call in LOCAL for output in bicep.parsed(INFRA / call.source)["outputs"]
    }
    local = {(call.file, call.name) for call in LOCAL}
    wanted = {use for use in used if use[:2] in local}
    assert len(wanted) > 10
    assert wanted <= offered


@pytest.mark.parametrize("call", VERIFIED, ids=lambda call: f"{call.file}-{call.name}")
def test_modules_are_verified_ones_of_one_version_and_report_nothing(call: Call) -> None:
    assert re.fullmatch(r"public:avm/res/[a-z/-]+:\d+\.\d+\.\d+", call.source)
    assert call.params["enableTelemetry"] is False
    path = call.source.rsplit(":", 1)[0]
    assert {other.source for other in VERIFIED if other.source.startswith(f"{path}:")} == {call.source}


@pytest.mark.parametrize("path", POLICY)
def test_what_is_made_is_as_closed_as_it_can_be(path: str) -> None:
    found = [call for call in VERIFIED if call.source.startswith(f"public:avm/res/{path}:")]
    assert found
    for call in found:
        assert {name: call.params.get(name) for name in POLICY[path]} == POLICY[path]


def test_the_one_key_of_service_bus_may_send_to_the_queue_of_changes_and_nothing_else() -> None:
    text = (INFRA / "bus.bicep").read_text()
    rules = re.findall(r"\{ name: '([\w-]+)', rights: \[([^\]]*)\] \}", text)
    assert rules == [
        ("RootManageSharedAccessKey", "'Listen', 'Manage', 'Send'"),  # Azure makes it; leaving it out changes nothing
        ("dataverse-send", "'Send'"),
    ]
    assert "queue.setting == 'CHANGES_QUEUE' ? [{ name: 'dataverse-send'" in text


@pytest.mark.parametrize("path", bicep.files(), ids=lambda path: path.name)
def test_no_template_reads_a_key(path: Path) -> None:
    """What a template reads stays in the deployment's history, for everybody who may look at it."""
    assert "listKeys" not in path.read_text()
    keys = {"primaryKey", "secondaryKey", "primaryConnectionString", "primaryAccessKey", "primarySharedKey"}
    assert not {name for _, name in bicep.outputs_used(path)} & keys


@pytest.mark.parametrize("path", bicep.files(), ids=lambda path: path.name)
def test_identities_have_these_roles_and_no_other(path: Path) -> None:
    wanted = set().union(*(roles for (file, _), roles in ROLES.items() if file == path.name), set())
    assert set(ROLE_NAME.findall(path.read_text())) == wanted


@pytest.mark.parametrize(("file", "principal"), ROLES)
def test_each_role_goes_to_whom_it_is_meant_for(file: str, principal: str) -> None:
    text = (INFRA / file).read_text()
    blocks = [part for part in re.split(r"\n(?=var |module )", text) if f"principalId: {principal}" in part]
    named = set(ROLE_NAME.findall("".join(blocks)))
    assert ROLES[file, principal] <= named
