"""A client of the emulator's management API without TLS: counts of all queues in one request, pauses, and faults.

The SDK's administration client works as well, but speaks HTTPS only and asks for the counts of one queue at a time.
"""

import hmac
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET  # read from the emulator of this machine only

import httpx
from azure.servicebus import parse_connection_string

from emulators.servicebus.admin import ATOM, COUNTS, SERVICE_BUS
from emulators.servicebus.faults import PREFIX

_VALID_SECONDS = 600
_STATUS = (
    f'<entry xmlns="{ATOM}"><content type="application/xml">'
    f'<QueueDescription xmlns="{SERVICE_BUS}"><Status>{{status}}</Status></QueueDescription></content></entry>'
)


@dataclass(frozen=True)
class QueueCounts:
    """Messages of one queue by state. Active ones include those that somebody has received and not yet settled."""

    active: int
    scheduled: int
    dead: int

    @property
    def waiting(self) -> int:
        """Messages that something is still to be done with."""
        return self.active + self.scheduled


class Administration:
    """The management API of the emulator that a connection string names. It needs the claim Manage."""

    def __init__(self, connection_string: str, http: httpx.AsyncClient) -> None:
        self._connection_string = connection_string
        self._url = f"http://{parse_connection_string(connection_string).fully_qualified_namespace}"
        self._http = http

    async def counts(self) -> dict[str, QueueCounts]:
        """How many messages are in each queue."""
        return counts_in((await self._ask("GET", "$Resources/queues")).text)

    async def set_status(self, queue: str, status: str) -> None:
        """Change a queue's status: Active, SendDisabled, ReceiveDisabled or Disabled."""
        headers = {"If-Match": "*", "Content-Type": "application/atom+xml"}
        await self._ask("PUT", queue, headers, content=_STATUS.format(status=status))

    async def fault(self, what: str, queue: str = "") -> int:
        """Bring about what emulators/servicebus/faults.py knows; gives how many connections or messages it has hit."""
        return int((await self._ask("POST", f"{PREFIX}{what}/{queue}".rstrip("/"))).json()["count"])

    async def _ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        url = f"{self._url}/{path}"
        token = shared_access_token(url, self._connection_string, now=time.time())
        answer = await self._http.request(method, url, headers={**(headers or {}), "Authorization": token}, **options)
        return answer.raise_for_status()


@asynccontextmanager
async def administration(connection_string: str) -> AsyncIterator[Administration]:
    """The same with an HTTP client of its own."""
    async with httpx.AsyncClient(trust_env=False) as http:
        yield Administration(connection_string, http)


def shared_access_token(resource: str, connection_string: str, *, now: float) -> str:
    """A token for the management API. Service Bus: HMAC-SHA256 of the quoted resource, a line feed and the expiry."""
    policy = parse_connection_string(connection_string)
    expiry = int(now) + _VALID_SECONDS
    quoted = quote(resource, safe="")
    digest = hmac.new((policy.shared_access_key or "").encode(), f"{quoted}\n{expiry}".encode(), sha256).digest()
    signature = quote(b64encode(digest).decode(), safe="")
    return f"SharedAccessSignature sr={quoted}&sig={signature}&se={expiry}&skn={policy.shared_access_key_name}"


def counts_in(feed: str) -> dict[str, QueueCounts]:
    """The counts of every queue in an ATOM feed of queues, by name."""
    entries = ET.fromstring(feed).iter(f"{{{ATOM}}}entry")  # noqa: S314  (see above)
    return {entry.findtext(f"{{{ATOM}}}title") or "": _counts(entry) for entry in entries}


def _counts(entry: ET.Element) -> QueueCounts:
    names = ("ActiveMessageCount", "ScheduledMessageCount", "DeadLetterMessageCount")
    return QueueCounts(*(int(entry.findtext(f".//{{{COUNTS}}}{name}") or 0) for name in names))
