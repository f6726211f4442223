"""The msisync command as `pip install .` and pipx bring it: built from a checkout, installed where nothing else is.

The bare environment has what the wheel says that it needs, and what that needs in turn, taken from the environment of
this test run: nothing is downloaded, and a dependency that the wheel forgets is missing.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

from shared.cli.command import Exit

ROOT = Path(__file__).parents[2]


class Installed(NamedTuple):
    """A checkout, the commit that it is at, and the environment that its wheel was installed into."""

    checkout: Path
    commit: str
    environment: Path

    def msisync(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command in a folder, with nothing of this process' environment."""
        return run(str(self.environment / "bin/msisync"), *arguments, folder=folder, env={"PATH": os.defpath})


def run(
    *command: str, folder: Path = ROOT, env: dict[str, str] | None = None, check: bool = False
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=check)  # noqa: S603  (ours)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if ".git" not in path.parts}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of a repository that has everything here but what .gitignore names, changes included."""
    clone = tmp_path_factory.mktemp("checkout")
    author = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    from_here = (f"--git-dir={clone / '.git'}", f"--work-tree={ROOT}")
    run("git", "init", "-q", folder=clone, check=True)
    for command in (("add", "-A"), (*author, "commit", "-qm", "a clone")):
        run("git", *from_here, *command, check=True)
    run("git", "reset", "-q", "--hard", folder=clone, check=True)
    return clone


@pytest.fixture(scope="module")
def installed(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    before = files(checkout)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    offline = ("--quiet", "--no-index", "--no-deps")
    run(*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(folder), str(checkout), check=True)
    left = {name for name in files(checkout) - before if "__pycache__" not in name}
    assert left == set(), "a build leaves nothing behind"
    (wheel,) = folder.glob("*.whl")
    bare = folder / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", str(bare), check=True)
    run(*pip, "--python", str(bare / "bin/python"), "install", *offline, str(wheel), check=True)
    (packages,) = bare.glob("lib/*/site-packages")
    (msisync,) = distributions(name="msisync", path=[str(packages)])
    for needed in closure(msisync, {}):
        link(needed, packages)
    commit = run("git", "rev-parse", "--short=12", "HEAD", folder=checkout, check=True).stdout.strip()
    return Installed(checkout, commit, bare)


def closure(package: Distribution, found: dict[str, Distribution]) -> Iterator[Distribution]:
    """What a package needs on this machine, each once."""
    for line in package.requires or ():
        requirement = Requirement(line)
        wanted = [{"extra": extra} for extra in ("", *requirement.extras)]
        if requirement.name in found or (requirement.marker and not any(map(requirement.marker.evaluate, wanted))):
            continue
        try:
            found[requirement.name] = distribution(requirement.name)
        except PackageNotFoundError:
            pytest.fail(f"{package.name} needs {line}, which is not in the lock file")
        yield found[requirement.name]
        yield from closure(found[requirement.name], found)


def link(package: Distribution, target: Path) -> None:
    """Put a package's files where another environment finds them."""
    for file in package.files or ():
        source, place = Path(str(package.locate_file(file))), target / file
        if ".." not in file.parts and "__pycache__" not in file.parts and source.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                place.symlink_to(source)


def test_the_wheel_has_one_package_called_msisync(installed: Installed) -> None:
    (record,) = installed.environment.glob("lib/*/site-packages/msisync-*.dist-info/RECORD")
    tops = {line.split("/")[0].split(",")[0] for line in record.read_text().splitlines()}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"..", "msisync"}  # ..: the command


def test_the_wheel_has_the_files_of_the_console(installed: Installed) -> None:
    folder = Path("shared/cli/console")
    (record,) = installed.environment.glob("lib/*/site-packages/msisync-*.dist-info/RECORD")
    have = {line.split(",")[0] for line in record.read_text().splitlines()}
    whole = [path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    wanted = {f"msisync/cli/console/{path.relative_to(ROOT / folder).as_posix()}" for path in whole}
    assert len(wanted) > 5
    assert wanted - have == set()


def test_it_tells_the_version_and_commit_of_the_checkout(installed: Installed, tmp_path: Path) -> None:
    told = installed.msisync(tmp_path, "--version")
    found = re.fullmatch(r"msisync (\d+\.\d+\.\d+\+[0-9a-f]{8}) \(commit ([0-9a-f]+)\)\n", told.stdout)
    assert found, told
    assert found[2] == installed.commit
    digest = "from shared.config.version import deployed; print(deployed())"
    assert run(sys.executable, "-B", "-c", digest, folder=installed.checkout).stdout.strip() == found[1]


def test_its_help_says_how_to_begin(installed: Installed, tmp_path: Path) -> None:
    told = installed.msisync(tmp_path, "--help")
    assert (told.returncode, told.stderr) == (Exit.OK, "")
    assert f"Begin with: {installed.environment / 'bin/msisync'} doctor." in told.stdout  # as it was started
    assert "are in msisync's repository" in told.stdout


def test_without_settings_the_doctor_says_what_is_missing(installed: Installed, tmp_path: Path) -> None:
    told = installed.msisync(tmp_path, "doctor")
    assert (told.returncode, told.stderr) == (Exit.FAILED, "")
    assert f"{tmp_path / 'local.settings.json'} does not exist" in told.stdout
    assert "Traceback" not in told.stdout


def test_without_sync_toml_a_command_says_where_it_looked_for_it(installed: Installed, tmp_path: Path) -> None:
    settings = json.loads((installed.checkout / "local.settings.example.json").read_text(encoding="utf-8"))
    settings["Values"] |= {
        "DATAVERSE_URL": "https://example.crm.dynamics.com",
        "MARKETO_URL": "https://123-abc-456.mktorest.com",
        "ServiceBusConnection": "Endpoint=sb://example.servicebus.windows.net/;SharedAccessKeyName=a;SharedAccessKey=YQ==",
    }
    (tmp_path / "local.settings.json").write_text(json.dumps(settings), encoding="utf-8")
    told = installed.msisync(tmp_path, "fields", "check")
    assert told.returncode == Exit.FAILED
    assert told.stderr == f"NoSyncConfig: {tmp_path / 'sync.toml'} does not exist; set SYNC_CONFIG or add the file\n"


def test_every_module_can_be_imported_under_its_new_name(installed: Installed, tmp_path: Path) -> None:
    """None of them names the package as the checkout does."""
    code = (
        "import importlib, pkgutil, msisync\n"
        "for module in pkgutil.walk_packages(msisync.__path__, 'msisync.'): importlib.import_module(module.name)"
    )
    told = run(str(installed.environment / "bin/python"), "-c", code, folder=tmp_path, env={"PATH": os.defpath})
    assert told.stderr == ""


def test_a_checkout_that_has_changed_since_its_commit_says_so(checkout: Path) -> None:
    version = "from shared.config.version import commit; print(commit())"
    page = checkout / "README.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(f"{text}\nMore.\n", encoding="utf-8")
    try:
        assert run(sys.executable, "-B", "-c", version, folder=checkout).stdout.endswith("-dirty\n")
    finally:
        page.write_text(text, encoding="utf-8")
