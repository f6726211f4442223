"""dev.py on machines of all kinds: which Python it takes, what it finds complete, how it reports a failing tier."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import dev
from tools import installation, interpreters
from tools.chromium import find_chromium
from tools.interpreters import Interpreter, SetupError

FakePython = Callable[..., Path]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePython:
    """A machine without any Python but those that the test puts there."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:{tmp_path / 'bin'}")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("DEV_PYTHON", raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))

    def add(place: str, version: str, *, headers: bool = True, venv: bool = True, runs: bool = True) -> Path:
        path = tmp_path / place / f"python{version.rpartition('.')[0]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {
            "version": [int(part) for part in version.split(".")], "implementation": "cpython", "headers": headers,
            "venv": venv,
        }  # fmt: skip
        action = f"echo '{json.dumps(facts)}'" if runs else "exit 127"
        path.write_text(f"#!/bin/sh\n{action}\n")
        path.chmod(0o755)
        return path

    return add


def test_the_deployed_version_is_preferred(machine: FakePython) -> None:
    machine("bin", "3.11.9")
    machine("bin", "3.12.4")
    wanted = machine("bin", "3.13.1")
    assert interpreters.find_python() == Interpreter(wanted, (3, 13, 1))


def test_a_shim_that_does_not_run_hides_no_python_behind_it(machine: FakePython) -> None:
    machine("shims", "3.13.1", runs=False)
    wanted = machine("bin", "3.13.1")
    assert interpreters.find_python().path == wanted


@pytest.mark.parametrize(
    "folder",
    [
        Path(".pyenv", "versions", "3.13.0", "bin"),
        Path(".local", "share", "uv", "python", "cpython-3.13.0-linux-x86_64-gnu", "bin"),
    ],
)
def test_version_managers_are_looked_into(machine: FakePython, folder: Path) -> None:
    machine("shims", "3.13.0", runs=False)
    machine("bin", "3.12.4")
    wanted = machine(f"home/{folder}", "3.13.0")
    assert interpreters.find_python().path == wanted


@pytest.mark.parametrize("version", ["3.12.4", "3.11.2"])
def test_an_older_version_serves_where_nothing_better_is(machine: FakePython, version: str) -> None:
    machine("bin", version)
    assert str(interpreters.find_python()) == version


def test_a_certain_python_can_be_asked_for(machine: FakePython, monkeypatch: pytest.MonkeyPatch) -> None:
    machine("bin", "3.13.1")
    machine("bin", "3.11.4")
    monkeypatch.setenv("DEV_PYTHON", "3.11")
    assert str(interpreters.find_python()) == "3.11.4"


def test_a_python_without_headers_is_passed_over_aloud(machine: FakePython, capsys: pytest.CaptureFixture[str]) -> None:
    machine("bin", "3.13.1", headers=False)
    machine("bin", "3.12.4")
    assert str(interpreters.find_python()) == "3.12.4"
    assert "Python 3.13.1" in (said := capsys.readouterr().out)
    assert "headers (Python.h) are missing" in said


