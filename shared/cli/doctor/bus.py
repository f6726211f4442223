"""Checks of what is ours in Azure: the queues, the key that Dynamics posts with, the table of parked records."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from ...azure import sdk
from ...config.normalisers import endpoint_host
from ...model.dead_letter import BROUGHT_BACK
from ...model.errors import StorageUnavailableError
from ...model.ids_and_times import moment
from ...model.record import timestamp
from ...sync.redelivery import GIVEN_UP, NOT_BINDABLE, STATE
from ..finding import Finding, as_grave_as, attention, counted, failed, ok
from ..peek import PAGE, Place, QueueUnavailable, peek
from ..queues import QUEUES, Described, flaws
from .runner import Check, Subject

#: The app's timer runs every minute; and how long is told what it has brought back.
LATE = timedelta(minutes=5)
RECENT = timedelta(days=1)
GROUP = "Service Bus"
_SEND_ONLY = (
    "make a policy on the queue that may only Send (Azure portal, the queue, Shared access policies), set "
    "CHANGES_SEND_CONNECTION to its connection string, then run msisync register --apply"
)
_MANAGE = (
    "run the doctor with a policy that has Manage, or as an identity with the role Azure Service Bus Data Owner; the "
    "app itself needs Send and Listen only"
)
_NO_IDENTITY = (
    "no identity could sign in to Azure",
    "run az login as somebody with rights here, or use a connection string; in Azure, switch the managed identity on",
)


async def _reachable(subject: Subject) -> Finding:
    """Opens a link that could send, and sends nothing."""
    queue = subject.context.settings.queues.dead_letters
    try:
        await _open_sender(subject.context.bus, queue)
    except (sdk.bus_errors.MessagingEntityNotFoundError, sdk.bus_errors.MessagingEntityDisabledError):
        return ok("answers, and accepts the credentials")  # the queues have a check of their own
    except sdk.core_errors.ClientAuthenticationError:
        return failed(*_NO_IDENTITY)
    except (sdk.bus_errors.ServiceBusAuthenticationError, sdk.bus_errors.ServiceBusAuthorizationError):
        return failed(
            "the namespace refuses the credentials, or they may not send",
            "compare ServiceBusConnection with a policy of the namespace that has Send and Listen; an identity needs "
            "the roles Azure Service Bus Data Sender and Data Receiver",
        )
    except (sdk.bus_errors.ServiceBusError, ValueError, OSError) as error:
        return failed(
            f"the namespace does not answer ({type(error).__name__})",
            "see the address in ServiceBusConnection, and whether a firewall lets AMQP (ports 5671, 5672) through",
        )
    return ok("answers, and accepts the credentials")


async def _open_sender(client: sdk.servicebus_aio.ServiceBusClient, queue: str) -> None:
    async with client.get_queue_sender(queue) as sender:
        await sender.create_message_batch()


async def _describe_queue(subject: Subject, name: str) -> Any:
    with suppress(sdk.core_errors.ResourceNotFoundError):
        return await subject.context.bus_administration.get_queue(name)


async def _queues(subject: Subject) -> Finding:
    settings = subject.context.settings.queues
    names = [settings.of(design.setting) for design in QUEUES]
    try:
        found: list[Described | None] = await asyncio.gather(*(_describe_queue(subject, name) for name in names))
    except sdk.core_errors.HttpResponseError as error:
        if isinstance(error, sdk.core_errors.ClientAuthenticationError) or error.status_code in (401, 403):
            return attention("these credentials may not look at the queues", _MANAGE)
        return failed(f"the namespace answers HTTP {error.status_code}", "try again in some minutes")
    except sdk.core_errors.AzureError as error:
        return failed(
            f"the namespace's management does not answer ({type(error).__name__})",
            "see whether a firewall lets HTTPS (port 443) to the namespace through",
        )
    wrong: list[Finding] = []
    for design, name, queue in zip(QUEUES, names, found, strict=True):
        if queue is None:
            how = "with" if design.sessions else "without"
            wrong.append(failed(f"{name} does not exist", f"create {name} {how} sessions, lock duration PT5M"))
        else:
            wrong += [replace(flaw, text=f"{name}: {flaw.text}") for flaw in flaws(design, queue)]
    if not wrong:
        return ok(f"{len(names)} as designed")
    remedy = "; ".join(dict.fromkeys(flaw.remedy for flaw in wrong))
    details = [flaw.text for flaw in wrong]
    return as_grave_as(wrong, f"{counted(len(wrong), 'thing')} not as designed", remedy, details)


async def _changes_key(subject: Subject) -> Finding:
    """What Dynamics posts with must be able to send, and to do nothing else. Tried without sending or receiving."""
    settings = subject.context.settings
    connection = settings.registration.send_connection.get_secret_value()
    queue = settings.queues.changes
    if not connection:
        return ok("CHANGES_SEND_CONNECTION is not set; only msisync register needs it")
    try:
        listens, manages = _succeeds(_listen(connection, queue)), _succeeds(_manage(connection, queue))
        _, may_listen, may_manage = await asyncio.gather(_send_nothing(connection, queue), listens, manages)
    except ValueError:
        return failed(f"CHANGES_SEND_CONNECTION is no connection string of {queue}", _SEND_ONLY)
    except (sdk.bus_errors.ServiceBusError, OSError) as error:
        return failed(f"it cannot send to {queue} ({type(error).__name__})", _SEND_ONLY)
    too_much = {
        "Listen: it can read and take away the changes": may_listen,
        "Manage: it can change and delete the queue": may_manage,
    }
    if any(too_much.values()):
        details = [text for text, may in too_much.items() if may]
        return attention("it is handed to Dynamics and may do more than send", _SEND_ONLY, details)
    theirs = endpoint_host(settings.registration.send_connection)
    ours = settings.bus.namespace or endpoint_host(settings.bus.connection)
    if theirs.lower() != ours.lower():
        return attention(
            f"Dynamics posts to {theirs}, the app reads from {ours}",
            "if these are not two names of one namespace, set CHANGES_SEND_CONNECTION to one of the app's, then run "
            "msisync register --apply",
        )
    return ok(f"may send to {queue}, and nothing else")


def _client(connection: str) -> sdk.servicebus_aio.ServiceBusClient:
    return sdk.servicebus_aio.ServiceBusClient.from_connection_string(connection, retry_total=0)


async def _send_nothing(connection: str, queue: str) -> None:
    async with _client(connection) as client:
        await _open_sender(client, queue)


async def _listen(connection: str, queue: str) -> None:
    async with _client(connection) as client, client.get_queue_receiver(queue) as receiver:
        await receiver.peek_messages(1)


async def _manage(connection: str, queue: str) -> None:
    management = sdk.bus_management_aio.ServiceBusAdministrationClient
    async with management.from_connection_string(connection, retry_total=1) as client:
        await client.get_queue(queue)


async def _succeeds(trying: Awaitable[None]) -> bool:
    try:
        await trying
    except sdk.core_errors.AzureError:
        return False
    return True


async def _given_up(subject: Subject) -> Finding:
    """What the broker gave up after ten deliveries: the app brings it back within a minute, once."""
    now = datetime.now(UTC)
    names = subject.context.settings.queues.received
    details: list[str] = []
    try:
        found = await asyncio.gather(*(_lying(subject.context.bus, name, now) for name in names))
        for name, lines in zip(names, found, strict=True):
            details += [f"{name}: {line}" for line in lines]
        async for name, noted in subject.context.state.all(STATE):
            details += _recent(name, noted, now)
    except QueueUnavailable as error:
        return attention(f"it cannot be seen: {error.message}", "see the check of the queues")
    except StorageUnavailableError as error:
        return attention(f"it cannot be seen ({error.cause})", "see the check of the storage account")
    if not details:
        return ok("nothing")
    return attention(
        "the broker gave up messages that were delivered ten times in vain",
        "msisync dead-letters list shows what is left, with what to do; see who else posts to the queues, and the "
        "app's log",
        details,
    )


async def _lying(bus: sdk.servicebus_aio.ServiceBusClient, queue: str, now: datetime) -> list[str]:
    """What lies among the broker's dead letters of a queue, of the first page of them."""
    async with aclosing(peek(bus, Place(queue, dead=True))) as pages:
        page = [message for message in await anext(pages, []) if message.reason == GIVEN_UP]
    again = sum(BROUGHT_BACK in message.properties for message in page)
    first = [message.enqueued for message in page if message.enqueued and BROUGHT_BACK not in message.properties]
    late = sum(now - since > LATE for since in first)
    more = " or more" if len(page) >= PAGE else ""
    return [
        *([f"{again}{more} were brought back and given up again"] if again else []),
        *([f"{late}{more} have not been brought back: the app's timer does not run"] if late else []),
    ]


