"""A replay of many dead letters with `msisync dead-letters`, the command as an operator runs it.

Only the embedded broker runs beside it: what is measured is the command and the broker on the cores of this machine.
"""

import asyncio
import json
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.bench import BenchError, machine
from local.bench.burst import Report
from local.bench.figures import Figure, Target, ratio
from local.harness.dead_letters import Letters, environment, refused, running_letters
from local.stack import ROOT

#: What a Standard namespace allows: about 1,000 operations a second.
RATE = Target(limit=1000, at_least=True)
#: However many dead letters there are.
MEMORY_MB = Target(limit=400)
_PROC = Path("/proc")
_MB = 1024 * 1024
_POLL = 0.1


@dataclass(frozen=True)
class Command:
    """One run of a command: its seconds, the most memory of its processes together, their processor seconds."""

    seconds: float
    memory_mb: float
    cpu: float
    broker_cpu: float
    data: dict[str, Any]


@dataclass(frozen=True)
class Replay:
    """What was measured. `wrong` says what was not as it must be afterwards."""

    letters: int
    listing: Command
    export: Command
    replay: Command
    wrong: list[str]


async def run_replay(directory: Path, *, letters: int, report: Report) -> Replay:
    """List, export and replay that many dead letters."""
    archive = _new_file(directory)
    async with running_letters(directory) as broker:
        report(f"posting {letters:,} dead letters")
        await broker.post(refused(letters))
        report("list")
        listing = await _run(broker, "list")
        report("export")
        export = await _run(broker, "export", str(archive))
        report("replay")
        replay = await _run(broker, "replay", "--apply", "--max", "0")
        wrong = [f"replay: {replay.data}"] if replay.data.get("went") != letters else []
        for queue, session, expected in (("dead-letters", None, 0), ("persons", "person", letters)):
            found = len(await broker.messages(queue, session=session))
            wrong += [f"{queue} has {found}, not {expected}"] if found != expected else []
    return Replay(letters, listing, export, replay, wrong)


def _new_file(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    archive = directory / "letters.jsonl"
    archive.unlink(missing_ok=True)
    return archive


async def _run(broker: Letters, *words: str) -> Command:
    began, broker_began = time.perf_counter(), _cpu(broker.pid)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "shared.cli.main", "dead-letters", *words, "--json",
        cwd=ROOT, env=environment(broker.settings), stdin=DEVNULL, stdout=PIPE, start_new_session=True,
    )  # fmt: skip
    used = asyncio.create_task(_watch(process.pid))
    output, _ = await process.communicate()
    seconds = time.perf_counter() - began
    used.cancel()
    with suppress(asyncio.CancelledError):
        await used
    peak, cpu = _seen.pop(process.pid, (0.0, 0.0))
    if process.returncode not in {0, 1}:
        raise BenchError(f"msisync dead-letters {' '.join(words)} ended with {process.returncode}: {output.decode()}")
    return Command(seconds, peak, cpu, _cpu(broker.pid) - broker_began, json.loads(output))


#: The most memory (MB) and the processor seconds of a session so far, by its leader.
_seen: dict[int, tuple[float, float]] = {}


async def _watch(leader: int) -> None:
    while True:
        _look(leader)
        await asyncio.sleep(_POLL)


def _look(leader: int) -> None:
    memory, cpu = 0.0, machine.cpu_by_session([leader]).get(leader, 0.0)
    for stat in _PROC.glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):  # the process ended meanwhile
            if int(stat.read_text().rpartition(")")[2].split()[3]) == leader:
                memory += _resident(stat.parent)
    before = _seen.get(leader, (0.0, 0.0))
    _seen[leader] = max(before[0], memory), max(before[1], cpu)


def _resident(process: Path) -> float:
    for line in (process / "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / _MB
    return 0.0


def _cpu(pid: int) -> float:
    return machine.cpu_by_session([pid]).get(pid, 0.0)


def replay_figures(run: Replay) -> Iterator[Figure]:
    """The figures of a run."""
    group = f"{run.letters:,} dead letters"

    def figure(name: str, value: float, unit: str = "", target: Target | None = None) -> Figure:
        return Figure(group=group, name=name, value=value, unit=unit, target=target)

    def of_each(seconds: float) -> float:
        return ratio(seconds * 1000, run.letters)

    yield figure("replayed", run.letters / run.replay.data["seconds"], "messages/s", RATE)
    yield figure("  the whole command, with the look before", run.letters / run.replay.seconds, "messages/s")
    yield figure("  the command's own CPU", of_each(run.replay.cpu), "ms/message")
    yield figure("  the broker's CPU", of_each(run.replay.broker_cpu), "ms/message")
    yield figure("  peak memory of its processes together", run.replay.memory_mb, "MB", MEMORY_MB)
    yield figure("listed", run.letters / run.listing.seconds, "messages/s")
    yield figure("  peak memory", run.listing.memory_mb, "MB", MEMORY_MB)
    yield figure("exported", run.letters / run.export.seconds, "messages/s")
    yield figure("  peak memory", run.export.memory_mb, "MB", MEMORY_MB)
    yield figure("not as it must be afterwards", len(run.wrong), "", Target(limit=0))
