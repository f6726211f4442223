"""What to try next, as lines that can be pasted into the terminal in which dev.py was started."""

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: A row of one's own, for the first try.
FIRST = ("contact", "firstname=Ada", "lastname=Byron", "emailaddress1=ada@contoso.example")


def here(path: Path) -> str:
    """A path of the checkout as one types it from where dev.py was started."""
    started_in = Path(os.environ.get("PWD", "/")).resolve()  # dev.py goes to the checkout; this is the shell's own
    path = path.absolute()
    return str(path.relative_to(started_in) if path.is_relative_to(started_in) else path)


def msisync(directory: Path, *words: str) -> str:
    """A command of msisync on the stack in a directory."""
    installed = ROOT / ".venv/bin/msisync"
    program = [here(installed)] if installed.exists() else [sys.executable, "-m", "shared.cli.main"]
    return shlex.join([*program, "--settings", here(directory / "local.settings.json"), *words])


def dev(*words: str) -> str:
    """A task of dev.py."""
    return shlex.join(["python3", here(ROOT / "dev.py"), *words])


def stack(directory: Path, command: str, *words: str) -> str:
    """A command to the stack in a directory."""
    usual = directory.resolve() == ROOT / ".local"
    return dev("stack", command, *words, *([] if usual else ["--directory", here(directory)]))


def after_start(directory: Path) -> Iterator[str]:
    """On a stack that has just been started."""
    yield "Now try, in another terminal:"
    yield f"  {stack(directory, 'write', *FIRST)}"
    yield f"  {msisync(directory, 'show', 'person', 'ada@contoso.example')}"
    yield f"  {msisync(directory, 'status')}"
    yield f"  {msisync(directory, 'console')}"


def after_demo() -> Iterator[str]:
    """When a demo's stack is gone again."""
    yield "Now try, on a stack that stays until Ctrl-C:"
    yield f"  {dev('up')}"


def after_write(directory: Path, table: str, id_: str) -> Iterator[str]:
    """On a row that has just been written."""
    yield "Now try:"
    if table in ("contact", "lead"):
        yield f"  {msisync(directory, 'show', 'person', id_)}"
    yield f"  {msisync(directory, 'history', id_)}"
    yield f"  {stack(directory, 'read', table, id_)}"