def _recent(queue: str, noted: Mapping[str, Any], now: datetime) -> list[str]:
    """What the app has brought back within a day."""
    at = moment(str(noted.get("at", "")))
    if at is None or now - at > RECENT:
        return []
    back, aside = noted.get("brought_back", 0), noted.get("put_aside", 0)
    put = f", {aside} put aside as {NOT_BINDABLE}" if aside else ""
    return [f"{queue}: {back} brought back at {timestamp(at)}{put}"]


async def _storage(subject: Subject) -> Finding:
    """Writes a row of its own into the table of parked records and takes it away again."""
    table, name = subject.context.parked.table, subject.context.settings.storage.parked_table
    row = {"PartitionKey": "doctor", "RowKey": str(uuid4())}
    try:
        try:
            await table.insert(row)
        finally:
            with suppress(StorageUnavailableError):
                await table.delete(row)
    except StorageUnavailableError as error:
        if error.is_signed_out:
            return failed(*_NO_IDENTITY)
        if error.status:
            return failed(
                f"the table {name} cannot be written (HTTP {error.status})",
                "compare AzureWebJobsStorage with the account's keys; an identity needs the role Storage Table Data "
                "Contributor; see the account's firewall",
            )
        return failed(
            f"the storage account does not answer ({error.cause})",
            "see the address in AzureWebJobsStorage and the account's firewall",
        )
    return ok(f"the table {name} can be read and written")


CHECKS = (
    Check("bus", GROUP, "Namespace", _reachable, needs=("settings",)),
    Check("queues", GROUP, "Queues", _queues, needs=("bus",)),
    Check("changes-key", GROUP, "Key that Dynamics posts with", _changes_key, needs=("queues",)),
    Check("storage", "Storage", "Parked records", _storage, needs=("settings",)),
    Check("given-up", GROUP, "Given up by the broker", _given_up, needs=("queues", "storage")),
)
