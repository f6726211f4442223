"""Dead letters in a file: one JSON object a line, read and written one by one."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ...azure.receiver import Message
from ...config.settings import QueueSettings
from ...model.errors import MsiSyncError
from ...model.ids_and_times import moment
from ...model.record import timestamp
from ..peek import Place
from ..private_file import private_file
from .letter import DeadLetter, read

_BINARY = "base64"


class ArchiveError(MsiSyncError):
    """A file cannot be written or read as dead letters."""


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """A new file that appears under its name when it is complete. Raises ArchiveError; never overwrites a file."""
    try:
        with private_file(path) as file:
            yield file
    except FileExistsError:
        raise ArchiveError("FileExists", f"{path} exists already: name another file") from None
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise ArchiveError("NotWritten", f"{path} cannot be written: {why}") from None


def line_of(letter: DeadLetter) -> str:
    """A dead letter as a line: the message as it lies, and where."""
    message = letter.message
    return (
        json.dumps(
            {
                "queue": letter.place.queue,
                "dead": letter.place.dead,
                "sequence": message.sequence_number,
                "enqueued": timestamp(message.enqueued) if message.enqueued else None,
                "delivery_count": message.delivery_count,
                "reason": message.reason,
                "description": message.description,
                "correlation_id": message.correlation_id,
                "content_type": message.content_type,
                "properties": {name: _plain(value) for name, value in message.properties.items()},
                **_body(message.body),
            },
        )
        + "\n"
    )


def letters_in(path: Path, queues: QueueSettings) -> Iterator[DeadLetter]:
    """The dead letters of a file, one after another. Raises ArchiveError that names the line."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield _letter(json.loads(line), queues)
                    except (
                        ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, binascii.Error,
                    ) as error:  # fmt: skip
                        raise ArchiveError(
                            "BadLine",
                            f"{path}, line {number} is no dead letter as msisync dead-letters export writes it "
                            f"({type(error).__name__})",
                        ) from None
    except OSError as error:
        raise ArchiveError("NotRead", f"{path} cannot be read: {error.strerror or error}") from None


def _letter(given: Mapping[str, Any], queues: QueueSettings) -> DeadLetter:
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
