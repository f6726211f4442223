"""Processes that a test has not started itself, as /proc shows them."""

import asyncio
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Return whether a process is there, and not only waiting for its parent to notice its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until_dead(*pids: int) -> None:
    """Wait until none of them is left. Raises TimeoutError after a minute."""
    async with asyncio.timeout(60):
        while any(map(is_alive, pids)):  # noqa: ASYNC110 - a foreign process has no event to wait for
            await asyncio.sleep(0.02)
