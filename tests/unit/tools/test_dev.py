"""dev.py: which tiers run with what, how it reports one that fails, and the tiers that run when they are named."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import dev
from tests.unit.tools.conftest import FakePython
from tools import installation
from tools.interpreters import Interpreter


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
        "-m pytest tests/e2e -n 4 --dist loadgroup --no-loadscope-reorder",
        "-m pytest tests/browser -n 2 --dist loadfile --no-loadscope-reorder",
    ]  # fmt: skip
    summary = capsys.readouterr().out.splitlines()[-len(dev.TIERS) :]
    assert [line.split()[:2] for line in summary] == [[name, "passed"] for name in dev.TIERS]


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
        "-m pytest tests/e2e -n 4 --dist loadgroup --no-loadscope-reorder -k routing",
    ]


def test_a_selection_may_miss_a_tier_but_a_tier_without_tests_fails(tiers: Tiers) -> None:
    tiers.codes["tests/"] = 5
    assert dev.run_tests(["unit", "-k", "routing"]) == 0
    assert dev.run_tests(["unit"]) == 1
    assert len(tiers.ran) == 2


# -- the tiers that run when they are named ---------------------------------------------------------------------------


def test_the_other_pythons_repeat_types_and_unit_tests(
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


def test_every_task_is_tried(tiers: Tiers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev, "try_stack", lambda: 0)
    assert dev.try_tasks() == 0
    tried = {command.removeprefix("dev.py ").split()[0] for command in tiers.ran}
    assert tried | {"up", "stack", "test"} == set(dev.TASKS)


@pytest.mark.parametrize(("task", "its_code", "code"), [("lock", 3, 3), ("bench", 1, 0), ("demo", 3, 3)])
def test_a_task_that_fails_is_told_by_its_code(
    tiers: Tiers, monkeypatch: pytest.MonkeyPatch, task: str, its_code: int, code: int
) -> None:
    """The benchmark may miss a target on a busy machine."""
    monkeypatch.setattr(dev, "try_stack", lambda: 0)
    tiers.codes[f"dev.py {task}"] = its_code
    assert dev.try_tasks() == code
