"""A file that a command writes: for its owner alone, complete or not there, never instead of or through another one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from uuid import uuid4

#: A link in the place of the file is not followed; Windows has no such flag, and O_EXCL refuses one there as well.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@contextmanager
def private_file(path: Path) -> Iterator[TextIO]:
    """A new text file (UTF-8) that appears under its name when it is complete, readable by its owner alone (0600).

    Raises FileExistsError when anything has that name, a link that leads nowhere too; other OSErrors as they come.
    """
    if os.path.lexists(path):
        raise FileExistsError(path)
    unfinished = path.with_name(f"{path.name}.{uuid4().hex[:12]}.unfinished")
    try:
        with os.fdopen(os.open(unfinished, _NEW, 0o600), "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _appear(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _appear(unfinished: Path, path: Path) -> None:
    """Give it its name, unless another file has taken that meanwhile."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # a file system without second names: the name is taken first, then filled
        os.close(os.open(path, _NEW, 0o600))
        unfinished.replace(path)
