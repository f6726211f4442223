"""Machines of all kinds, and a checkout in which everything is installed."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import installation

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
