"""What host and worker say to each other: length-prefixed frames, and values typed as in the real host's protocol."""

import asyncio
import pickle
import struct
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

_LENGTH = struct.Struct(">I")


class Typed(NamedTuple):
    """A value with the name of its member in the protocol's `TypedData`: string, json, http, collection_string …"""

    kind: str
    value: Any


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a function: what its trigger parameter is made of, and the trigger's metadata."""

    function: str
    data: Typed
    metadata: dict[str, Typed] = field(default_factory=dict)


class Invoker(Protocol):
    """Who runs functions for the listeners."""

    async def invoke(self, invocation: Invocation, messages: int = 0) -> Typed | None:
        """Run a function that so many messages have started. Raises FunctionError when it did not end well."""


def to_datum(typed: Typed, datum_class: type) -> Any:
    """Build the `Datum` that azure-functions' converters read, of their class or of that of Microsoft's runtime."""
    kind, value = typed
    if kind.startswith("collection_"):
        value = SimpleNamespace(**{kind.removeprefix("collection_"): value})
    elif kind == "http":
        value = {name: _http_member(member, datum_class) for name, member in value.items()}
    return datum_class(value, kind)


def _http_member(member: Any, datum_class: type) -> Any:
    if isinstance(member, Typed):
        return to_datum(member, datum_class)
    return {name: to_datum(value, datum_class) for name, value in member.items()}


def send(writer: asyncio.StreamWriter, message: object) -> None:
    """Queue one message. Its order among others is kept."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    writer.write(_LENGTH.pack(len(body)) + body)


async def receive(reader: asyncio.StreamReader) -> Any:
    """Return the next message. Raises asyncio.IncompleteReadError or ConnectionError when the other side is gone."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))  # noqa: S301 (a socket pair between two processes of this program)
