"""What every test of a command begins with."""

from pathlib import Path
from typing import Any

import pytest

from shared.cli import invocation, main
from tests.support.command_line import NAMES, Msisync, Run, command


@pytest.fixture(autouse=True)
def _as_nobody_has_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that starts msisync leaves its words to none of those that come after it in this process."""
    monkeypatch.setattr(invocation, "_in_use", invocation.Invocation())


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory, and an environment that is put back."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def msisync(monkeypatch: pytest.MonkeyPatch) -> Msisync:
    """Runs the command line with these commands instead of the product's."""
    monkeypatch.setitem(main.GROUPS, "things", "what there is of things")

    def run(*words: str, does: Run, name: str = "look", arguments: Any = None) -> int:
        monkeypatch.setattr(main, "meant", lambda _: (command(name, does, arguments),))
        return main.main(words)

    return run
