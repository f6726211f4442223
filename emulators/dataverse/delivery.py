"""Posts notifications: to Service Bus queues and topics, and to webhooks. Failed posts become failed system jobs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast
from urllib.parse import urlencode
from uuid import uuid4

import aiohttp
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusSender
from yarl import URL

from emulators.dataverse import errors, registration
from emulators.dataverse.environment import Environment
from emulators.dataverse.notifications import QUEUE_LIMIT, WEBHOOK_LIMIT, Notification
from emulators.dataverse.steps import Step
from emulators.dataverse.store import Row, lookup_value
from emulators.dataverse.tables import TABLES
from emulators.dataverse.values import format_moment

log = logging.getLogger(__name__)

_CHUNK: Final = 100  # messages sent together
_CHUNK_BYTES: Final = 200 * 1024
_WEBHOOK_TIMEOUT: Final = aiohttp.ClientTimeout(total=60)  # Dataverse waits 60 s
_ADDRESS: Final = frozenset({"Endpoint", "UseDevelopmentEmulator"})  # of a connection string
_TRY_AGAIN: Final = frozenset({502, 503, 504})
_WAITING, _SUCCEEDED, _FAILED = (1, 10), (3, 30), (3, 31)  # state and status of a system job
_POST_FAILED: Final = -2147200935


class PostError(Exception):
    """A notification could not be delivered; `transient` says whether a later attempt may help."""

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


@dataclass(eq=False)
class Job:
    """One post: what, for which step, and how often it has been tried."""

    step: Step
    notification: Notification
    attempts: int = 0
    job_id: str | None = None


class QueueSender(Protocol):
    """Sends bodies with their properties to the queue or topic that a service endpoint names."""

    async def send(self, endpoint: Row, notifications: Sequence[Notification]) -> None:
        """Send, or raise PostError."""

    async def close(self) -> None:
        """Let the connections go."""


class ServiceBusQueueSender:
    """Sends with the azure-servicebus SDK, by the path and the key of the registered endpoint.

    Only the address is that of `connection_string`, whatever namespace the endpoint names.
    """

    def __init__(self, connection_string: str) -> None:
        parts = (part.partition("=") for part in connection_string.split(";"))
        self._address = {name: value for name, _, value in parts if name in _ADDRESS}
        self._clients: dict[str, ServiceBusClient] = {}
        self._senders: dict[tuple[str, str], ServiceBusSender] = {}

    async def send(self, endpoint: Row, notifications: Sequence[Notification]) -> None:
        """Send all of them in one transfer. Raises PostError when Service Bus does not take them."""
        messages = [_message(notification) for notification in notifications]
        key = (self._credential(endpoint), endpoint["path"])
        sender = self._senders.get(key)
        try:
            if sender is None:
                sender = self._senders[key] = self._client(key[0]).get_queue_sender(key[1])
            await sender.send_messages(messages)
        except Exception as error:
            self._senders.pop(key, None)
            if sender is not None:
                await sender.close()
            raise PostError(f"{type(error).__name__}: {error}", transient=True) from error

    async def close(self) -> None:
        """Close senders and connections."""
        for sender in self._senders.values():
            await sender.close()
        for client in self._clients.values():
            await client.close()

    def _credential(self, endpoint: Row) -> str:
        if endpoint["authtype"] == registration.SAS_TOKEN:
            return f"SharedAccessSignature={endpoint['sastoken']}"
        return f"SharedAccessKeyName={endpoint['saskeyname']};SharedAccessKey={endpoint['saskey']}"

    def _client(self, credential: str) -> ServiceBusClient:
        if credential not in self._clients:
            text = ";".join([*(f"{name}={value}" for name, value in self._address.items()), credential])
            client = ServiceBusClient.from_connection_string(text, retry_total=0)
            self._clients[credential] = client
        return self._clients[credential]


def _message(notification: Notification) -> ServiceBusMessage:
    return ServiceBusMessage(
        notification.json().encode(),
        content_type="application/json",
        message_id=uuid4().hex,
        correlation_id=f"{{{notification.context['CorrelationId']}}}",
        application_properties=cast(dict[str | bytes, Any], notification.properties()),
    )


class Delivery:
    """The asynchronous service of the platform: takes jobs, posts them, tries again, records failures."""

    def __init__(
        self,
        environment: Environment,
        queues: QueueSender | None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._environment = environment
        self._queues = queues
        self._sleep = sleep
        self._jobs: asyncio.Queue[Job] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._worker: asyncio.Task[None] | None = None
        self._http: aiohttp.ClientSession | None = None
        self.pending = 0

    async def start(self) -> None:
        """Begin to work on queued jobs."""
        self._http = aiohttp.ClientSession(timeout=_WEBHOOK_TIMEOUT, trust_env=True)
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Stop at once; jobs that wait are lost, as the rows are."""
        tasks = [task for task in (self._worker, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()
        if self._queues is not None:
            await self._queues.close()

    def queue(self, job: Job) -> None:
        """Take a job of an asynchronous step."""
        self.pending += 1
        self._jobs.put_nowait(job)

    async def post_now(self, job: Job) -> None:
        """Post for a synchronous step. Raises ApiError when it fails, which aborts the user's operation."""
        try:
            await self._post([job])
        except PostError as error:
            message = f"The service endpoint step '{job.step.name}' failed: {error}"
            raise errors.ApiError(400, "0x80050203", message) from error
        self._environment.stats.posted += 1

    async def _work(self) -> None:
        while True:
            jobs = [await self._jobs.get()]
            while len(jobs) < _CHUNK and not self._jobs.empty():
                jobs.append(self._jobs.get_nowait())
            by_endpoint: dict[str, list[Job]] = {}
            for job in jobs:
                by_endpoint.setdefault(job.step.endpoint["serviceendpointid"], []).append(job)
            for group in by_endpoint.values():
                if group[0].step.endpoint["contract"] == registration.WEBHOOK:
                    for job in group:
                        self._start(self._attempt([job]))
                else:
                    await self._attempt(group)

    def _start(self, work: "Awaitable[None]") -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attempt(self, jobs: list[Job]) -> None:
        try:
            await self._post(jobs)
        except PostError as error:
            if len(jobs) > 1 and not error.transient:
                for job in jobs:
                    await self._attempt([job])
                return
            for job in jobs:
                self._failed(job, error)
        else:
            for job in jobs:
                self._environment.stats.posted += 1
                self._done(job)

    def _done(self, job: Job) -> None:
        self.pending -= 1
        if job.step.keep_job:
            self._record(job, _SUCCEEDED, None)
        elif job.job_id is not None and self._environment.store.get("asyncoperation", job.job_id) is not None:
            self._environment.store.remove("asyncoperation", job.job_id)

    def _failed(self, job: Job, error: PostError) -> None:
        """Dataverse: when Azure fails the job waits and is tried with growing gaps; at last it has failed."""
        gaps = self._environment.switches.post_retry_seconds
        job.attempts += 1
        if error.transient and job.attempts <= len(gaps):
            self._record(job, _WAITING, str(error))
            self._start(self._later(job, gaps[job.attempts - 1]))
            return
        self.pending -= 1
        self._environment.stats.failed_posts += 1
        self._record(job, _FAILED, str(error))
        log.warning("post for step %s failed: %s", job.step.name, error)

    async def _later(self, job: Job, seconds: float) -> None:
        await self._sleep(seconds)
        self._jobs.put_nowait(job)

    def _record(self, job: Job, state: tuple[int, int], message: str | None) -> None:
        store = self._environment.store
        now = format_moment(self._environment.now())
        job.job_id = job.job_id or job.notification.context["OperationId"]
        columns = TABLES["asyncoperation"].columns
        context = job.notification.context
        row: Row = {
            "asyncoperationid": job.job_id,
            "name": job.step.name,
            "operationtype": 1,
            "primaryentitytype": context["PrimaryEntityName"],
            "messagename": context["MessageName"],
            "friendlymessage": message[:160] if message else None,
            "message": message,
            "errorcode": _POST_FAILED if message else None,
            "retrycount": job.attempts,
            "correlationid": context["CorrelationId"],
            "requestid": context["RequestId"],
            "createdon": (store.get("asyncoperation", job.job_id) or {}).get("createdon", now),
            "modifiedon": now,
            "completedon": now if state != _WAITING else None,
            "statecode": state[0],
            "statuscode": state[1],
            **lookup_value(columns["owningextensionid"], "sdkmessageprocessingstep", job.step.id),
        }
        store.put("asyncoperation", job.job_id, row)

    async def _post(self, jobs: list[Job]) -> None:
        endpoint = jobs[0].step.endpoint
        # A job that waited goes by what the endpoint says now: a new key helps it.
        endpoint = self._environment.store.get("serviceendpoint", endpoint["serviceendpointid"]) or endpoint
        if endpoint["contract"] == registration.WEBHOOK:
            for job in jobs:
                await self._post_webhook(endpoint, job.notification.fitted(WEBHOOK_LIMIT))
            return
        if self._queues is None:
            raise PostError("The simulator has no Service Bus connection.", transient=False)
        chunk: list[Notification] = []
        size = 0
        for job in jobs:
            fitted = job.notification.fitted(QUEUE_LIMIT)
            length = len(fitted.json().encode())
            if length > QUEUE_LIMIT:
                raise PostError("The message exceeds the maximum size even without its parameters.", transient=False)
            if chunk and size + length > _CHUNK_BYTES:
                await self._queues.send(endpoint, chunk)
                chunk, size = [], 0
            chunk.append(fitted)
            size += length
        await self._queues.send(endpoint, chunk)

    async def _post_webhook(self, endpoint: Row, notification: Notification) -> None:
        """Dataverse: any answer but 2xx has failed; on 502, 503 and 504 exactly one more try."""
        url, headers = webhook_address(endpoint, notification)
        body = notification.json().encode()
        status = await self._request(url, headers, body)
        if status in _TRY_AGAIN:
            status = await self._request(url, headers, body)
        if not 200 <= status < 300:
            raise PostError(f"The webhook answered {status}.", transient=False)

    async def _request(self, url: str, headers: dict[str, str], body: bytes) -> int:
        if self._http is None:
            raise PostError("The simulator is not running.", transient=False)
        try:
            async with self._http.post(URL(url, encoded=True), data=body, headers=headers) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise PostError(f"The webhook cannot be reached: {type(error).__name__}", transient=False) from error


def webhook_address(endpoint: Row, notification: Notification) -> tuple[str, dict[str, str]]:
    """URL and headers of the webhook request, with the endpoint's secret where its authentication type puts it."""
    url: str = endpoint["url"]
    headers = notification.headers()
    if endpoint["authtype"] == registration.WEBHOOK_KEY:
        extra = {"code": endpoint["authvalue"]}
    else:
        extra = registration.webhook_settings(endpoint["authvalue"])
    if endpoint["authtype"] == registration.HTTP_HEADER:
        return url, {**headers, **extra}
    return f"{url}{'&' if '?' in url else '?'}{urlencode(extra)}", headers
