"""The instances of an app: each a worker process of its own, and the listeners that start its functions."""

import asyncio
import contextlib
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulators.functions.channel import FunctionError, WorkerChannel
from emulators.functions.listener import QueueListener
from emulators.functions.settings import HostError
from emulators.functions.timers import TimerListener
from emulators.functions.wire import Invocation, Typed

logger = logging.getLogger("emulators.functions.instances")

#: A function whose worker was lost so often is given up, and the host with it (the real host: 3 in half an hour).
MOST_LOSSES = 3

Listener = QueueListener | TimerListener
Listen = Callable[[Iterable[str]], Sequence[Listener]]
Launch = Callable[[], Awaitable[WorkerChannel]]


@dataclass
class Counters:
    """What a function did since the start or the last reset."""

    invocations: int = 0
    failures: int = 0
    messages: int = 0


class Instance:
    """One worker process for `functions`. A worker that ends by itself is replaced, `losses` times at most.

    `over` is set when the last worker was lost, and says why, or a listener failed.
    """

    def __init__(self, functions: Sequence[str], launch: Launch, listen: Listen, losses: int) -> None:
        self.functions = functions
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.first_call_seconds: float | None = None
        self._launch = launch
        self._listen = listen
        self._losses_left = losses
        self._listeners: list[tuple[Listener, asyncio.Task[None]]] = []
        self._watch: asyncio.Task[None] | None = None
        #: The worker; None while there is none. Not done while one starts.
        self._worker: asyncio.Future[WorkerChannel | None] = self.over.get_loop().create_future()
        self._worker.set_result(None)

    async def start(self, worker: WorkerChannel | None = None) -> None:
        """Start a worker (or take this one, which has just been started) and listen. Nothing when it runs already."""
        if self._watch is not None:
            return
        await self._begin(worker)
        self._watch = asyncio.create_task(self._replace_lost())
        for listener in self._listen(self.functions):
            task = asyncio.create_task(listener.run())
            task.add_done_callback(self._note_end)
            self._listeners.append((listener, task))

    async def invoke(self, invocation: Invocation) -> Typed | None:
        """Run a function, once there is a worker. Raises FunctionError when it did not end well, or none runs."""
        worker = await asyncio.shield(self._worker)
        if worker is None:
            msg = f"function {invocation.function} has no instance: it was stopped"
            raise FunctionError(msg)
        began = time.monotonic()
        result = await worker.invoke(invocation)
        if self.first_call_seconds is None:
            self.first_call_seconds = time.monotonic() - began
        return result

    async def drain(self) -> None:
        """Take nothing more, and return when what runs is finished. Raises what a listener raised."""
        for listener, task in self._listeners:
            if isinstance(listener, QueueListener):
                listener.stop()
            else:
                task.cancel()
        await self._until_listeners_end()

    async def stop(self) -> None:
        """End the worker, and whatever still listens, without waiting for what runs."""
        worker = self.worker
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        self._worker = self.over.get_loop().create_future()
        self._worker.set_result(None)
        # Before they read of the worker's end: the dead settle nothing.
        for _, task in self._listeners:
            task.cancel()
        await self._until_listeners_end()
        if worker is not None:
            await worker.stop()

    @property
    def worker(self) -> WorkerChannel | None:
        """The worker that runs, if one does."""
        return self._worker.result() if self._worker.done() else None

    async def _begin(self, worker: WorkerChannel | None = None) -> None:
        self.first_call_seconds = None
        self._worker = self.over.get_loop().create_future()
        try:
            worker = worker or await self._launch()
            if len(self.functions) == 1:
                await worker.ask("specialize", self.functions[0])
        except BaseException:
            self._worker.set_result(None)
            raise
        self._worker.set_result(worker)

    async def _replace_lost(self) -> None:
        while (worker := self.worker) is not None:
            reason = await asyncio.shield(worker.lost)
            if not self._losses_left:
                self._end(reason)
                return
            logger.error("%s: %s; another one is started", ", ".join(self.functions), reason)
            self._losses_left -= 1
            await worker.stop()
            try:
                await self._begin()
            except (HostError, FunctionError) as error:
                self._end(str(error))

    async def _until_listeners_end(self) -> None:
        results = await asyncio.gather(*(task for _, task in self._listeners), return_exceptions=True)
        self._listeners.clear()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._end(f"a listener failed: {task.exception()!r}")

    def _end(self, reason: str) -> None:
        if not self.over.done():
            self.over.set_result(reason)


