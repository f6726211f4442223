"""What a contributor's clone brings: hooks that run what CI runs, a container that has what dev.py needs, templates."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import dev
from tests.support.values import ROOT
from tools import installation, interpreters

CONTAINER = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def hooks() -> list[dict[str, Any]]:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"  # any other would be downloaded
    found: list[dict[str, Any]] = repository["hooks"]
    return found


def test_the_hooks_run_the_tiers_that_ci_runs_before_its_tests() -> None:
    assert [hook["entry"] for hook in hooks()] == ["python3 dev.py test lint", "python3 dev.py test types"]
    tested = [name for name, commands in dev.TIERS.items() if "pytest" in commands[0]]
    assert list(dev.TIERS)[: list(dev.TIERS).index(tested[0])] == [hook["id"] for hook in hooks()]


def test_pre_commit_understands_its_configuration() -> None:
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(ROOT / ".pre-commit-config.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (a fixed command)
    assert done.returncode == 0, done.stdout


def test_the_container_has_the_python_that_is_deployed_with_its_compiler_and_headers() -> None:
    """Images of `devcontainers/python` are made from Docker's `python`, which has gcc and Python.h."""
    image = re.fullmatch(r"mcr\.microsoft\.com/devcontainers/python:(\d+)\.(\d+)-\w+", CONTAINER["image"])
    assert image
    assert (int(image[1]), int(image[2])) == interpreters.DEPLOYED
    assert "gcc --version" in CONTAINER["onCreateCommand"]


def test_the_container_has_a_node_for_azurite() -> None:
    (node,) = (given for name, given in CONTAINER["features"].items() if "/features/node:" in name)
    assert int(node["version"]) >= installation.OLDEST_NODE


def test_the_container_is_set_up_when_it_opens() -> None:
    assert CONTAINER["postCreateCommand"].split(" && ")[0] == "python3 dev.py setup"
    assert "setup" in dev.TASKS
    python = CONTAINER["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert python.endswith(str(installation.PYTHON.relative_to(installation.ROOT)))


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_every_issue_form_asks_for_the_version(path: Path) -> None:
    fields = {field.get("id"): field for field in yaml.safe_load(path.read_text())["body"]}
    assert "`msisync --version`" in fields["version"]["attributes"]["description"]
    assert fields["version"]["validations"]["required"]
