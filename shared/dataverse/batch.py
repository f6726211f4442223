"""The body of a `$batch`: many requests as one, each with its own answer (dataverse.md 4.4). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BOUNDARY = "batch_msisync"
CONTENT_TYPE = f"multipart/mixed; boundary={BOUNDARY}"

_BOUNDARY = re.compile(r'boundary="?([^";\s]+)"?', re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? (\d{3})")


@dataclass(frozen=True, slots=True)
class Part:
    """A request of a batch: `url` from the API's path on."""

    method: str
    url: str
    body: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one of them. `headers` by lower-case name; `content` is empty where there is none."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = field(default=b"", repr=False)


def encode(parts: Sequence[Part]) -> bytes:
    """The body, with CRLF throughout. A PATCH never creates a row."""
    return b"".join(_section(part) for part in parts) + f"--{BOUNDARY}--\r\n".encode()


def decode(content_type: str, body: bytes) -> list[Answer]:
    """The answers in order. Raises ValueError when this is not the answer to a batch.

    Lines may end in CRLF or LF, as proxies change it.
    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise ValueError("no boundary")
    sections = re.split(rb"(?:^|\r?\n)--" + re.escape(found[1].encode()) + rb"(?=--|[ \t]*\r?\n)", body)
    if len(sections) < 2 or not sections[-1].startswith(b"--"):
        raise ValueError("not closed by its boundary")
    return [_answer(section) for section in sections[1:-1]]


def _section(part: Part) -> bytes:
    head = [
        f"--{BOUNDARY}",
        "Content-Type: application/http",
        "Content-Transfer-Encoding: binary",
        "",
        f"{part.method} {part.url} HTTP/1.1",
        "Accept: application/json",
    ]
    if part.method == "PATCH":
        head.append("If-Match: *")
    if part.body is None:
        return "\r\n".join([*head, "", "", ""]).encode()
    content = json.dumps(part.body).encode()
    return "\r\n".join([*head, "Content-Type: application/json", "", ""]).encode() + content + b"\r\n"


def _answer(section: bytes) -> Answer:
    _, _, http = _halves(section)
    head, _, content = _halves(http)
    first, *lines = head.strip().splitlines()
    status = _STATUS.match(first)
    if status is None:
        raise ValueError("no status line")
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Answer(int(status[1]), headers, content.strip())


def _halves(text: bytes) -> tuple[bytes, bytes, bytes]:
    """What is before and after the first empty line."""
    found = re.search(rb"\r?\n[ \t]*\r?\n", text)
    return (text[: found.start()], found.group(), text[found.end() :]) if found else (text, b"", b"")
