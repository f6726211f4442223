"""Sales Insight's fields on their way back: what a run costs when few of many persons have changed, and a whole sweep.

Calls are counted by the simulators. The changes are written by the timer's function in the host; the sweep by
`msisync write-back run --sweep`, whose process does nothing else, so that its memory is the sweep's.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from emulators.marketo.objects import LEADS
from local.bench.burst import FULL_SHARE, Report
from local.bench.command import run_measured
from local.bench.figures import Figure, Target, ratio
from local.harness import Made, System, running_system
from local.harness.insight import COLUMNS, Calls, Insight
from local.world.model import KEYS

#: What a run may cost, for 1,000 changed of 100,000 persons.
CALLS_OF_MARKETO = Target(limit=15)
REQUESTS_OF_DATAVERSE = Target(limit=15)
SECONDS = Target(limit=60)
CALLS_FOR_NOTHING = Target(limit=3)
#: A sweep: full calls, and so many more.
PERSONS_PER_CALL = 300
CALLS_BESIDE = 6
MEMORY_GROWTH = Target(limit=1.2)
DIFFERENCES = Target(limit=0)

CHANGED_PART = 100
SMALL_PART = 10
#: Runs by the clock would disturb.
_NEVER = "0 0 0 1 1 *"
_SETTINGS = {
    **FULL_SHARE,
    "WRITE_BACK_SCHEDULE": _NEVER,
    "RELEASE_SCHEDULE": _NEVER,
    "RECONCILE_SCHEDULE": _NEVER,
}
_SEEDED_AT_ONCE = 10_000
_MB = 1024 * 1024
#: What Marketo calls the guide's field.
_ALIASES = {"relativeScoring": "relativeScore"}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run: what both systems were asked, and how long it took. `memory`: bytes, at most, of a command's process."""

    calls: Calls
    seconds: float
    memory: int = 0


@dataclass(kw_only=True)
class WriteBackRun:
    """All runs of the benchmark. `wrong`: rows that are not as Marketo has them afterwards, and other surprises."""

    persons: int
    changed: Measured
    nothing: Measured
    small_sweep: Measured
    sweep: Measured
    wrong: list[str] = field(default_factory=list)

    def details(self) -> dict[str, Any]:
        """Everything, for the report file."""
        return asdict(self)


