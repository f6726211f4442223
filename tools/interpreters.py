"""Which Python a set-up takes: the deployed version where it is here, and what keeps one from being used.

Standard library alone: dev.py uses it before .venv exists.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DEPLOYED = (3, 13)
VERSIONS = (DEPLOYED, (3, 12), (3, 11))
PROBE = """
import importlib.util, json, os, sys, sysconfig
print(json.dumps({
    "version": sys.version_info[:3],
    "implementation": sys.implementation.name,
    "headers": os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")),
    "venv": all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")),
}))
"""


class SetupError(Exception):
    """Something is missing that dev.py cannot install. The message says what, and the remedy."""


@dataclass(frozen=True)
class Interpreter:
    """A Python that really runs, with what stands in the way of using it."""

    path: Path
    version: tuple[int, int, int]
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join(str(part) for part in self.version)


def say(line: str) -> None:
    """Tell the person at the terminal, at once."""
    print(line, flush=True)


def candidates(version: tuple[int, int]) -> Iterator[Path]:
    """Yield where a Python of this version may be: on PATH, in pyenv's and uv's folders, or the one that runs this."""
    name = "python{}.{}".format(*version)
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield Path(folder) / name
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    uv = Path.home() / ".local" / "share" / "uv" / "python"
    installed = [*pyenv.glob("{}.{}*".format(*version)), *uv.glob("cpython-{}.{}.*".format(*version))]
    yield from (folder / "bin" / name for folder in sorted(installed, reverse=True))
    if sys.version_info[:2] == version:
        yield Path(sys.executable)


def probe(path: Path, version: tuple[int, int]) -> "Interpreter | None":
    """Run a candidate and return what it is; None when it is not there, does not run (a shim) or lies."""
    if not os.access(path, os.X_OK):
        return None
    try:
        answer = subprocess.run([path, "-I", "-c", PROBE], capture_output=True, check=True, timeout=30)
        facts = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    found = tuple(facts["version"])
    if found[:2] != version or facts["implementation"] != "cpython":
        return None
    package = "python{}.{}".format(*version)
    problems = []
    if not facts["venv"]:
        problems.append(f"it cannot make virtual environments ({remedy(f'{package}-venv')})")
    if not facts["headers"]:
        problems.append(f"its headers (Python.h) are missing ({remedy(f'{package}-dev')})")
    return Interpreter(path, (found[0], found[1], found[2]), tuple(problems))


def remedy(debian_package: str) -> str:
    """Return the command that installs a package of Debian's, or what stands for it elsewhere."""
    if sys.platform == "darwin":
        others = {"gcc": "xcode-select --install", "chromium": "brew install --cask chromium"}
        return others.get(debian_package, "brew install python@3.13")
    if shutil.which("apt-get"):
        return f"apt-get install {debian_package}"
    return f"install what Debian calls {debian_package}"


def allowed_versions() -> "list[tuple[int, int]]":
    """Return the Pythons that will do: all that we run on, or the one that the variable DEV_PYTHON names."""
    only = os.environ.get("DEV_PYTHON")
    return [version for version in VERSIONS if only in (None, "", "{}.{}".format(*version))]


def find_python() -> Interpreter:
    """Return the best Python here, 3.13 before 3.12 before 3.11; with DEV_PYTHON=3.12, that one only.

    Raises SetupError when none can be used.
    """
    unusable: list[Interpreter] = []
    for version in allowed_versions():
        for path in candidates(version):
            found = probe(path, version)
            if found is not None and not found.problems:
                for other in unusable:
                    say(f"Python {other} at {other.path} is passed over: {'; '.join(other.problems)}")
                return found
            if found is not None:
                unusable.append(found)
    missing = f"Python 3.13 is missing. Remedy: {remedy('python3.13 python3.13-venv python3.13-dev')}"
    reasons = [f"Python {other} at {other.path}: {'; '.join(other.problems)}" for other in unusable]
    raise SetupError("\n".join(reasons or [missing]))


def check_compiler() -> None:
    """Raise SetupError where no C compiler is, which python-qpid-proton (it has no wheel) is built with."""
    names = (os.environ.get("CC", "").split() or ["cc"])[0], "cc", "gcc", "clang"
    if not any(shutil.which(name) for name in names):
        raise SetupError(f"A C compiler is missing; python-qpid-proton is built with it. Remedy: {remedy('gcc')}")
