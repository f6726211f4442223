"""python3 dev.py coverage: which tests it runs, what it reports, and when it fails."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tools import coverage

#: Lines and branches that were reached, and all of them.
MODULES = {"shared/sync/engine.py": (95, 100), "shared/sync/lease.py": (89, 100), "shared/model/clock.py": (100, 100)}


class Measured:
    """Stands for the coverage command: the tests of `failing` fail, and what they reach is `modules`."""

    def __init__(self, report: Path) -> None:
        self.report = report
        self.failing = ""
        self.modules = MODULES
        self.tests: list[str] = []

    def run(self, command: Sequence[str], **_: Any) -> SimpleNamespace:
        words = " ".join(command[3:])
        if words.startswith("json"):
            files = {
                name: {
                    "summary": {
                        "covered_lines": reached - 20, "covered_branches": 20, "num_statements": whole - 30,
                        "num_branches": 30,
                    }
                }
                for name, (reached, whole) in self.modules.items()
            }  # fmt: skip
            none = {"covered_lines": 0, "covered_branches": 0, "num_statements": 0, "num_branches": 0}
            files["shared/__init__.py"] = {"summary": none}
            self.report.write_text(json.dumps({"files": files}))
        if words.startswith("run"):
            self.tests.append(words.removeprefix("run -m pytest "))
            return SimpleNamespace(returncode=1 if self.failing and self.failing in words else 0)
        return SimpleNamespace(returncode=0)


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measured:
    programs = Measured(tmp_path / "report.json")
    monkeypatch.setattr(coverage, "REPORT", programs.report)
    monkeypatch.setattr(subprocess, "run", programs.run)
    monkeypatch.setattr(sys, "argv", ["coverage"])
    return programs


def test_packages_low_modules_and_the_total_are_named(measured: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    assert coverage.main() == 1  # the goal is missed
    assert [test.split()[0] for test in measured.tests] == ["tests/unit", "tests/integration", "tests/e2e"]
    assert capsys.readouterr().out.splitlines()[:-1] == [
        "", " 100.0 %  shared/model", "  92.0 %  shared/sync", "", "Modules below 90 %:",
        "  89.0 %  shared/sync/lease.py", "", "  94.7 %  in total, of lines and branches; the goal is 95 %",
    ]  # fmt: skip


@pytest.mark.parametrize(("failing", "code"), [("", 0), ("tests/integration", 1)])
def test_a_failing_test_does_not_end_the_measurement_but_fails_it(
    measured: Measured, capsys: pytest.CaptureFixture[str], failing: str, code: int
) -> None:
    measured.modules, measured.failing = {"shared/sync/engine.py": (96, 100)}, failing
    assert coverage.main() == code
    assert len(measured.tests) == 3
    assert ("Tests failed: integration" in capsys.readouterr().out) is bool(failing)


def test_a_part_is_measured_without_a_goal(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["coverage", "unit", "-k", "routing"])
    assert coverage.main() == 0
    assert [(test.split()[0], test.endswith("-k routing")) for test in measured.tests] == [("tests/unit", True)]