async def run_write_back(directory: Path, *, persons: int, report: Report) -> WriteBackRun:
    """Measure all runs on a stack of their own. Raises BenchError when a command does not end well."""
    changes = persons // CHANGED_PART
    async with running_system(directory, copied=False, functions_environment=_SETTINGS) as system:
        insight = Insight(system)
        report(f"{persons // SMALL_PART:,} persons in both systems")
        people = await _settle(system, 0, persons // SMALL_PART)
        await insight.run()  # the plan is made once a day
        report("a small sweep")
        small_sweep, wrong = await _sweep(insight, people[:: CHANGED_PART // SMALL_PART])
        report(f"{persons:,} persons in both systems")
        people += await _settle(system, len(people), persons)
        changed_people = people[::CHANGED_PART][:changes]
        await _change(insight, changed_people)
        report(f"{len(changed_people):,} changed")
        changed = await _timer(insight)
        nothing = await _timer(insight)
        wrong += await _differences(system)
        report("a sweep over all")
        sweep, failures = await _sweep(insight, people[1::CHANGED_PART])
        wrong += failures + await _differences(system)
    return WriteBackRun(
        persons=persons, changed=changed, nothing=nothing, small_sweep=small_sweep, sweep=sweep, wrong=wrong
    )


async def _settle(system: System, first: int, last: int) -> list[Made]:
    """Give both systems the persons with these numbers, as many contacts as leads, with the same values."""
    people: list[Made] = []
    for start in range(first, last, _SEEDED_AT_ONCE):
        rows: dict[str, list[dict[str, Any]]] = {"contact": [], "lead": []}
        persons = []
        for number in range(start, min(start + _SEEDED_AT_ONCE, last)):
            table = ("contact", "lead")[number // 2 % 2]
            # Spread over the order of ids, as they are in life.
            id_ = f"{number * 2654435761 % 2**32:08x}-0000-4000-a000-{number:012x}"
            values = {"priority": number % 10, "relativeUrgency": number % 4, "relativeScoring": number % 3}
            columns = {COLUMNS[name]: value for name, value in values.items()}
            rows[table].append({KEYS[table]: id_, "lastname": f"P{number}", **columns})
            persons.append({"externalPersonId": id_, **_as_marketo_says(values)})
            people.append(Made(table, id_, {}))
        await system.dataverse("/seed", rows)
        await system.marketo("/seed", {LEADS: persons})
    return people


def _as_marketo_says(values: Mapping[str, Any]) -> dict[str, Any]:
    return {_ALIASES.get(name, name): value for name, value in values.items()}


async def _change(insight: Insight, people: Sequence[Made]) -> None:
    """Every other one has an interesting moment, the others another score."""
    moments = [
        {
            "externalPersonId": made.id,
            "activityTypeId": 46,
            "primaryAttributeValue": "Web",
            "attributes": {"Description": f"Looked at page {number}", "Source": "Visit"},
        }
        for number, made in enumerate(people[::2])
    ]
    await insight.system.marketo("/activities", moments)
    await insight.score(*people[1::2], priority=77, relativeScore=3)


async def _timer(insight: Insight) -> Measured:
    async with insight.counted() as calls:
        began = time.perf_counter()
        await insight.run()
        seconds = time.perf_counter() - began
    return Measured(calls=calls, seconds=seconds)


async def _sweep(insight: Insight, recalculated: Sequence[Made]) -> tuple[Measured, list[str]]:
    """Recalculate tiers of some without an activity, and sweep over all of them."""
    await insight.recalculate(*recalculated, priority=88)
    async with insight.counted() as calls:
        began = time.perf_counter()
        words = ("write-back", "run", "--sweep")
        data, memory = await asyncio.to_thread(run_measured, insight.system.stack.settings_file, *words)
        seconds = time.perf_counter() - began
    (run,) = data["runs"]
    written = run["written"]
    wrong = [] if written == len(recalculated) else [f"the sweep wrote {written}, not {len(recalculated)} rows"]
    return Measured(calls=calls, seconds=seconds, memory=memory), wrong


async def _differences(system: System) -> list[str]:
    """Every row that does not have what Marketo has."""
    persons = {person["externalPersonId"]: person for person in await system.marketo(f"/records/{LEADS}")}
    found = []
    for table in ("contact", "lead"):
        columns = ",".join((KEYS[table], *COLUMNS.values()))
        for row in await system.dataverse(f"/rows/{table}?columns={columns}"):
            person = persons.pop(row[KEYS[table]])
            wanted = {name: person.get(_ALIASES.get(name, name)) for name in COLUMNS}
            present = {name: row.get(column) for name, column in COLUMNS.items()}
            found += [f"{table} {row[KEYS[table]]}: {present}, not {wanted}"] if present != wanted else []
    return found + [f"{id_} has no row" for id_ in persons]


def write_back_figures(run: WriteBackRun) -> Iterator[Figure]:
    """What the runs have cost."""
    group = f"write-back, {run.persons:,} persons"
    changes = f"{run.persons // CHANGED_PART:,} changed"
    sweep_calls = Target(limit=math.ceil(run.persons / PERSONS_PER_CALL) + CALLS_BESIDE)
    growth = ratio(run.sweep.memory, run.small_sweep.memory)

    def figure(name: str, value: float, unit: str = "", target: Target | None = None) -> Figure:
        return Figure(group=group, name=name, value=value, unit=unit, target=target)

    yield figure(f"{changes}: Marketo calls", run.changed.calls.of_marketo, "", CALLS_OF_MARKETO)
    yield figure(f"{changes}: Dataverse requests", run.changed.calls.of_dataverse, "", REQUESTS_OF_DATAVERSE)
    yield figure(f"{changes}: written", run.changed.seconds, "s", SECONDS)
    yield figure("nothing changed: Marketo calls", run.nothing.calls.of_marketo, "", CALLS_FOR_NOTHING)
    yield figure("nothing changed: Dataverse requests", run.nothing.calls.of_dataverse)
    yield figure("sweep: Marketo calls", run.sweep.calls.of_marketo, "", sweep_calls)
    yield figure("sweep: Dataverse requests", run.sweep.calls.of_dataverse)
    yield figure("sweep: from start to end of the command", run.sweep.seconds, "s")
    yield figure("sweep: peak memory of its process", run.sweep.memory / _MB, "MB")
    yield figure(f"  against a sweep of {run.persons // SMALL_PART:,}", growth, "times", MEMORY_GROWTH)
    yield figure("rows that differ afterwards", len(run.wrong), "", DIFFERENCES)
