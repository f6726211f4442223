"""`msisync doctor` on a healthy system, the command as an operator runs it: its time, and what it costs in calls."""

import asyncio
import json
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.bench import BenchError
from local.bench.figures import Figure, Target
from local.endpoints import inherited_environment
from local.harness.operating import operated_system
from local.stack import ROOT

ROUNDS = 3
SECONDS = Target(limit=10)
CALLS = Target(limit=25)
ONE = Target(limit=1)


@dataclass(frozen=True)
class Doctor:
    """The slowest of the rounds, and what each of them cost."""

    checks: int
    seconds: float
    marketo_calls: int
    sign_ins: int


async def run_doctor(directory: Path) -> Doctor:
    """Run it some times, each with new tokens. Raises BenchError when not everything is green."""
    rounds = []
    async with operated_system(directory) as operator:
        for _ in range(ROUNDS):
            await operator.system.marketo("/stats/reset", {})
            await operator.system.dataverse("/stats/reset", {})
            began = time.perf_counter()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "shared.cli.main", "doctor", "--settings", str(operator.settings_file), "--json",
                cwd=ROOT, env=inherited_environment(), stdin=DEVNULL, stdout=PIPE,
            )  # fmt: skip
            output, _ = await process.communicate()
            seconds = time.perf_counter() - began
            if process.returncode:
                raise BenchError(f"msisync doctor ended with {process.returncode}: {output.decode()}")
            marketo, dataverse = await operator.system.marketo("/stats"), await operator.system.dataverse("/stats")
            sign_ins = max(marketo["identity_calls"], dataverse["sign_ins"])
            rounds.append(Doctor(len(json.loads(output)["checks"]), seconds, marketo["calls_total"], sign_ins))
    return max(rounds, key=lambda each: each.seconds)


def doctor_figures(run: Doctor) -> Iterator[Figure]:
    """The figures of the slowest round."""
    group = f"msisync doctor, {run.checks} checks"
    yield Figure(group=group, name="from start to end, slowest of three", value=run.seconds, unit="s", target=SECONDS)
    yield Figure(group=group, name="Marketo calls", value=run.marketo_calls, target=CALLS)
    yield Figure(group=group, name="sign-ins per vendor", value=run.sign_ins, target=ONE)
