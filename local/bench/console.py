"""The console's pages of many dead letters and many parked records.

Of dead letters: as a browser gets them from `msisync console`, with the embedded broker and Azurite beside it, on the
cores of this machine. Of parked records: in this process, from an Azurite. It looks through its whole table for each
1,000 rows, so it takes minutes to list 100,000; the console has as many here, in place of one.
"""

import asyncio
import re
import statistics
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch
from uuid import uuid4

import httpx

from local.bench import BenchError
from local.bench.burst import Report
from local.bench.figures import Figure, Target
from local.bench.parked_rows import CHILDREN, park, storage
from local.harness.dead_letters import environment, refused, running_letters
from local.stack import ROOT
from shared.cli.console.app import PAGES as PAGES_OF_CONSOLE
from shared.cli.console.app import Site, served
from shared.cli.console.latest import Latest
from shared.cli.console.local import LocalAccess
from shared.cli.console.parked import census
from shared.cli.context import Context
from shared.cli.status.facts import Status

#: Issue 16: no page above one second, with 100,000 dead letters or parked records; and memory stays flat.
SECONDS = Target(limit=1.0)
MEMORY_MB = Target(limit=400)
#: How often each page is asked for, and all are read anew; and after how many times memory is not to grow any more.
TIMES, AGAIN, SETTLED = 9, 10, 3
FLAT = Target(limit=1.05)
#: Seconds that Azurite may take to list all parked records.
LISTING_SECONDS = 1200.0
#: Pages by what is asked of them.
PAGES = {
    "dead letters: all": "/dead-letters",
    "dead letters: a filter for text": "/dead-letters?q=email&code=1003",
    "dead letters: an id that none has": f"/dead-letters?q={uuid4()}",
    "dead letters: the last page": "/dead-letters?page=99999999",
    "dead letters: asking whether to discard all": "/dead-letters/discard?scope=all",
}
PAGES_OF_PARKED = {
    "parked: all": "/parked",
    "parked: a filter for the code": "/parked?code=1003",
    "parked: the last page": "/parked?page=99999999",
    "parked: asking whether to release all": "/parked/release",
}
_MB = 1024 * 1024
_SINCE = datetime(2026, 3, 4, 12, tzinfo=UTC)
#: A port that nobody listens on: it is only the name of the console in this process.
_PORT = 8400


@dataclass(frozen=True)
class ConsoleRun:
    """What was measured: seconds until all is read, and of each page; megabytes at first, then, and each time anew."""

    letters: int
    first: dict[str, float]
    pages: dict[str, list[float]]
    memory: list[float]
    wrong: list[str] = field(default_factory=list)


async def run_console(directory: Path, *, letters: int, report: Report) -> ConsoleRun:
    """As many dead letters, and as many parked records."""
    directory.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  (nothing else runs yet)
    await park(directory / "azurite", letters)
    async with running_letters(directory) as broker, storage(directory / "azurite") as connection:
        settings = {**broker.settings, "AzureWebJobsStorage": connection}
        report(f"posting {letters:,} dead letters")
        await broker.post(refused(letters))
        report("console")
        async with _console(settings) as (process, browser):
            memory = [_resident(process.pid)]
            first = {"dead letters": await _first(browser, "/dead-letters")}
            memory.append(_resident(process.pid))
            pages = {name: [await _timed(browser, path) for _ in range(TIMES)] for name, path in PAGES.items()}
            wrong = await _missing(browser, "/dead-letters", f"{letters:,} dead letters")
            anew: list[float] = []
            for _ in range(AGAIN):
                anew += await _again(browser, "/dead-letters")
                memory.append(_resident(process.pid))
            pages["dead letters: all, while they are read anew"] = anew
        report("parked records")
        async with _of_parked(settings) as browser:
            first["parked"] = await _first(browser, "/parked")
            for name, path in PAGES_OF_PARKED.items():
                pages[name] = [await _timed(browser, path) for _ in range(TIMES)]
            wrong += await _missing(
                browser, "/parked", f"{letters:,} parked records of {letters // CHILDREN:,} parents"
            )
    return ConsoleRun(letters, first, pages, memory, wrong)


