"""Measure the app on the embedded stack and compare with what it has to reach.

A table, and a JSON file with every detail. The exit code is 0 when every target is met, 1 when one is not.
"""

import argparse
import asyncio
import json
import math
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from emulators.processes import ChildError
from local.bench import BenchError, day, machine, report
from local.bench.burst import Burst, Report, run_burst
from local.bench.chaos import chaos_figures, run_chaos
from local.bench.console import console_figures, run_console
from local.bench.doctor import doctor_figures, run_doctor
from local.bench.engine import run_engine
from local.bench.figures import Figure, all_met, table
from local.bench.history import history_figures, run_history
from local.bench.initial_sync import initial_sync_figures, run_initial_sync
from local.bench.lone import run_lone
from local.bench.population import LEAST_RECORDS, ORDERS
from local.bench.quota import quota_figures, simulate
from local.bench.reconcile import reconcile_figures, run_reconcile
from local.bench.replay import replay_figures, run_replay
from local.bench.startup import median_import_seconds, median_load_seconds, with_more_fields
from local.bench.write_back import run_write_back, write_back_figures
from local.control import StackError
from local.stack import DIRECTORY, ROOT

SECTIONS = (
    "import",
    "doctor",
    "lone",
    "engine",
    "burst",
    "first-seen",
    "replay",
    "console",
    "day",
    "quota",
    "write-back",
    "reconcile",
    "initial-sync",
    "history",
    "chaos",
)
#: Fields of one's own in a large sync.toml.
MORE_FIELDS = 500
#: 100,000 dead letters to 20,000 records.
LETTERS_PER_RECORD = 5
#: A burst of 100,000 changes when 100 calls of the day's share are left.
CHANGES_PER_RECORD = 5
CHANGES_PER_CALL_LEFT = 1000
#: 100,000 persons of whom some change.
PERSONS_PER_RECORD = 5
#: Of 20,000 records, Marketo has 5,000 persons by their e-mail addresses.
PERSONS_KNOWN = 4
FIRST_ORDER = "import"
PROGRESS_SECONDS = 3.0
#: Differences that are shown; the report file has all.
SHOWN = 40


