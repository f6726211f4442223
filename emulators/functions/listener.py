"""Service Bus triggers: receive, run, settle, as the real extension does it, on the unmodified azure-servicebus SDK."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusReceivedMessage
from azure.servicebus.aio import AutoLockRenewer, ServiceBusClient, ServiceBusReceiver
from azure.servicebus.exceptions import OperationTimeoutError

from emulators.functions.channel import FunctionError
from emulators.functions.metadata import QueueMessage, batch_invocation, message_invocation
from emulators.functions.sdk import abandon_all, complete_all, withdraw_credit
from emulators.functions.settings import ServiceBusOptions
from emulators.functions.triggers import QueueTrigger
from emulators.functions.wire import Invoker

logger = logging.getLogger("emulators.functions.servicebus")

#: One wait for a first message. Short, so that stopping needs no cancelled receive: that could lose what just came.
POLL = 0.5
#: A batch ends when nothing more came for this long (and for one read of the socket).
GAP = 0.02
#: The SDK looks at its deadlines only between two reads, so this bounds how late it notices a gap.
SOCKET_TIMEOUT = 0.04
#: How long the broker is asked to wait for the next session with messages.
ACCEPT_WAIT = 30.0
BACKOFF = (0.1, 0.2, 0.5, 1.0)
#: A connection that lasted so long before it failed was a good one: the next try is quick again.
HEALTHY = 5.0


class QueueListener:
    """Serves one Service Bus trigger until `stop` is called.

    Cardinality MANY: one batch at a time. Success completes every message of it, an exception abandons all. With
    sessions: accept the next one with messages, stay while messages come, close it when a receive comes back empty.
    Locks are not renewed. Cardinality ONE: up to maxConcurrentCalls messages (or maxConcurrentSessions sessions) at
    once, locks renewed for maxAutoLockRenewalDuration.
    """

    def __init__(self, trigger: QueueTrigger, options: ServiceBusOptions, worker: Invoker) -> None:
        self._trigger = trigger
        self._options = options
        self._worker = worker
        self._stopping = asyncio.Event()
        self._closing: set[asyncio.Future[None]] = set()
        auto_complete = trigger.auto_complete
        self._settles = options.auto_complete_messages if auto_complete is None else auto_complete
        self._batch_size = options.max_message_batch_size if trigger.many else 1

    def stop(self) -> None:
        """Take no more messages. `run` returns when the current batch is settled."""
        self._stopping.set()

    async def run(self) -> None:
        """Receive and run until stopped; whatever the broker does is logged, and tried again."""
        serve: Callable[[ServiceBusClient], Awaitable[None]]
        if self._trigger.sessions:
            serve = self._serve_next_session
            loops = 1 if self._trigger.many else self._options.max_concurrent_sessions
        else:
            serve = self._serve_batches if self._trigger.many else self._serve_single_messages
            loops = 1
        await asyncio.gather(*(self._persist(serve) for _ in range(loops)))

    async def _persist(self, serve: Callable[[ServiceBusClient], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while not self._stopping.is_set():
            started = loop.time()
            try:
                # A client of its own after each failure: connections that a broker left behind are not trusted again.
                async with ServiceBusClient.from_connection_string(
                    self._trigger.connection_string, retry_total=0
                ) as client:
                    while not self._stopping.is_set():
                        await serve(client)
                    await asyncio.gather(*self._closing)
            except Exception as error:  # noqa: BLE001 (the SDK lets socket, AMQP and its own errors through)
                failures = 0 if loop.time() - started > HEALTHY else failures
                delay = BACKOFF[min(failures, len(BACKOFF) - 1)]
                failures += 1
                logger.warning(
                    "queue %s: %s: %s; again in %g s", self._trigger.queue, type(error).__name__, error, delay
                )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), delay)

    async def _serve_batches(self, client: ServiceBusClient) -> None:
        async with client.get_queue_receiver(
            self._trigger.queue, prefetch_count=self._options.prefetch_count, socket_timeout=SOCKET_TIMEOUT
        ) as receiver:
            while not self._stopping.is_set():
                batch = await self._receive(receiver, POLL)
                if batch:
                    await self._process(receiver, batch)

    async def _serve_next_session(self, client: ServiceBusClient) -> None:
        async with self._next_session(client) as receiver:
            while receiver is not None and not self._stopping.is_set():
                batch = await self._receive(receiver, self._options.session_idle_timeout)
                if not batch:
                    return
                await self._process(receiver, batch)

    @contextlib.asynccontextmanager
    async def _next_session(self, client: ServiceBusClient) -> AsyncIterator[ServiceBusReceiver | None]:
        """Hold the next session that has messages; None when there is none, or the host stops."""
        renewer = None if self._trigger.many else AutoLockRenewer(self._options.max_auto_lock_renewal)
        receiver = client.get_queue_receiver(
            self._trigger.queue,
            session_id=NEXT_AVAILABLE_SESSION,
            max_wait_time=ACCEPT_WAIT,
            prefetch_count=self._options.prefetch_count,
            auto_lock_renewer=renewer,
            socket_timeout=SOCKET_TIMEOUT,
        )
        accept = asyncio.ensure_future(receiver.__aenter__())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({accept, stopping}, return_when=asyncio.FIRST_COMPLETED)
            accept.cancel()
            stopping.cancel()
            try:
                held: ServiceBusReceiver | None = await accept
            except (OperationTimeoutError, asyncio.CancelledError):
                held = None
            yield held
        finally:
            if renewer is not None:
                await renewer.close()
            # The SDK takes a third of a second to close; the next session is asked for meanwhile.
            closing = asyncio.ensure_future(receiver.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _serve_single_messages(self, client: ServiceBusClient) -> None:
        renewer = AutoLockRenewer(self._options.max_auto_lock_renewal)
        running: set[asyncio.Task[None]] = set()
        receiver = client.get_queue_receiver(
            self._trigger.queue,
            prefetch_count=self._options.prefetch_count,
            auto_lock_renewer=renewer,
            socket_timeout=SOCKET_TIMEOUT,
        )
        async with renewer, receiver:
            try:
                while not self._stopping.is_set():
                    free = self._options.max_concurrent_calls - len(running)
                    messages = await receiver.receive_messages(max_message_count=free, max_wait_time=POLL)
                    running |= {asyncio.create_task(self._process(receiver, [message])) for message in messages}
                    while len(running) >= self._options.max_concurrent_calls:
                        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                        running = _still_running(running)
                    running = _still_running(running)
            except asyncio.CancelledError:
                for task in running:
                    task.cancel()
                raise
            finally:
                await asyncio.gather(*running, return_exceptions=True)

    async def _receive(self, receiver: ServiceBusReceiver, wait: float) -> list[ServiceBusReceivedMessage]:
        """Return what is there, up to the batch size, as soon as there is something; nothing after `wait` seconds.

        The SDK's own call for many messages goes on listening for 200 ms after the first one; asked for one message
        it returns at once, and what else is there is collected with a short gap.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        batch: list[ServiceBusReceivedMessage] = []
        while not batch and not self._stopping.is_set() and (left := deadline - loop.time()) > 0:
            batch = await receiver.receive_messages(max_message_count=1, max_wait_time=min(left, POLL))
        while 0 < len(batch) < self._batch_size:
            more = await receiver.receive_messages(max_message_count=self._batch_size - len(batch), max_wait_time=GAP)
            if not more:
                if self._options.prefetch_count == 0:
                    await withdraw_credit(receiver)
                break
            batch += more
        return batch

    async def _process(self, receiver: ServiceBusReceiver, batch: Sequence[ServiceBusReceivedMessage]) -> None:
        trigger = self._trigger
        try:
            messages = [QueueMessage.of(message, binary=trigger.binary) for message in batch]
            if trigger.many:
                invocation = batch_invocation(trigger.function, messages, binary=trigger.binary)
            else:
                invocation = message_invocation(trigger.function, messages[0], binary=trigger.binary)
            await self._worker.invoke(invocation, messages=len(batch))
        except (FunctionError, TypeError) as error:
            logger.warning("function %s: %d messages abandoned: %s", trigger.function, len(batch), error)
            settle = abandon_all
        else:
            settle = complete_all
        if self._settles:
            try:
                await settle(receiver, batch)
            except Exception:
                logger.warning(
                    "queue %s: not all of %d messages could be settled; the rest will come again",
                    *(trigger.queue, len(batch)),
                )
                raise


def _still_running(tasks: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Drop the finished ones. Raises what one of them raised."""
    for task in tasks:
        if task.done():
            task.result()
    return {task for task in tasks if not task.done()}
