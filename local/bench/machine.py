"""What processes have used, and what machine this is."""

import os
import platform
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")
#: Fields of /proc/<pid>/stat after the name in parentheses: session id, user time, system time.
_SESSION, _USER, _SYSTEM = 3, 11, 12


def cpu_by_session(leaders: Iterable[int]) -> dict[int, float]:
    """Processor seconds so far of each session: its leader and every process that the leader started.

    Every part of the stack leads a session. Empty where there is no /proc.
    """
    if not (_PROC / "self" / "stat").exists():
        return {}
    used = dict.fromkeys(leaders, 0.0)
    tick = os.sysconf("SC_CLK_TCK")
    for stat in _PROC.glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # the process ended meanwhile
            continue
        session = int(fields[_SESSION])
        if session in used:
            used[session] += (int(fields[_USER]) + int(fields[_SYSTEM])) / tick
    return used


def description() -> dict[str, str | int]:
    """What the figures were measured on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "cores": cores,
        "system": platform.system(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