@dataclass
class Bench:
    """One benchmark: what to measure, and what has been measured so far."""

    console: Console
    records: int
    orders: Sequence[str]
    directory: Path
    seed: int
    seconds: float
    persons: int
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    async def run(self, sections: Sequence[str]) -> None:
        """Measure the sections one after another; one that fails does not stop the others."""
        measure = {
            "import": self.startup,
            "doctor": self.doctor,
            "lone": self.lone,
            "engine": self.engine,
            "burst": self.burst,
            "first-seen": self.first_seen,
            "replay": self.replay,
            "console": self.console_pages,
            "day": self.day,
            "quota": self.quota,
            "write-back": self.write_back,
            "reconcile": self.reconcile,
            "initial-sync": self.initial_sync,
            "history": self.history,
            "chaos": self.chaos,
        }
        for section in SECTIONS:
            if section not in sections:
                continue
            try:
                await measure[section]()
            except (BenchError, StackError, ChildError) as error:
                self.failures.append(f"{section}: {error}")
                self.console.print(f"[bold red]{section} failed[/]: {error}", highlight=False)

    async def startup(self) -> None:
        """How long the app takes to import, and its sync.toml to load."""
        self.say("import: five fresh processes")
        imported = await asyncio.to_thread(median_import_seconds, ROOT)
        self.directory.mkdir(parents=True, exist_ok=True)
        large = self.directory / "large.toml"
        large.write_text(with_more_fields((ROOT / "sync.toml").read_text(), MORE_FIELDS))
        loads = {
            "sync.toml as shipped": median_load_seconds(ROOT / "sync.toml"),
            f"  with {MORE_FIELDS} more fields": median_load_seconds(large),
        }
        self.figures += report.startup_figures(imported, loads)

    async def doctor(self) -> None:
        """The operators' first command."""
        self.say("doctor: three times on a healthy system")
        run = await run_doctor(self.directory / "doctor")
        self.figures += doctor_figures(run)
        self.details["doctor"] = asdict(run)

    async def lone(self) -> None:
        """Lone changes on an idle system."""
        run = await run_lone(self.directory / "lone", report=self.progress("lone"))
        latencies = [latency for of_entity in run.latencies.values() for latency in of_entity]
        self.figures += report.lone_figures(latencies, run.problems)
        self.details["lone"] = asdict(run)

    async def engine(self) -> None:
        """The engine alone."""
        run = await run_engine(self.directory / "engine", records=self.records, report=self.progress("engine"))
        self.figures += report.engine_figures(run)
        self.details["engine"] = report.details(run)

    async def burst(self) -> None:
        """Bursts: every order at full size, the first order also at a tenth of it, and once more with sampling."""
        for order in self.orders:
            large = await self._burst(self.records, order, again=order == self.orders[0])
            if order != self.orders[0]:
                self.figures += report.burst_figures(large)
                continue
            small = await self._burst(max(LEAST_RECORDS, self.records // 10), order)
            sampled = await self._burst(self.records, order, sample=True)
            self.figures += report.burst_figures(large, sampled)
            self.figures += report.growth_figures(small, large)
            self.figures += report.function_figures(large)

    async def first_seen(self) -> None:
        """A burst of which Marketo has a quarter of the records already, as persons without a key."""
        self.figures += report.burst_figures(
            await self._burst(self.records, self.orders[0], known=self.records // PERSONS_KNOWN)
        )

    async def _burst(self, records: int, order: str, **options: Any) -> Burst:
        name = "-".join(["burst", order, str(records), *(name for name, value in options.items() if value)])
        run = await run_burst(
            self.directory / name, records=records, order=order, report=self.progress(name), **options
        )
        self.details[name] = report.details(run)
        return run

    async def replay(self) -> None:
        """Dead letters: as many as five bursts have records, listed, exported and replayed."""
        run = await run_replay(
            self.directory / "replay", letters=LETTERS_PER_RECORD * self.records, report=self.progress("replay")
        )
        self.figures += replay_figures(run)
        self.details["replay"] = asdict(run)

    async def console_pages(self) -> None:
        """The console with as many dead letters, and as many parked records."""
        run = await run_console(
            self.directory / "console", letters=LETTERS_PER_RECORD * self.records, report=self.progress("console")
        )
        self.figures += console_figures(run)
        self.details["console"] = asdict(run)

    async def day(self) -> None:
        """A day of single changes, one a second, and hours of it in one of which Marketo is away: in virtual time."""
        runs = [(stream, day.DAY_SECONDS, day.NEVER) for stream in day.STREAMS]
        for stream, seconds, away in [*runs, ("mixed", day.AWAY_RUN_SECONDS, day.AWAY)]:
            name = f"day-{stream}" + ("" if away == day.NEVER else "-away")
            self.say(f"{name}: {seconds / day.HOUR:.0f} hours in virtual time")
            run = await asyncio.to_thread(day.simulate, stream, seconds=seconds, away=away)
            self.figures += day.day_figures(run)
            self.details[name] = asdict(run)

    async def quota(self) -> None:
        """A burst at the end of a day whose share is nearly used, in virtual time."""
        self.say("quota: a night in virtual time")
        changes = CHANGES_PER_RECORD * self.records
        run = await asyncio.to_thread(simulate, changes, left=math.ceil(changes / CHANGES_PER_CALL_LEFT))
        self.figures += quota_figures(run)
        self.details["quota"] = asdict(run)

    async def write_back(self) -> None:
        """Sales Insight's fields of few of many persons, of none, and of all of them."""
        run = await run_write_back(
            self.directory / "write-back", persons=PERSONS_PER_RECORD * self.records, report=self.progress("write-back")
        )
        self.figures += write_back_figures(run)
        self.details["write-back"] = run.details()

    async def reconcile(self) -> None:
        """Both sides of many contacts compared, of which few differ."""
        run = await run_reconcile(
            self.directory / "reconcile", persons=PERSONS_PER_RECORD * self.records, report=self.progress("reconcile")
        )
        self.figures += reconcile_figures(run)
        self.details["reconcile"] = run.details()

    async def initial_sync(self) -> None:
        """A large organisation loaded by a run, in virtual time."""
        self.say(f"initial-sync: {self.persons:,} persons in virtual time, and six more simulations")
        run = await run_initial_sync(persons=self.persons)
        self.figures += initial_sync_figures(run)
        self.details["initial-sync"] = asdict(run)

    async def history(self) -> None:
        """What the history costs, beside what is written anyway."""
        run = await run_history(self.directory / "history", report=self.progress("history"))
        self.figures += history_figures(run)
        self.details["history"] = asdict(run)

    async def chaos(self) -> None:
        """Minutes of edits, kills and faults; then both systems are compared."""
        self.say(f"chaos: {self.seconds:.0f} s; the same again: --only chaos --seed {self.seed}")
        run = await run_chaos(
            self.directory / "chaos", seed=self.seed, seconds=self.seconds, report=self.progress("chaos")
        )
        self.figures += chaos_figures(run)
        for line in [*run.differences, *run.dead_letters][:SHOWN]:
            self.say(f"chaos: {line}")
        self.details["chaos"] = asdict(run)

    def say(self, line: str) -> None:
        """Tell what begins."""
        self.console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {line}", highlight=False)

    def progress(self, name: str) -> Report:
        """A function that shows what happens in a run, a line every few seconds at most."""
        shown = float("-inf")

        def show(line: str) -> None:
            nonlocal shown
            if time.monotonic() - shown >= PROGRESS_SECONDS:
                shown = time.monotonic()
                self.say(f"{name}: {line}")

        return show

    def as_json(self) -> dict[str, Any]:
        """The content of the report file."""
        return {
            "machine": machine.description(),
            "figures": [figure.as_json() for figure in self.figures],
            "failures": self.failures,
            "runs": self.details,
        }


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python3 dev.py bench", description=__doc__)
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"parts to measure, of {','.join(SECTIONS)}")
    parser.add_argument("--records", type=int, default=20_000, help=f"changes in a burst, {LEAST_RECORDS} or more")
    parser.add_argument("--orders", default=FIRST_ORDER, help=f"orders of the bursts, of {','.join(ORDERS)}")
    parser.add_argument("--seed", type=int, default=None, help="of the chaos; by default another one in every run")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long the chaos lasts")
    parser.add_argument("--persons", type=int, default=100_000, help="of the initial sync, up to a million or more")
    parser.add_argument("--json", type=Path, default=DIRECTORY / "bench.json", help="the report file")
    options = parser.parse_args(given)
    options.only, options.orders = options.only.split(","), options.orders.split(",")
    for name, known in (("only", SECTIONS), ("orders", ORDERS)):
        unknown = [word for word in getattr(options, name) if word not in known]
        if unknown:
            parser.error(f"--{name}: {', '.join(unknown)} is not one of {', '.join(known)}")
    if options.records < LEAST_RECORDS:
        parser.error(f"--records must be at least {LEAST_RECORDS}")
    return options


def main() -> int:
    """Run the benchmark and return the exit code."""
    options = arguments()
    console = Console(width=None if sys.stdout.isatty() else 120)
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    bench = Bench(console, options.records, options.orders, DIRECTORY / "bench", seed, options.seconds, options.persons)
    asyncio.run(bench.run(options.only))
    described = machine.description()
    console.print(table(bench.figures, title=f"{described['cores']} cores, Python {described['python']}"))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(bench.as_json(), indent=1) + "\n")
    console.print(f"Every detail: {options.json}", highlight=False)
    return 0 if all_met(bench.figures) and not bench.failures else 1


if __name__ == "__main__":
    sys.exit(main())
