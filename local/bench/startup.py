"""What every cold start of the platform pays: the import of the app, in fresh processes, and the load of sync.toml."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from local.endpoints import inherited_environment
from shared.config import sync_toml as config

ROUNDS = 5
LOADS = 20
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


def median_load_seconds(sync_toml: Path) -> float:
    """To read and validate it, the median of several times. Raises ConfigurationError."""
    return statistics.median(_loaded(sync_toml) for _ in range(LOADS))


def with_more_fields(sync_toml: str, count: int) -> str:
    """The same file with so many more fields of a contact."""
    more = "".join(f'customField{number} = "new_field{number}"\n' for number in range(count))
    return sync_toml.replace("[contact.fields]\n", f"[contact.fields]\n{more}", 1)


def _loaded(sync_toml: Path) -> float:
    began = time.perf_counter()
    config.load(sync_toml)
    return time.perf_counter() - began
