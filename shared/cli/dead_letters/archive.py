"""`msisync dead-letters export`: dead letters in a file, one JSON object a line, read and written one by one."""

from __future__ import annotations

import base64
import json
import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from uuid import uuid4

from rich.console import Console

from ...azure.receiver import Message
from ...config.settings import QueueSettings
from ...model.errors import MsiSyncError
from ...model.ids_and_times import moment
from ..command import Exit, Result
from ..context import Context
from ..invocation import command_line
from ..output import json_types, say
from ..peek import Place
from .letter import DeadLetter, read
from .look import look
from .text import show_unseen

_BINARY = "base64"
#: A link in the place of the file is not followed; Windows has no such flag, and O_EXCL refuses one there as well.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class ArchiveError(MsiSyncError):
    """A file cannot be written or read as dead letters."""


async def export(context: Context, given: Namespace, progress: Console) -> Result:
    """Write dead letters to a new file; they stay where they are. Raises ArchiveError, and QueueUnavailable."""
    count = size = 0
    with writing(given.file) as file, progress.status("Writing the dead letters"):

        def write(letter: DeadLetter) -> None:
            nonlocal count, size
            size += file.write(line_of(letter))
            count += 1

        unseen = await look(context, given, write)
    data = {"file": str(given.file), "written": count, "characters": size, "not_looked_at": unseen}

    remove = command_line("dead-letters", "discard", "--exported", str(given.file), "--max", "0", "--apply")

    def show(console: Console) -> None:
        say(console, f"{count} dead letters written to {given.file}; they are still in their queues.", "green")
        say(console, f"To remove them there: {remove}")
        show_unseen(console, unseen)

    return Result(Exit.ATTENTION if unseen else Exit.OK, data, show)


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """A new text file (UTF-8) that appears under its name when it is complete, readable by its owner alone (0600).

    Raises ArchiveError when anything has that name, a link that leads nowhere too, and when it cannot be written.
    """
    try:
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
    except FileExistsError:
        raise ArchiveError("FileExists", f"{path} exists already: name another file") from None
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise ArchiveError("NotWritten", f"{path} cannot be written: {why}") from None


def _appear(unfinished: Path, path: Path) -> None:
    """Give it its name, unless another file has taken that meanwhile."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # a file system without second names: the name is taken first, then filled
        os.close(os.open(path, _NEW, 0o600))
        unfinished.replace(path)


def line_of(letter: DeadLetter) -> str:
    """A dead letter as a line: the message as it lies, and where."""
    message = letter.message
    line = {
        "queue": letter.place.queue,
        "dead": letter.place.dead,
        "sequence": message.sequence_number,
        "enqueued": json_types(message.enqueued),
        "delivery_count": message.delivery_count,
        "reason": message.reason,
        "description": message.description,
        "correlation_id": message.correlation_id,
        "content_type": message.content_type,
        "properties": {name: _plain(value) for name, value in message.properties.items()},
        **_body(message.body),
    }
    return json.dumps(line) + "\n"


def letters_in(path: Path, queues: QueueSettings) -> Iterator[DeadLetter]:
    """The dead letters of a file, one after another. Raises ArchiveError that names the line."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _letter(line, f"{path}, line {number}", queues)
    except OSError as error:
        raise ArchiveError("NotRead", f"{path} cannot be read: {error.strerror or error}") from None


def _letter(line: bytes, where: str, queues: QueueSettings) -> DeadLetter:
    try:
        given = json.loads(line)
        message = Message(
            int(given["sequence"]),
            base64.b64decode(given["body_base64"], validate=True) if "body_base64" in given else given["body"].encode(),
            moment(given.get("enqueued")),
            delivery_count=int(given.get("delivery_count", 0)),
            properties={name: _value(value) for name, value in given.get("properties", {}).items()},
            reason=str(given.get("reason", "")),
            description=str(given.get("description", "")),
            correlation_id=str(given.get("correlation_id", "")),
            content_type=str(given.get("content_type", "")),
        )
        return read(Place(str(given["queue"]), dead=bool(given["dead"])), message, queues)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        why = f"is no dead letter as msisync dead-letters export writes it ({type(error).__name__})"
        raise ArchiveError("BadLine", f"{where} {why}") from None


def _body(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {_BINARY: base64.b64encode(value).decode()}
    return value if isinstance(value, int | float | str) or value is None else str(value)


def _value(value: object) -> object:
    return base64.b64decode(value[_BINARY], validate=True) if isinstance(value, dict) else value
