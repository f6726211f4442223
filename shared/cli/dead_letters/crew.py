"""Does jobs: a small one in this process, a large one in several, so that more than one core works on it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from contextlib import suppress

from ..context import Context
from .job import Job
from .move import Mover, Report, Tally

#: From how many on processes of their own are worth their start of a second.
MANY = 5000
MAX_PROCESSES = 4
#: How long a process may take to give back what it holds.
LEAVE_SECONDS = 25.0


async def do(context: Context, job: Job, report: Report, *, shared: bool) -> Tally:
    """Carry a job out. `shared`: others lie between the chosen ones, which one process holds and counts."""
    processes = min(os.cpu_count() or 1, MAX_PROCESSES)
    if shared or processes < 2 or len(job.numbers) < MANY:
        return await Mover(context, job, report=report, stop=asyncio.Event()).run()
    return await _Crew(len(job.numbers), report).run(processes, job, {**os.environ, **context.environment})


class _Crew:
    """Processes that work on one place together. They end when all is done, or when this one ends."""

    def __init__(self, count: int, report: Report) -> None:
        self._left = count
        self._report = report
        self._tally = Tally()
        self._processes: list[Process] = []

    async def run(self, processes: int, job: Job, environment: dict[str, str]) -> Tally:
        line = job.as_json().encode() + b"\n"
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(processes):
                    process = await asyncio.create_subprocess_exec(
                        sys.executable, "-m", "shared.cli.dead_letters.helper",
                        stdin=PIPE, stdout=PIPE, env=environment,
                    )  # fmt: skip
                    self._processes.append(process)
                    group.create_task(self._follow(process, line))
        finally:
            self._stop()
            await asyncio.gather(*(self._end(process) for process in self._processes))
        return self._tally

    async def _follow(self, process: Process, line: bytes) -> None:
        assert process.stdin  # noqa: S101  (asked for above)
        assert process.stdout  # noqa: S101
        with suppress(ConnectionError):
            process.stdin.write(line)
            await process.stdin.drain()
        told = False
        async for said in process.stdout:
            what = json.loads(said)
            if "done" in what:
                self._left -= what["done"]
                self._report(what["done"])
            else:
                told = True
                given = what["tally"]
                self._tally.add(Tally(**{**given, "failures": Counter(given["failures"])}))
            if self._left <= 0:
                self._stop()
        if not told:
            self._tally.failures["a process of msisync ended early; see the lines on standard error"] += 1

    def _stop(self) -> None:
        for process in self._processes:
            if process.stdin:
                process.stdin.close()

    @staticmethod
    async def _end(process: Process) -> None:
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