def test_every_unusable_python_is_named_with_its_remedy(machine: FakePython, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    machine("bin", "3.13.1", venv=False)
    machine("bin", "3.11.2", headers=False)
    with pytest.raises(SetupError) as error:
        interpreters.find_python()
    assert "virtual environments (apt-get install python3.13-venv)" in str(error.value)
    assert "Python.h) are missing (apt-get install python3.11-dev)" in str(error.value)


@pytest.mark.usefixtures("machine")
def test_a_machine_without_python_is_told_what_to_install() -> None:
    with pytest.raises(SetupError, match=r"Python 3\.13 is missing\. Remedy: "):
        interpreters.find_python()


@pytest.mark.parametrize(
    ("platform", "apt", "expected"),
    [
        ("linux", "/usr/bin/apt-get", "apt-get install gcc"),
        ("linux", None, "install what Debian calls gcc"),
        ("darwin", None, "xcode-select --install"),
    ],
)
def test_a_missing_compiler_is_named_with_the_platform_s_remedy(
    monkeypatch: pytest.MonkeyPatch, platform: str, apt: str | None, expected: str
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(shutil, "which", {"apt-get": apt}.get)
    with pytest.raises(SetupError, match=f"C compiler is missing.*{expected}$"):
        interpreters.check_compiler()


@pytest.mark.parametrize(("variable", "present"), [("", "gcc"), ("", "clang"), ("ccache tcc", "ccache")])
def test_any_compiler_will_do(monkeypatch: pytest.MonkeyPatch, variable: str, present: str) -> None:
    monkeypatch.setenv("CC", variable)
    monkeypatch.setattr(shutil, "which", {present: f"/usr/bin/{present}"}.get)
    interpreters.check_compiler()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in which everything is installed."""
    monkeypatch.setattr(installation, "ROOT", tmp_path)
    monkeypatch.setattr(installation, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(installation, "PYTHON", tmp_path / ".venv/bin/python")
    monkeypatch.setattr(installation, "LOG", tmp_path / ".local/setup.log")
    monkeypatch.setenv("PATH", "")
    for name in (
        installation.DEV_LOCK,
        *map(installation.npm_lock, installation.NPM_FOLDERS),
        ".venv/bin/python",
        ".venv/bin/node",
        *(f"{folder}/node_modules/x" for folder in installation.NPM_FOLDERS),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(0o755)
    python = installation.fingerprint(installation.DEV_LOCK)
    installation.write_stamp(installation.VENV, python="3.13.0", root=str(tmp_path), fingerprint=python)
    for folder in installation.NPM_FOLDERS:
        fingerprint = installation.fingerprint(installation.npm_lock(folder))
        installation.write_stamp(tmp_path / folder / "node_modules", fingerprint=fingerprint)
    return tmp_path


@pytest.fixture
def installed(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that a set-up in that checkout runs; each leaves what the real one would."""
    commands: list[list[str]] = []

    def install(_: str, command: Sequence[str | Path], folder: Path = checkout) -> None:
        words = [str(part) for part in command]
        commands.append(words)
        for made in (
            (installation.PYTHON, installation.VENV / "bin/node") if "venv" in words else (folder / "node_modules/x",)
        ):
            made.parent.mkdir(parents=True, exist_ok=True)
            made.touch(mode=0o755)

    monkeypatch.setattr(installation, "install", install)
    monkeypatch.setattr(installation, "find_python", lambda: Interpreter(Path("/usr/bin/python3.13"), (3, 13, 1)))
    monkeypatch.setattr(installation, "node_is_usable", lambda: installation.machine_node() is not None)
    monkeypatch.setattr(installation, "check_compiler", lambda: None)
    return commands


def test_a_complete_checkout_starts_without_any_process(installed: list[list[str]]) -> None:
    installation.set_up()
    assert installed == []


def test_a_changed_lock_file_brings_the_environment_up_to_date(checkout: Path, installed: list[list[str]]) -> None:
    (checkout / "requirements-dev.txt").write_text("httpx==0.28.1")
    installation.set_up()
    assert [(command[1:4], command[-2:]) for command in installed] == [
        (["-m", "pip", "install"], ["-r", "requirements-dev.txt"]),
    ]
    installed.clear()
    installation.set_up()
    assert installed == []


def test_the_command_runs_the_code_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any folder, and whatever the checkout's path: here it has a blank and quotes."""
    root, elsewhere = tmp_path / "a 'clone' of \"it\"", tmp_path / "elsewhere"
    (root / ".venv/bin").mkdir(parents=True)
    (root / "shared/cli").mkdir(parents=True)
    (root / "shared/cli/start.py").write_text("import sys\n\ndef main(): print(*sys.argv[1:])\n")
    (elsewhere / "shared").mkdir(parents=True)  # not ours
    (elsewhere / "shared/__init__.py").touch()
    (root / ".venv/bin/python").symlink_to(sys.executable)
    monkeypatch.setattr(installation, "ROOT", root)
    monkeypatch.setattr(installation, "VENV", root / ".venv")
    monkeypatch.setattr(installation, "PYTHON", root / ".venv/bin/python")
    installation.write_command()
    command = [str(installation.VENV / "bin/msisync"), "two words", "--json"]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)  # noqa: S603  (fixed)
    assert (done.stdout, done.stderr) == ("two words --json\n", "")


@pytest.mark.parametrize("damage", ["half-built", "no interpreter", "moved here", "older Python"])
def test_a_broken_environment_is_built_anew(checkout: Path, installed: list[list[str]], damage: str) -> None:
    facts = installation.read_stamp(installation.VENV)
    if damage == "half-built":
        (installation.VENV / installation.STAMP).unlink()
    elif damage == "no interpreter":
        installation.PYTHON.unlink()
    elif damage == "moved here":
        installation.write_stamp(installation.VENV, **{**facts, "root": "/elsewhere"})
    else:
        installation.write_stamp(installation.VENV, **{**facts, "python": "3.12.9"})
    (checkout / ".venv/leftover").touch()
    installation.set_up()
    assert [command[1:3] for command in installed] == [["-m", "venv"], ["-m", "pip"]]
    assert not (checkout / ".venv/leftover").exists()
    assert installation.venv_version() == (3, 13, 1)


def test_an_interrupted_installation_is_repeated(installed: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    (installation.ROOT / installation.DEV_LOCK).write_text("httpx==0.28.1")

    def fail(*_: Any) -> None:
        raise SetupError("no network")

    with monkeypatch.context() as broken:
        broken.setattr(installation, "install", fail)
        with pytest.raises(SetupError, match="no network"):
            installation.set_up()
    installation.set_up()
    assert [command[1:3] for command in installed] == [["-m", "venv"], ["-m", "pip"]]


def test_node_comes_from_pypi_where_the_machine_has_none(installed: list[list[str]]) -> None:
    (installation.VENV / "bin/node").unlink()
    installation.set_up()
    assert [command[-1] for command in installed] == [installation.NODE_WHEEL]


@pytest.mark.parametrize("folder", installation.NPM_FOLDERS)
def test_a_new_azurite_or_axe_is_installed(checkout: Path, installed: list[list[str]], folder: str) -> None:
    (checkout / installation.npm_lock(folder)).write_text("another version")
    installation.set_up()
    assert [command[1] for command in installed] == ["ci"]
    assert installation.is_complete()


def test_an_environment_of_another_python_than_the_deployed_one_is_named_aloud(
    checkout: Path,
    installed: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(installation, "find_python", lambda: Interpreter(Path("/usr/bin/python3.11"), (3, 11, 2)))
    fingerprint = installation.fingerprint(installation.DEV_LOCK)
    installation.write_stamp(installation.VENV, python="3.11.2", root=str(checkout), fingerprint=fingerprint)
    installation.set_up()
    assert installed == []
    assert "!!! PYTHON 3.13, WHICH IS DEPLOYED, IS NOT HERE" in capsys.readouterr().out


def test_a_failing_installer_shows_the_end_of_its_output(checkout: Path) -> None:
    (checkout / ".local").mkdir()
    program = [sys.executable, "-c", "import sys; print('no such package'); sys.exit(3)"]
    with pytest.raises(SetupError, match=r"no such package[\s\S]*Packages failed with exit code 3"):
        installation.install("Packages", program)


class Tiers:
    """Stands for the programs that the tiers run: ends those that contain a key of `codes` with its value."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.ran: list[str] = []

    def run(self, command: Sequence[str], **_: Any) -> SimpleNamespace:
        self.ran.append(" ".join(command[1:]))
        return SimpleNamespace(returncode=next((code for part, code in self.codes.items() if part in self.ran[-1]), 0))


@pytest.fixture
def tiers(monkeypatch: pytest.MonkeyPatch) -> Tiers:
    programs = Tiers()
    monkeypatch.setattr(subprocess, "run", programs.run)
    return programs


def test_every_tier_runs_in_order(
    tiers: Tiers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", {"chromium": "/usr/bin/chromium"}.get)
    assert dev.run_tests([]) == 0
    assert tiers.ran == [
        "-m ruff check", "-m ruff format --check", f"-c {dev.IMPORT_CONTRACTS}", "-m mypy",
        "-m pytest tests/unit -n 2 --dist loadfile --no-loadscope-reorder", "-m pytest tests/package",
        "-m tools.site", "-m tools.scan", "-m pytest tests/integration -n 5 --dist loadfile --no-loadscope-reorder",
        "-m pytest tests/e2e -n 4 --dist loadgroup", "-m pytest tests/browser",
    ]  # fmt: skip
    summary = capsys.readouterr().out.splitlines()[-len(dev.TIERS) :]
    assert [line.split()[:2] for line in summary] == [[name, "passed"] for name in dev.TIERS]


@pytest.mark.parametrize(
    ("variable", "present", "found"),
    [
        ("", "chromium-browser", "chromium-browser"),
        ("", "google-chrome", "google-chrome"),
        ("/opt/chrome", "/opt/chrome", "/opt/chrome"),
        ("/opt/chrome", "chromium", None),
        ("", "firefox", None),
    ],
)
def test_the_browser_is_the_one_that_is_named_or_any_chromium(
    monkeypatch: pytest.MonkeyPatch, variable: str, present: str, found: str | None
) -> None:
    monkeypatch.setenv("CHROMIUM", variable)
    monkeypatch.setattr(shutil, "which", {present: present}.get)
    assert find_chromium() == found


@pytest.mark.usefixtures("tiers")
@pytest.mark.parametrize(("chosen", "is_said"), [([], True), (["browser"], True), (["unit"], False)])
def test_a_machine_without_chromium_is_told_so_last_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], chosen: list[str], is_said: bool
) -> None:
    monkeypatch.setattr(shutil, "which", {"apt-get": "/usr/bin/apt-get"}.get)
    monkeypatch.setattr(sys, "platform", "linux")
    assert dev.run_tests(chosen) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert ("!!! THE CONSOLE WAS NOT TESTED IN A BROWSER" in last) == is_said
    assert ("apt-get install chromium; or name its path in the variable CHROMIUM" in last) == is_said


def test_the_first_tier_that_fails_is_the_last_that_runs(tiers: Tiers, capsys: pytest.CaptureFixture[str]) -> None:
    tiers.codes["tests/unit"] = 1
    assert dev.run_tests([]) == 1
    assert tiers.ran[-1].startswith("-m pytest tests/unit")
    said = capsys.readouterr().out
    assert "unit         FAILED" in said
    assert said.endswith("The tier unit failed; the tiers after it did not run.\n")


def test_a_tier_can_be_chosen_with_arguments_for_pytest(tiers: Tiers) -> None:
    assert dev.run_tests(["unit", "e2e", "-k", "routing"]) == 0
    assert tiers.ran == [
        "-m pytest tests/unit -n 2 --dist loadfile --no-loadscope-reorder -k routing",
        "-m pytest tests/e2e -n 4 --dist loadgroup -k routing",
    ]


def test_a_selection_may_miss_a_tier_but_a_tier_without_tests_fails(tiers: Tiers) -> None:
    tiers.codes["tests/"] = 5
    assert dev.run_tests(["unit", "-k", "routing"]) == 0
    assert dev.run_tests(["unit"]) == 1
    assert len(tiers.ran) == 2


# -- the tiers that run when they are named ---------------------------------------------------------------------------


def test_the_other_pythons_repeat_lint_types_and_unit_tests(
    checkout: Path,
    tiers: Tiers,
    machine: FakePython,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the fakes of both: .venv is 3.13, 3.11 is here as well, 3.12 is not."""
    python = machine("bin", "3.11.9")
    made: list[list[str]] = []

    def install(_: str, command: Sequence[str | Path], folder: Path = checkout) -> None:  # noqa: ARG001
        made.append([str(part) for part in command])
        (dev.OTHERS / "3.11").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(dev, "OTHERS", checkout / ".local/pythons")
    monkeypatch.setattr(installation, "install", install)
    monkeypatch.setattr(dev, "other_pythons", lambda: [Interpreter(python, (3, 11, 9))])
    for _ in range(2):
        tiers.ran.clear()
        assert dev.run_tests(["versions"]) == 0
        assert tiers.ran == [
            "-m ruff check",
            "-m ruff format --check",
            f"-c {dev.IMPORT_CONTRACTS}",
            "-m mypy --python-version 3.11",
            "-m pytest tests/unit -n 2 --dist loadfile --no-loadscope-reorder",
        ]
    assert [command[1:3] for command in made] == [["-m", "venv"], ["-m", "pip"]]  # once
    assert "Python 3.12 is not here: not tried." in capsys.readouterr().out
    tiers.codes["pytest"] = 1
    assert dev.run_tests(["versions"]) == 1


def test_other_pythons_are_those_that_are_promised_and_here(machine: FakePython, checkout: Path) -> None:
    assert installation.venv_version() == (3, 13, 0)
    machine("bin", "3.13.1")
    machine("bin", "3.12.4", headers=False)
    wanted = machine("bin", "3.11.9")
    assert os.environ["PATH"] == ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(wanted.parent))
        assert dev.other_pythons() == [Interpreter(wanted, (3, 11, 9))]
    assert checkout.exists()


@pytest.mark.parametrize(("failing", "code"), [("", 0), ("dev.py lock", 3), ("dev.py bench", 0), ("dev.py demo", 3)])
def test_every_task_is_tried_once(tiers: Tiers, monkeypatch: pytest.MonkeyPatch, failing: str, code: int) -> None:
    """The benchmark may miss a target on a busy machine."""
    monkeypatch.setattr(dev, "try_stack", lambda: 0)
    if failing:
        tiers.codes[failing] = 1 if failing == "dev.py bench" else 3
    assert dev.try_tasks() == code
    tried = {command.split()[0] if not command.startswith("dev.py") else command.split()[1] for command in tiers.ran}
    if not failing:
        assert tried | {"up", "stack", "test"} == set(dev.TASKS)
