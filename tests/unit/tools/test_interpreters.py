"""Which Python a machine's set-up takes, and which remedy it names where there is none, or no compiler."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.unit.tools.conftest import FakePython
from tools import interpreters
from tools.interpreters import Interpreter, SetupError


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