class Instances:
    """All instances of one host: one for each function, as Flex Consumption scales, or one for all of them.

    What one function keeps in memory no other sees then, as in production.
    """

    def __init__(self, functions: Sequence[str], launch: Launch, listen: Listen, *, one_process: bool) -> None:
        groups = [list(functions)] if one_process else [[name] for name in functions]
        losses = 0 if one_process else MOST_LOSSES
        self.counters: defaultdict[str, Counters] = defaultdict(Counters)
        self._one_process = one_process
        self._instances = [Instance(group, launch, listen, losses) for group in groups]
        self._of = {name: each for each in self._instances for name in each.functions}

    async def start(self, first: WorkerChannel) -> None:
        """Start every instance at the same time; the first one takes this worker. Raises HostError."""
        starts = zip(self._instances, [first, *[None] * len(self._instances)], strict=False)
        await asyncio.gather(*(instance.start(worker) for instance, worker in starts))

    async def invoke(self, invocation: Invocation, messages: int = 0) -> Typed | None:
        """Run a function and return what it returned. Raises FunctionError when it did not end well."""
        counters = self.counters[invocation.function]
        counters.invocations += 1
        counters.messages += messages
        try:
            return await self._of[invocation.function].invoke(invocation)
        except FunctionError:
            counters.failures += 1
            raise

    async def control(self, function: str, action: str) -> None:
        """Start, stop or kill the instance of one function. Raises HostError where there is none of its own."""
        instance = self._of.get(function)
        if instance is None or self._one_process:
            msg = f"function '{function}' has no process of its own here"
            raise HostError(msg)
        if action == "start":
            await instance.start()
            return
        if action == "stop":
            await instance.drain()
        elif instance.worker is not None:
            instance.worker.kill()
        await instance.stop()

    async def over(self) -> str:
        """Return why the host has to leave, as soon as it has to."""
        waits = {each.over for each in self._instances}
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result()

    async def drain(self) -> None:
        """Take nothing more, and return when what runs is finished. Raises what a listener raised."""
        await asyncio.gather(*(each.drain() for each in self._instances))

    async def stop(self) -> None:
        """End everything."""
        await asyncio.gather(*(each.stop() for each in self._instances))

    def pids(self) -> dict[str, int]:
        """The worker's process id by function; those without a worker are missing."""
        return {name: worker.pid for name, each in self._of.items() if (worker := each.worker) is not None}

    async def stats(self) -> dict[str, dict[str, Any]]:
        """What each worker has used since the last reset, by function, with the seconds of its cold start."""
        found = await self._ask_all("stats")
        return {
            name: {
                **answer,
                "start_seconds": worker.start_seconds,
                "first_call_seconds": each.first_call_seconds,
            }
            for name, each in self._of.items()
            if (worker := each.worker) is not None and (answer := found.get(worker)) is not None
        }

    async def reset(self) -> None:
        """Count from zero."""
        self.counters.clear()
        await self._ask_all("reset")

    async def profile(self, action: str) -> dict[str, int]:
        """Start or stop sampling in every worker; the samples of all."""
        samples: Counter[str] = Counter()
        for answer in (await self._ask_all(f"profile_{action}")).values():
            samples.update(answer or {})
        return dict(samples)

    async def _ask_all(self, what: str) -> Mapping[WorkerChannel, Any]:
        workers = [worker for each in self._instances if (worker := each.worker) is not None]
        answers = await asyncio.gather(*(worker.ask(what) for worker in workers), return_exceptions=True)
        return {
            worker: answer
            for worker, answer in zip(workers, answers, strict=True)
            if not isinstance(answer, BaseException)
        }
