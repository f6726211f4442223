"""The msisync command on Windows: whatever it imports must be there. The app and the embedded stack run elsewhere."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Of the standard library, as Windows lacks it. Packages of others are imported before it is taken away.
AS_ON_WINDOWS = """
import importlib, os, pkgutil, signal, sys
import aiohttp, asyncio, azure.core, azure.functions, httpx, opentelemetry.trace, pydantic, rich.console, rich.progress
import cryptography.x509, logging.handlers, multiprocessing, select, socket, subprocess, tempfile

for name in ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
for name in ("fork", "forkpty", "geteuid", "getuid", "getgid", "killpg", "mkfifo", "setsid", "uname", "O_NOFOLLOW"):
    delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGALRM", "SIGPIPE"):
    delattr(signal, name)

import shared
modules = [module.name for module in pkgutil.walk_packages(shared.__path__, "shared.")]
for name in modules:
    importlib.import_module(name)
print(len(modules))
"""


def test_every_module_can_be_imported_without_what_only_unix_has() -> None:
    command = [sys.executable, "-W", "error", "-c", AS_ON_WINDOWS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603  (fixed)
    assert done.stderr == ""
    assert int(done.stdout) > 100
