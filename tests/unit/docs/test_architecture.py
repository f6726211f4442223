"""The architecture page: its picture shows the import contracts' layers, and what it lists is all of shared/."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import dev

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
LONGEST_WAY = 25


def packages() -> set[str]:
    """What is directly below shared/."""
    places = (ROOT / "shared").iterdir()
    return {place.stem for place in places if place.name[0] not in "._" and (place.is_dir() or place.suffix == ".py")}


def test_the_picture_shows_the_layers_of_the_contract() -> None:
    (layers,) = (contract["layers"] for contract in CONTRACTS if contract["type"] == "layers")
    (chain,) = re.findall(r"^ +(\w+ --> .*)$", PAGE, re.MULTILINE)
    assert chain.replace("&", "|").split(" --> ") == layers


def test_every_package_has_a_line_and_a_box() -> None:
    described = re.findall(r"^\| `shared/(\w+)(?:/|\.py)` \|", PAGE, re.MULTILINE)
    assert set(described) == packages()
    assert set(re.findall(r'^  (\w+)\["<b>\1</b>', PAGE, re.MULTILINE)) == packages()


def test_a_change_passes_few_modules() -> None:
    way = re.findall(r"^\d+\. `([\w/]+\.py)`: ", PAGE, re.MULTILINE)
    assert way[0] == "function_app.py"
    assert len(set(way)) == len(way) <= LONGEST_WAY


def test_an_import_that_points_up_is_refused(tmp_path: Path) -> None:
    """The contracts as they are, over a product whose lowest layer knows the highest."""
    for package in ("shared", "emulators", "local", *(f"shared/{name}" for name in packages())):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    contracts = (ROOT / "pyproject.toml").read_text()
    no_adapters = 'unmatched_ignore_imports_alerting = "none"\nignore_imports'  # the packages here are empty
    (tmp_path / "pyproject.toml").write_text(contracts.replace("ignore_imports", no_adapters))

    def refused() -> str:
        command = [sys.executable, "-c", dev.IMPORT_CONTRACTS]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603  (fixed)
        return done.stdout if done.returncode else ""

    assert refused() == ""
    (tmp_path / "shared/model/__init__.py").write_text("from .. import cli\n")
    assert "shared.model is not allowed to import shared.cli" in refused()
