"""A process that works on one place beside others: many dead letters keep more than one core busy.

Its job is the first line of standard input; the end of standard input tells it to stop, also when its parent is gone.
A line of JSON on standard output tells how many are done, the last one what became of them.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
from contextlib import suppress
from dataclasses import asdict

from ..command import SELDOM
from ..context import Context
from .job import Job
from .move import Mover


async def work(job: Job, context: Context) -> None:
    """Do a job, and tell on standard output."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):  # sys.stdin itself must not be in use when Python ends
            pass
        with suppress(RuntimeError):  # the work is over
            loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=watch, daemon=True).start()
    mover = Mover(context, job, report=_report, stop=stop)
    try:
        await mover.run(workers=1)  # its neighbours work while it waits
    finally:
        await context.close()
    _say({"tally": asdict(mover.tally)})


def _report(done: int) -> None:
    _say({"done": done})


def _say(what: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    gc.set_threshold(SELDOM)
    with suppress(KeyboardInterrupt):  # its parent tells
        asyncio.run(work(Job.from_json(sys.stdin.buffer.readline()), Context()))
