"""A process of the benchmark that is spoken to line by line, so that its work is not counted as another's."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from emulators.processes import PARENT_VARIABLE
from local.bench import BenchError
from local.endpoints import inherited_environment
from local.stack import ROOT

#: The longest line that a child writes, in bytes.
_LONGEST_LINE = 16 * 1024 * 1024


class Child:
    """The process, by its input and output."""

    def __init__(self, module: str, process: asyncio.subprocess.Process) -> None:
        self._module = module
        self._process = process

    async def tell(self, line: str) -> None:
        """Write one line to its input."""
        assert self._process.stdin is not None  # noqa: S101  (narrows the type: it was started with a pipe)
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    async def hear(self) -> str:
        """Wait for one line of its output. Raises BenchError when it ends instead."""
        assert self._process.stdout is not None  # noqa: S101  (narrows the type: it was started with a pipe)
        line = await self._process.stdout.readline()
        if not line:
            raise BenchError(f"{self._module} ended; its error is above")
        return line.decode()


@asynccontextmanager
async def spoken_to(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Child]:
    """Run `python -m module arguments`, and kill it in the end. `environment`: in place of the inherited one."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
        cwd=ROOT,
        env={**(inherited_environment() if environment is None else environment), PARENT_VARIABLE: str(os.getpid())},
    )
    try:
        yield Child(module, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
