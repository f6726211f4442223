"""Figures of an initial sync of a large organisation, in virtual time: calls, hours, memory, and what others notice."""

import asyncio
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from local.bench.figures import Figure, Target, percentile, ratio
from local.bench.simulated_run import SETTINGS, Loaded, simulate
from shared.config.settings import MarketoSettings
from shared.sync.runs.page import PAGE

#: A call for 300 persons, and a fiftieth of them may not be full.
UPSERTS_PER_PERSON = 1.02 / 300
FULL_SHARE = {"MARKETO_DAILY_SHARE": "1", "RUN_DAILY_SHARE": "1"}
#: Live changes go at once, however many.
AT_ONCE = {"TRICKLE_SHARE": "1"}
KILLS = 20
#: So few records are remembered that what grows is the backlog's: else it is what each function remembers of it.
LITTLE = 1_000
GROWTH, SLOWER, NONE = Target(limit=1.2), Target(limit=2), Target(limit=0)
#: Calls that a person takes with all that belongs to it: about; and a share of the day with which that takes 3 days.
CALLS_PER_PERSON, DAYS = 0.014, 2.5
#: What is measured of a share that takes days, and of latency, is the same for more.
ENOUGH = 100_000
SMALL_PART = 10
_MB = 1024


@dataclass(kw_only=True)
class InitialSync:
    """The simulations of the benchmark: at a tenth of the size, with shares of the day, kills, and live changes."""

    small: Loaded
    large: Loaded
    forgetful: Loaded
    full_share: Loaded
    days: Loaded
    killed: Loaded
    busy: Loaded
    idle: Loaded


async def run_initial_sync(*, persons: int) -> InitialSync:
    """Simulate all of it, some at a time."""
    some = min(persons, ENOUGH)
    share = some * CALLS_PER_PERSON / MarketoSettings.model_validate(SETTINGS).daily_calls / DAYS

    def one(of: int, **how: Any) -> Any:
        return asyncio.to_thread(simulate, of, **how)

    found = await asyncio.gather(
        one(persons // SMALL_PART),
        one(persons),
        one(some, remembered=LITTLE),
        one(persons, **FULL_SHARE),
        one(some, RUN_DAILY_SHARE=f"{share:.6f}"),
        one(persons, kills=KILLS),
        one(some, live=True, **AT_ONCE),
        one(some, idle=True, **AT_ONCE),
    )
    names = ("small", "large", "forgetful", "full_share", "days", "killed", "busy", "idle")
    return InitialSync(**dict(zip(names, found, strict=True)))


def initial_sync_figures(run: InitialSync) -> Iterator[Figure]:
    """What a run costs, how long it takes, and what others notice of it."""
    large, small = run.large, run.small
    group = f"initial sync of {large.persons:,} persons, {large.rows:,} records"

    def figure(name: str, value: float, unit: str = "", target: Target | None = None) -> Figure:
        return Figure(group=group, name=name, value=value, unit=unit, target=target)

    yield figure("Marketo calls: upserts of persons", large.calls["person upsert"], "", _upserts(large))
    yield figure("  look-ups of persons for adoption", large.calls["person find by email"])
    yield figure("  all", large.all_calls)
    yield figure("  all, per record, against a tenth of the size", _per_row(large, small, "all_calls"), "times")
    yield figure("time", large.seconds / 3600, "h")
    yield figure("  per record, against a tenth of the size", _per_row(large, small, "seconds"), "times")
    yield figure("requests to storage per record", large.requests / large.rows)
    yield figure("peak memory of the process", large.memory[1] / _MB, "MB")
    yield figure("  against a tenth of the run", ratio(large.memory[1], large.memory[0]), "times")
    forgetful = run.forgetful.memory
    yield figure(f"  the same, {LITTLE:,} records remembered", ratio(forgetful[1], forgetful[0]), "times", GROWTH)
    yield figure("lost or doubled", large.lost + large.doubled, "records", NONE)
    group = f"the same with {run.killed.killed} kills of the carrier"
    yield figure("lost or doubled", run.killed.lost + run.killed.doubled, "records", NONE)
    yield figure("sent twice", run.killed.sent_twice, "records", Target(limit=PAGE * KILLS))
    yield figure("time", run.killed.seconds / 3600, "h")
    full = run.full_share
    group = f"initial sync of {full.persons:,} persons with the whole day's calls"
    yield figure("Marketo calls: upserts of persons", full.calls["person upsert"], "", _upserts(full))
    yield figure("  all", full.all_calls)
    yield figure("time", full.seconds / 3600, "h")
    yield figure("lost or doubled", full.lost + full.doubled, "records", NONE)
    group = f"initial sync of {run.busy.persons:,} persons"
    yield figure(f"time with a share for {len(run.days.by_day)} days", run.days.seconds / 3600, "h")
    yield figure("  of it waiting for midnight", run.days.waited / 3600, "h")
    yield figure("  lost or doubled", run.days.lost + run.days.doubled, "records", NONE)
    group = f"lone live changes while {run.busy.persons:,} persons are loaded"
    for name in sorted(run.busy.latencies):
        during, alone = run.busy.latencies[name], run.idle.latencies[name]
        yield figure(f"{name}, p50 of {len(during)}", percentile(during, 50), "s")
        yield figure("  p95", percentile(during, 95), "s")
        yield figure("  p95 of an idle system", percentile(alone, 95), "s")
        yield figure("  times", ratio(percentile(during, 95), percentile(alone, 95)), "", SLOWER)


def _upserts(loaded: Loaded) -> Target:
    return Target(limit=math.ceil(loaded.persons * UPSERTS_PER_PERSON))


def _per_row(one: Loaded, other: Loaded, name: str) -> float:
    return ratio(getattr(one, name) / one.rows, getattr(other, name) / other.rows)
