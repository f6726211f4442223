"""The management HTTP API that `ServiceBusAdministrationClient` speaks: queues as ATOM entries."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree as ET  # read from the clients of this machine only

from aiohttp import web

from emulators.servicebus import faults
from emulators.servicebus.errors import EntityNotFound, Unauthorized
from emulators.servicebus.namespace import Namespace, QueuePair
from emulators.servicebus.sas import Claim
from emulators.servicebus.settings import QueueSettings, QueueStatus

ATOM = "http://www.w3.org/2005/Atom"
SERVICE_BUS = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
COUNTS = "http://schemas.microsoft.com/netservices/2011/06/servicebus"
# .NET's TimeSpan.MaxValue: how the service writes "never".
FOREVER = "P10675199DT2H48M5.4775807S"
MAX_PAGE = 100

_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")


class AdminApi:
    """Answers the requests. The SDK always speaks HTTPS here, also with `UseDevelopmentEmulator`."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            grant = self._namespace.check_token(request.headers.get("Authorization", ""))
            path = request.path.strip("/")
            if not grant.allows(Claim.MANAGE, path.lower(), self._namespace.clock()):
                msg = "Manage,EntityRead claims required for this operation."
                raise Unauthorized(msg)
            return await self._answer(request, path)
        except Unauthorized as error:
            return _error(401, str(error))
        except EntityNotFound as error:
            return _error(404, str(error))
        except (ValueError, ET.ParseError) as error:
            return _error(400, str(error))

    async def _answer(self, request: web.BaseRequest, path: str) -> web.Response:
        if path.lower() == "$resources/queues" and request.method == "GET":
            return self._list(request)
        if path.startswith("$"):
            return web.json_response({"count": faults.bring_about(self._namespace, path)})
        if request.method == "GET":
            return self._get(path)
        if request.method == "PUT":
            return await self._put(request, path)
        if request.method == "DELETE":
            self._namespace.delete(path)
            return web.Response()
        return _error(405, f"{request.method} is not allowed.")

    def _list(self, request: web.BaseRequest) -> web.Response:
        skip = int(request.query.get("$skip", "0"))
        top = min(int(request.query.get("$top", str(MAX_PAGE))), MAX_PAGE)
        pairs = self._namespace.pairs()
        feed = ET.Element(f"{{{ATOM}}}feed")
        ET.SubElement(feed, f"{{{ATOM}}}title", type="text").text = "Queues"
        ET.SubElement(feed, f"{{{ATOM}}}link", rel="self", href=str(request.url))
        if skip + top < len(pairs):
            following = request.url.update_query({"$skip": str(skip + top), "$top": str(top)})
            ET.SubElement(feed, f"{{{ATOM}}}link", rel="next", href=str(following))
        feed.extend(_entry(pair) for pair in pairs[skip : skip + top])
        return _xml(feed, 200)

    def _get(self, path: str) -> web.Response:
        try:
            return _xml(_entry(self._namespace.pair(path)), 200)
        except EntityNotFound:
            # Service Bus answers 200 with an empty feed; the SDK turns that into ResourceNotFoundError.
            return _xml(ET.Element(f"{{{ATOM}}}feed"), 200)

    async def _put(self, request: web.BaseRequest, path: str) -> web.Response:
        description = ET.fromstring(await request.text()).find(f".//{{{SERVICE_BUS}}}QueueDescription")  # noqa: S314
        if description is None:
            return _error(400, "Only queues can be created and updated here.")
        if "If-Match" in request.headers:
            current = self._namespace.pair(path).settings
            return _xml(_entry(self._namespace.update(_configure(current, description))), 200)
        if any(pair.settings.name.lower() == path.lower() for pair in self._namespace.pairs()):
            return _error(409, f"The queue '{path}' already exists.")
        return _xml(_entry(self._namespace.create(_create(path, description))), 201)


def _create(name: str, description: ET.Element) -> QueueSettings:
    window = _seconds(description, "DuplicateDetectionHistoryTimeWindow") or 600.0
    settings = QueueSettings(
        name,
        sessions=_text(description, "RequiresSession") == "true",
        duplicate_detection_seconds=window if _text(description, "RequiresDuplicateDetection") == "true" else None,
    )
    return _configure(settings, description)


def _configure(settings: QueueSettings, description: ET.Element) -> QueueSettings:
    """Return the settings with what a description changes. Raises ValueError for what cannot be changed."""
    if _text(description, "RequiresSession") not in {None, str(settings.sessions).lower()}:
        msg = "The value for the RequiresSession property of an existing Queue cannot be changed."
        raise ValueError(msg)
    detects = str(settings.duplicate_detection_seconds is not None).lower()
    if _text(description, "RequiresDuplicateDetection") not in {None, detects}:
        msg = "The value for the RequiresDuplicateDetection property of an existing Queue cannot be changed."
        raise ValueError(msg)
    _check_supported(description)
    lock_seconds = _seconds(description, "LockDuration")
    dead_letter = _text(description, "DeadLetteringOnMessageExpiration")
    return replace(
        settings,
        lock_seconds=settings.lock_seconds if lock_seconds is None else lock_seconds,
        max_delivery_count=int(_text(description, "MaxDeliveryCount") or settings.max_delivery_count),
        ttl_seconds=_seconds(description, "DefaultMessageTimeToLive")
        if _text(description, "DefaultMessageTimeToLive")
        else settings.ttl_seconds,
        dead_letter_on_expiration=settings.dead_letter_on_expiration if dead_letter is None else dead_letter == "true",
        status=QueueStatus(_text(description, "Status") or settings.status),
    )


