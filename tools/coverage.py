"""python3 dev.py coverage: which lines and branches of shared/ the tests reach, in every process that they start.

Unit, integration and e2e tests run one after the other, for half an hour or longer; a test that fails does not end the
measurement. Processes that are killed are not counted.
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import dev

ROOT = Path(__file__).parents[1]
REPORT = ROOT / ".local" / "coverage" / "report.json"
TIERS = ("unit", "integration", "e2e")
#: Percent of all lines and branches; and of those of a module, below which it is named.
GOAL = 95.0
LOW = 90.0

#: Of a file: lines and branches that were reached, and all of them.
Reached = Mapping[str, tuple[int, int]]


def measure(*arguments: str) -> int:
    """Run coverage's own command, and return its exit code."""
    return subprocess.run([sys.executable, "-m", "coverage", *arguments], cwd=ROOT, check=False).returncode


def run_tiers(tiers: Iterable[str], arguments: Iterable[str]) -> list[str]:
    """Run the tests of these tiers, and return the tiers with a test that failed."""
    measure("erase")
    codes = {tier: measure("run", *command, *arguments) for tier in tiers for command in dev.TIERS[tier]}
    return [tier for tier, code in codes.items() if code not in (0, dev.NO_TESTS_SELECTED)]


def read_report() -> dict[str, tuple[int, int]]:
    """Put the data of all processes together, and return what was reached of each file that has code."""
    measure("combine", "--quiet")
    measure("json", "--quiet", "-o", str(REPORT))
    files = json.loads(REPORT.read_text())["files"]
    found = {}
    for name, file in files.items():
        of = file["summary"]
        reached = of["covered_lines"] + of["covered_branches"]
        if whole := of["num_statements"] + of["num_branches"]:
            found[name] = (reached, whole)
    return found


def percent(reached: Iterable[tuple[int, int]]) -> float:
    """Return how much was reached of several files."""
    parts = list(reached)
    return 100 * sum(part for part, _ in parts) / (sum(whole for _, whole in parts) or 1)


def describe(files: Reached) -> list[str]:
    """Return the lines that say it: the packages, the modules of which too little was reached, and the total."""
    packages: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for name, reached in files.items():
        packages["/".join(name.split("/")[:2])].append(reached)
    lines = [f"{percent(parts):6.1f} %  {name}" for name, parts in sorted(packages.items())]
    low = sorted((percent([reached]), name) for name, reached in files.items() if percent([reached]) < LOW)
    if low:
        lines += ["", f"Modules below {LOW:g} %:", *(f"{part:6.1f} %  {name}" for part, name in low)]
    return [*lines, "", f"{percent(files.values()):6.1f} %  in total, of lines and branches; the goal is {GOAL:g} %"]


def main() -> int:
    """Measure and report. Returns the exit code: 1 when a test failed, or when all tests do not reach the goal."""
    usage = "python3 dev.py coverage [unit|integration|e2e …] [pytest arguments]"
    parser = argparse.ArgumentParser(prog="python3 dev.py coverage", description=__doc__, usage=usage)
    _, arguments = parser.parse_known_args()
    chosen = [tier for tier in TIERS if tier in arguments]
    extra = [argument for argument in arguments if argument not in TIERS]
    failed = run_tiers(chosen or TIERS, extra)
    files = read_report()
    print("\n".join(["", *describe(files), "`.venv/bin/coverage report` lists the lines that no test reached."]))
    if failed:
        print(f"Tests failed: {', '.join(failed)}")
    short = not arguments and percent(files.values()) < GOAL
    return 1 if failed or short else 0


if __name__ == "__main__":
    sys.exit(main())
