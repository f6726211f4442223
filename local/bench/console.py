"""The console's pages of many dead letters and many parked records, as a browser gets them from `msisync console`.

The embedded broker and Azurite run beside it: what is measured is the command on the cores of this machine.
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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx

from emulators import azurite
from emulators.processes import Child, free_ports
from local.bench import BenchError
from local.bench.burst import Report
from local.bench.figures import Figure, Target
from local.harness.dead_letters import environment, refused, running_letters
from local.stack import ROOT
from shared.azure.parked_rows import Parked
from shared.azure.parked_table import Store
from shared.config.settings import StorageSettings
from shared.model.outcome import Parent
from shared.model.record import Record

#: Issue 16: no page above one second, with 100,000 dead letters or parked records; and memory stays flat.
SECONDS = Target(limit=1.0)
MEMORY_MB = Target(limit=400)
#: How often each page is asked for, and how often all are read anew for the memory at the end.
TIMES, AGAIN = 9, 3
#: Records that wait for one parent, and that are parked at a time.
CHILDREN, AT_ONCE = 4, 5_000
#: Pages by what is asked of them.
PAGES = {
    "dead letters: all": "/dead-letters",
    "dead letters: a filter for text": "/dead-letters?q=email&code=1003",
    "dead letters: an id that none has": f"/dead-letters?q={uuid4()}",
    "dead letters: the last page": "/dead-letters?page=99999999",
    "dead letters: asking whether to discard all": "/dead-letters/discard?scope=all",
    "parked: all": "/parked",
    "parked: the last page": "/parked?page=99999999",
    "parked: asking whether to release all": "/parked/release",
}
_MB = 1024 * 1024


@dataclass(frozen=True)
class ConsoleRun:
    """What was measured: seconds until everything is read, of each page, and megabytes before, then and in the end."""

    letters: int
    first: dict[str, float]
    pages: dict[str, list[float]]
    memory: list[float]
    wrong: list[str] = field(default_factory=list)


async def run_console(directory: Path, *, letters: int, report: Report) -> ConsoleRun:
    """As many dead letters, and as many parked records."""
    async with running_letters(directory) as broker, _storage(directory) as connection:
        settings = {**broker.settings, "AzureWebJobsStorage": connection, "PARKED_TABLE": "benchparked"}
        report(f"posting {letters:,} dead letters")
        await broker.post(refused(letters))
        report(f"parking {letters:,} records")
        await _park(StorageSettings.model_validate(settings), letters)
        report("console")
        async with _console(settings) as (process, browser):
            memory = [_resident(process.pid)]
            first = {path: await _first(browser, path) for path in ("/dead-letters", "/parked")}
            memory.append(_resident(process.pid))
            pages = {name: [await _timed(browser, path) for _ in range(TIMES)] for name, path in PAGES.items()}
            shown = (await browser.get("/dead-letters")).text + (await browser.get("/parked")).text
            wanted = (f"{letters:,} dead letters", f"{letters:,} parked records")
            wrong = [f"not shown: {text}" for text in wanted if text not in shown]
            for _ in range(AGAIN):
                for path in first:
                    await _again(browser, path)
            memory.append(_resident(process.pid))
    return ConsoleRun(letters, first, pages, memory, wrong)


@asynccontextmanager
async def _storage(directory: Path) -> AsyncIterator[str]:
    blob, queue, table = free_ports(3)
    command = [sys.executable, "-m", "emulators.azurite", "--location", str(directory / "azurite")]
    command += ["--blob-port", str(blob), "--queue-port", str(queue), "--table-port", str(table)]
    child = Child("azurite", command, log=directory / "azurite.log", is_ready=azurite.is_listening)
    await child.start()
    try:
        yield azurite.connection_string(blob_port=blob, queue_port=queue, table_port=table)
    finally:
        await child.kill()


async def _park(settings: StorageSettings, number: int) -> None:
    store, now = Store(settings), datetime.now(UTC)
    for first in range(0, number, AT_ONCE):
        size = min(AT_ONCE, number - first)
        parents = [Parent("company", "account", str(uuid4())) for _ in range(-(-size // CHILDREN))]
        records = [Record("contact", str(uuid4()), now, parked_since=now) for _ in range(size)]
        waiting = [Parked(parents[at // CHILDREN], "person", record) for at, record in enumerate(records)]
        await store.park(waiting, now + timedelta(hours=1))
    await store.close()


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


async def _again(browser: httpx.AsyncClient, path: str) -> None:
    """Have everything read anew, and wait until it is."""
    before = _as_of((await browser.get(path)).text)
    (link,) = re.findall(r'href="([^"]*after=[^"]*)">Look again', (await browser.get(path)).text)
    await browser.get(link.replace("&amp;", "&"))
    while _as_of((await browser.get(path)).text) == before:  # noqa: ASYNC110  (another process)
        await asyncio.sleep(0.2)


def _as_of(page: str) -> str:
    return "".join(re.findall(r"after=([\w.]+)", page))


def _resident(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / _MB
    return 0.0


def console_figures(run: ConsoleRun) -> Iterator[Figure]:
    """The figures of a run."""
    group = f"console: {run.letters:,} dead letters and as many parked records"

    def figure(name: str, value: float, unit: str = "", target: Target | None = None) -> Figure:
        return Figure(group=group, name=name, value=value, unit=unit, target=target)

    for path, seconds in run.first.items():
        yield figure(f"{path} until all is read", seconds, "s")
    for name, seconds_of in run.pages.items():
        yield figure(name, max(seconds_of), "s", SECONDS)
        yield figure("  median", statistics.median(seconds_of), "s")
    yield figure("memory at the beginning", run.memory[0], "MB")
    yield figure("  when all is read", run.memory[1], "MB", MEMORY_MB)
    yield figure(f"  when all was read {AGAIN} times more", run.memory[2], "MB", MEMORY_MB)
    yield figure("not as it must be", len(run.wrong), "", Target(limit=0))