async def _missing(browser: httpx.AsyncClient, path: str, text: str) -> list[str]:
    """What a page does not show though it must."""
    return [] if text in (await browser.get(path)).text else [f"not shown: {text}"]


@asynccontextmanager
async def _of_parked(settings: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    context, access = Context(settings), LocalAccess("bench", _PORT)

    async def nothing() -> Status:
        raise NotImplementedError

    app = served(Site(context, PAGES_OF_CONSOLE, Latest(nothing)), access)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{_PORT}") as browser:
        await browser.get(access.address)
        with patch.object(census, "STORAGE_SECONDS", LISTING_SECONDS):
            yield browser
    await context.close()


@asynccontextmanager
async def _console(settings: dict[str, str]) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "shared.cli.main", "console", "--no-browser", "--port", "0",
        cwd=ROOT, env=environment(settings), stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stderr  # noqa: S101  (asked for above)
        line = (await process.stderr.readline()).decode()
        address = re.search(r"http://\S+", line)
        if address is None:
            raise BenchError(f"msisync console has printed {line!r}")
        base = address[0].partition("/open")[0]
        async with httpx.AsyncClient(base_url=base, timeout=120, trust_env=False) as browser:
            await browser.get(address[0])
            yield process, browser
    finally:
        process.kill()
        await process.wait()


async def _first(browser: httpx.AsyncClient, path: str) -> float:
    """Seconds until a page shows something, asked for once a second as a browser does."""
    began = time.perf_counter()
    while 'hx-trigger="every 1s"' in (await browser.get(path)).text:  # noqa: ASYNC110  (another process)
        await asyncio.sleep(1)
    return time.perf_counter() - began


async def _timed(browser: httpx.AsyncClient, path: str) -> float:
    began = time.perf_counter()
    answer = await browser.get(path)
    if answer.status_code != 200:
        raise BenchError(f"{path} answers {answer.status_code}")
    return time.perf_counter() - began


async def _again(browser: httpx.AsyncClient, path: str) -> list[float]:
    """Have everything read anew, and wait until it is. Gives the seconds of each page meanwhile."""
    before = _as_of((await browser.get(path)).text)
    (link,) = re.findall(r'href="([^"]*after=[^"]*)">Look again', (await browser.get(path)).text)
    seconds = [await _timed(browser, link.replace("&amp;", "&"))]
    while _as_of((await browser.get(path)).text) == before:
        seconds.append(await _timed(browser, path))
        await asyncio.sleep(0.2)
    return seconds


def _as_of(page: str) -> str:
    return "".join(re.findall(r"after=([\w.]+)", page))


def _resident(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / _MB
    return 0.0


def console_figures(run: ConsoleRun) -> Iterator[Figure]:
    """The figures of a run."""
    group = f"console, {run.letters:,} dead letters and as many parked records"

    def figure(name: str, value: float, unit: str = "", target: Target | None = None) -> Figure:
        return Figure(group=group, name=name, value=value, unit=unit, target=target)

    for name, seconds in run.first.items():
        yield figure(f"{name}: until all are read", seconds, "s")
    for name, seconds_of in run.pages.items():
        yield figure(name, max(seconds_of), "s", SECONDS)
        yield figure("  median", statistics.median(seconds_of), "s")
    yield figure("memory at the beginning", run.memory[0], "MB")
    yield figure("  when all is read", run.memory[1], "MB", MEMORY_MB)
    anew = run.memory[2:]
    yield figure(f"  when all was read {len(anew)} times more", anew[-1], "MB", MEMORY_MB)
    yield figure(f"  compared with {SETTLED} times", anew[-1] / anew[min(SETTLED, len(anew)) - 1], "times", FLAT)
    yield figure("not as it must be", len(run.wrong), "", Target(limit=0))
