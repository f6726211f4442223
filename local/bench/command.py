"""A command in a process of its own, which does nothing else, so that its memory is the command's."""

import json
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from local.bench import BenchError
from local.endpoints import inherited_environment
from local.stack import ROOT

_POLL_SECONDS = 0.1


def run_measured(settings: Path, *words: str, codes: Collection[int] = (0,)) -> tuple[dict[str, Any], int]:
    """Run `msisync` to its end: what it printed as JSON, and the most memory in bytes that it had.

    Raises BenchError when its exit code is not one of `codes`.
    """
    command = (sys.executable, "-m", "shared.cli.main", *words, "--json", "--settings", str(settings))
    process = subprocess.Popen(  # noqa: S603  (our own command)
        command, cwd=ROOT, env=inherited_environment(), stdout=subprocess.PIPE
    )
    # Not its resource usage: that begins with the memory of who has started it.
    memory = 0
    while True:
        try:
            output, _ = process.communicate(timeout=_POLL_SECONDS)
            break
        except subprocess.TimeoutExpired:
            memory = max(memory, _peak(process.pid))
    if process.returncode not in codes:
        raise BenchError(f"msisync {' '.join(words)} ended with {process.returncode}: {output.decode()}")
    return dict(json.loads(output)), memory


def _peak(pid: int) -> int:
    """The most memory of a process so far, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
