"""Both vendors' simulators without the app, and an operator at a command line."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.parts import MarketoLimits
from local.stack import Stack
from shared.cli.command import Result
from shared.cli.context import Context
from tests.support.commands import typed

#: Marketo's limits are not what is tested.
LIMITS = MarketoLimits(calls_per_20s=10_000, concurrency=100, daily=1_000_000)


class Sides:
    """Both simulators, to be looked into and changed, and an operator who types commands at them.

    `environment`: the operator's settings.
    """

    def __init__(self, stack: Stack, http: httpx.AsyncClient) -> None:
        self._stack, self._http = stack, http
        self.environment = stack.addresses.functions_environment()

    async def control(self, part: str, path: str, content: Any = None) -> Any:
        """Ask a simulator, or tell it something, beside what the vendor's own interface has."""
        url = self._stack.control()[part] + path
        answer = await (self._http.get(url) if content is None else self._http.post(url, json=content))
        return answer.raise_for_status().json()

    async def types(self, *words: str) -> tuple[Result, str]:
        """What a command line gives, and its text."""
        context = Context(self.environment)
        try:
            return await typed(context, *words)
        finally:
            await context.close()


@asynccontextmanager
async def running_sides(directory: Path) -> AsyncIterator[Sides]:
    """Run both; while they run, the way to them is in this process's environment."""
    async with (
        Stack(directory=directory / "stack", empty=True, with_functions=False, marketo=LIMITS) as stack,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        with pytest.MonkeyPatch.context() as patch:
            sides = Sides(stack, http)
            for name, value in sides.environment.items():
                patch.setenv(name, value)
            yield sides
