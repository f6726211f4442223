"""How long the app takes to import, each time in a fresh process: what every cold start of the platform pays."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from local.endpoints import inherited_environment

ROUNDS = 5
PROGRAM = "import function_app"


def import_seconds(app_directory: Path, rounds: int = ROUNDS) -> list[float]:
    """Seconds from the start of Python to its end, for each round.

    The first may find nothing in the file system's cache. Raises CalledProcessError when the import fails.
    """
    return [_timed(app_directory) for _ in range(rounds)]


def _timed(app_directory: Path) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=app_directory, env=inherited_environment(), check=True)  # noqa: S603  (a fixed program)
    return time.perf_counter() - began


def median_import_seconds(app_directory: Path) -> float:
    """The median round."""
    return statistics.median(import_seconds(app_directory))
