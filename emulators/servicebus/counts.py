"""Reads the broker's counts of messages, all queues in one request of its management API.

The SDK's administration client asks for one queue at a time, over TLS only; a benchmark wants to disturb less.
"""

import hmac
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote
from xml.etree import ElementTree as ET  # read from the emulator of this machine only

from azure.servicebus import parse_connection_string

_ATOM = "{http://www.w3.org/2005/Atom}"
_COUNTS = "{http://schemas.microsoft.com/netservices/2011/06/servicebus}"
_VALID_SECONDS = 600


@dataclass(frozen=True)
class QueueCounts:
    """Messages of one queue by state. Active ones include those that a function works on."""

    active: int
    scheduled: int
    dead: int

    @property
    def waiting(self) -> int:
        """Messages that something is still to be done with."""
        return self.active + self.scheduled


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
    return {_title(entry): _counts(entry) for entry in ET.fromstring(feed).iter(f"{_ATOM}entry")}  # noqa: S314  (see above)


def _title(entry: ET.Element) -> str:
    return entry.findtext(f"{_ATOM}title") or ""


def _counts(entry: ET.Element) -> QueueCounts:
    names = ("ActiveMessageCount", "ScheduledMessageCount", "DeadLetterMessageCount")
    return QueueCounts(*(int(entry.findtext(f".//{_COUNTS}{name}") or 0) for name in names))