def _check_supported(description: ET.Element) -> None:
    """Raise ValueError for what a queue of the service can have and one of the emulator cannot."""
    asked = {
        "ForwardTo": _text(description, "ForwardTo") is not None,
        "ForwardDeadLetteredMessagesTo": _text(description, "ForwardDeadLetteredMessagesTo") is not None,
        "AutoDeleteOnIdle": _seconds(description, "AutoDeleteOnIdle") is not None,
        "EnablePartitioning": _text(description, "EnablePartitioning") == "true",
    }
    missing = [name for name, is_asked in asked.items() if is_asked]
    if missing:
        msg = f"This emulator has no {', '.join(missing)}."
        raise ValueError(msg)


def _text(description: ET.Element, name: str) -> str | None:
    element = description.find(f"{{{SERVICE_BUS}}}{name}")
    return None if element is None or not element.text else element.text.strip()


def _seconds(description: ET.Element, name: str) -> float | None:
    """Read a duration; None when it is missing or longer than a thousand years, which means "never"."""
    text = _text(description, name)
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        msg = f"{name}: '{text}' is not a duration."
        raise ValueError(msg)
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return None if days > 365_000 else days * 86_400 + hours * 3_600 + minutes * 60 + seconds


def _entry(pair: QueuePair) -> ET.Element:
    settings = pair.settings
    counts = pair.main.queue.counts()
    dead = pair.dead_letters.queue.counts().active
    entry = ET.Element(f"{{{ATOM}}}entry")
    ET.SubElement(entry, f"{{{ATOM}}}title", type="text").text = settings.name
    content = ET.SubElement(entry, f"{{{ATOM}}}content", type="application/xml")
    description = ET.SubElement(content, f"{{{SERVICE_BUS}}}QueueDescription")
    detection = settings.duplicate_detection_seconds
    # The service's schema is a sequence: the order matters.
    values = {
        "LockDuration": _duration(settings.lock_seconds),
        "MaxSizeInMegabytes": "1024",
        "RequiresDuplicateDetection": str(detection is not None).lower(),
        "RequiresSession": str(settings.sessions).lower(),
        "DefaultMessageTimeToLive": _duration(settings.ttl_seconds),
        "DeadLetteringOnMessageExpiration": str(settings.dead_letter_on_expiration).lower(),
        "DuplicateDetectionHistoryTimeWindow": _duration(600.0 if detection is None else detection),
        "MaxDeliveryCount": str(settings.max_delivery_count),
        "EnableBatchedOperations": "true",
        "SizeInBytes": str(pair.main.queue.size_bytes + pair.dead_letters.queue.size_bytes),
        "MessageCount": str(counts.active + counts.scheduled + dead),
        "IsAnonymousAccessible": "false",
        "Status": str(settings.status),
        "CreatedAt": _instant(pair.created_at),
        "UpdatedAt": _instant(pair.updated_at),
        "AccessedAt": _instant(pair.updated_at),
        "SupportOrdering": "true",
    }
    for name, value in values.items():
        ET.SubElement(description, f"{{{SERVICE_BUS}}}{name}").text = value
    details = ET.SubElement(description, f"{{{SERVICE_BUS}}}CountDetails")
    for name, number in {
        "ActiveMessageCount": counts.active,
        "DeadLetterMessageCount": dead,
        "ScheduledMessageCount": counts.scheduled,
        "TransferMessageCount": 0,
        "TransferDeadLetterMessageCount": 0,
    }.items():
        ET.SubElement(details, f"{{{COUNTS}}}{name}").text = str(number)
    for name, value in {
        "AutoDeleteOnIdle": FOREVER,
        "EnablePartitioning": "false",
        "EntityAvailabilityStatus": "Available",
        "EnableExpress": "false",
    }.items():
        ET.SubElement(description, f"{{{SERVICE_BUS}}}{name}").text = value
    return entry


def _duration(seconds: float | None) -> str:
    return FOREVER if seconds is None else f"PT{seconds:g}S" if seconds < 1_000_000 else f"PT{round(seconds)}S"


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _xml(element: ET.Element, status: int) -> web.Response:
    return web.Response(body=ET.tostring(element), status=status, content_type="application/atom+xml")


def _error(status: int, detail: str) -> web.Response:
    error = ET.Element("Error")
    ET.SubElement(error, "Code").text = str(status)
    ET.SubElement(error, "Detail").text = detail
    return web.Response(body=ET.tostring(error), status=status, content_type="application/xml")
