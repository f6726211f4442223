"""What a set-up finds complete, what it installs, and what it does with an environment that is broken."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tools import installation
from tools.interpreters import Interpreter, SetupError


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


def restamp(venv: Path, **other: str) -> None:
    installation.write_stamp(venv, **{**installation.read_stamp(venv), **other})


DAMAGE: dict[str, Callable[[Path], None]] = {
    "half-built": lambda venv: (venv / installation.STAMP).unlink(),
    "no interpreter": lambda venv: (venv / "bin/python").unlink(),
    "moved here": lambda venv: restamp(venv, root="/elsewhere"),
    "older Python": lambda venv: restamp(venv, python="3.12.9"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_broken_environment_is_built_anew(
    checkout: Path, installed: list[list[str]], damage: Callable[[Path], None]
) -> None:
    damage(checkout / ".venv")
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
