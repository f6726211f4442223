#!/usr/bin/env python3
"""Set-up and tasks on a bare machine, with the standard library alone: python3 dev.py demo | test | up | bench.

Every task first installs what is missing: the virtual environment in .venv, Azurite in node_modules beside the package
emulators.azurite, and axe-core in tests/browser. A second start finds them and begins at once. What it cannot install
(Python, a C compiler, Chromium for the tests in a browser) it names, with the remedy.
"""

import argparse
import os
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

from collections.abc import Sequence
from typing import NoReturn

from tools import installation
from tools.chromium import find_chromium, no_chromium
from tools.installation import DEV_LOCK, PYTHON, ROOT, read_stamp, venv_version, write_stamp
from tools.interpreters import VERSIONS, Interpreter, SetupError, candidates, probe, say

TASKS = {
    "demo": "watch thousands of changes on their way, and the proof that every one arrived",
    "test": "run every check; test lint|types|unit|package|docs|infra|integration|e2e|browser [pytest arguments] runs "
    "a part; test versions repeats types and unit on every Python that is promised and here, test "
    "tasks tries each task, shortened",
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
IN_ORDER = "--no-loadscope-reorder"
WHOLE_FILES = ("--dist", "loadfile", IN_ORDER)
TIERS = {
    "lint": (["-m", "ruff", "check"], ["-m", "ruff", "format", "--check"], ["-c", IMPORT_CONTRACTS]),
    "types": (["-m", "mypy"],),
    "unit": (["-m", "pytest", "tests/unit", "-n", "2", *WHOLE_FILES],),
    "package": (["-m", "pytest", "tests/package"],),
    "docs": (["-m", "tools.site"],),
    "infra": (["-m", "tools.scan"],),
    # These wait for processes and for the SDK's own pauses most of the time: many at once on two cores.
    "integration": (["-m", "pytest", "tests/integration", "-n", "5", *WHOLE_FILES],),
    "e2e": (["-m", "pytest", "tests/e2e", "-n", "4", "--dist", "loadgroup", IN_ORDER],),
    "browser": (["-m", "pytest", "tests/browser", "-n", "2", *WHOLE_FILES],),
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
    if "browser" in (chosen or TIERS) and not failed and find_chromium() is None:
        say(f"!!! THE CONSOLE WAS NOT TESTED IN A BROWSER. {no_chromium()}")
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
    """Run types and unit on every promised Python that is here, each in an environment of its own.

    Not lint: ruff and import-linter read the text of the code, for which it is the same which Python runs them.
    """
    missing = {version for version in VERSIONS if version != venv_version()[:2]}
    for python in other_pythons():
        missing -= {python.version[:2]}
        environment = OTHERS / "{}.{}".format(*python.version)
        interpreter = environment / "bin" / "python"
        if read_stamp(environment).get("fingerprint") != installation.fingerprint(DEV_LOCK):
            shutil.rmtree(environment, ignore_errors=True)
            environment.parent.mkdir(parents=True, exist_ok=True)
            installation.install(f"Virtual environment with Python {python}", [python.path, "-m", "venv", environment])
            pip: list[str | Path] = [interpreter, "-m", "pip", "install", "--no-input"]
            installation.install(f"Packages for Python {python}", [*pip, "-r", DEV_LOCK])
            write_stamp(environment, fingerprint=installation.fingerprint(DEV_LOCK))
        for name in ("types", "unit"):
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
        installation.set_up()
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
