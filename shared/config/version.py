"""Which version runs: that of pyproject.toml, and a digest of what is deployed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

VERSION = "0.1.0"
#: The folder of function_app.py, in a checkout and where the app is deployed.
ROOT = Path(__file__).resolve().parents[2]
_FILES = ("function_app.py", "host.json", "requirements.txt", "sync.toml")


def deployed(root: Path = ROOT) -> str:
    """`0.1.0+1a2b3c4d`: equal in the app and in the checkout that it was deployed from. Reads some 200 small files."""
    digest = hashlib.sha256()
    for path in _sources(root):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return f"{VERSION}+{digest.hexdigest()[:8]}"


def _sources(root: Path) -> Iterator[Path]:
    yield from (root / name for name in _FILES if (root / name).exists())
    yield from sorted((root / "shared").rglob("*.py"), key=lambda path: path.relative_to(root).as_posix())
