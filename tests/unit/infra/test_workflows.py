"""The GitHub workflows: pinned actions, least rights, every Python, and nothing that azd does not hand over."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.values import ROOT
from tools import interpreters

FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))


def loaded(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows" / name).read_text())
    return content


def test_these_are_all_workflows() -> None:
    assert [path.name for path in FILES] == ["azure-dev.yml", "ci.yml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit_and_says_its_version(path: Path) -> None:
    uses = re.findall(r"uses: (.+)", path.read_text())
    assert uses
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use) for use in uses)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_job_has_the_rights_it_needs_and_an_end(path: Path) -> None:
    workflow = loaded(path.name)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 45
        assert set(job["permissions"].items()) <= {("contents", "read"), ("id-token", "write")}


def test_every_python_that_is_supported_is_tested_with_the_command_of_the_readme() -> None:
    job = loaded("ci.yml")["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == sorted("{}.{}".format(*version) for version in interpreters.VERSIONS)
    (step,) = (step for step in job["steps"] if "run" in step)
    assert step["run"] == "python dev.py test"
    assert "python3 dev.py test" in (ROOT / "README.md").read_text()


def test_the_deployment_signs_in_without_a_secret_and_knows_what_azd_hands_over() -> None:
    text = (ROOT / ".github/workflows/azure-dev.yml").read_text()
    assert "secrets." not in text
    job = loaded("azure-dev.yml")["jobs"]["deploy"]
    assert job["permissions"]["id-token"] == "write"
    assert all(value == f"${{{{ vars.{name} }}}}" for name, value in job["env"].items())
    handed = set(yaml.safe_load((ROOT / "azure.yaml").read_text())["pipeline"]["variables"])
    own = {"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID", "AZURE_ENV_NAME", "AZURE_LOCATION"}
    assert job["env"].keys() == handed | own
    read = set(re.findall(r"\$\{(\w+)", json.dumps(json.loads((ROOT / "infra/main.parameters.json").read_text()))))
    # A name that is not handed over would go back to its default with the next deployment.
    assert handed | own | {"AZURE_PRINCIPAL_ID", "AZURE_PRINCIPAL_TYPE"} == read | own
