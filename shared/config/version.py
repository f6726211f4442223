"""Which version runs: that of pyproject.toml, the commit, and a digest of what is deployed."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

VERSION = "0.1.0"
#: The folder of function_app.py, in a checkout and where the app is deployed.
ROOT = Path(__file__).resolve().parents[2]
#: The file beside this one that tools/wheel.py adds to a wheel: what only its checkout could tell.
STAMP = "built_from.json"
_FILES = ("function_app.py", "host.json", "requirements.txt", "sync.toml")
#: What of shared/ is deployed: the code, and the console's templates and what browsers get of it.
SUFFIXES = frozenset({".py", ".toml", ".html", ".css", ".js", ".svg"})


def deployed(root: Path = ROOT) -> str:
    """`0.1.0+1a2b3c4d`: equal in the app and in the checkout that it was deployed from. Reads some 300 small files."""
    if stamped := _stamp().get("deployed"):
        return stamped
    digest = hashlib.sha256()
    sources = [path for path in (root / "shared").rglob("*") if path.suffix in SUFFIXES]
    sources.sort(key=lambda path: path.relative_to(root).as_posix())
    for path in (*(root / name for name in _FILES if (root / name).exists()), *sources):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return f"{VERSION}+{digest.hexdigest()[:8]}"


def commit(root: Path = ROOT) -> str:
    """The commit that this code is from, with `-dirty` when files have changed since; `unknown` without git."""
    if stamped := _stamp().get("commit"):
        return stamped
    if not (root / ".git").exists():  # another project's repository, around this one, does not count
        return "unknown"
    command = ["git", "--no-optional-locks", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(  # noqa: S603  (a fixed command)
            [*command, "--abbrev=12"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def _stamp() -> dict[str, str]:
    """What the wheel was stamped with; nothing in a checkout and in the app."""
    try:
        stamp: dict[str, str] = json.loads(Path(__file__).with_name(STAMP).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return stamp
