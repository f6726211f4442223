"""Gates that a test opens: whatever a simulator holds at one goes on when the test says so, never with time.

A gate is made by its name. Before it is opened, everything that comes to it stays; afterwards everything passes, until
it is shut again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

#: How long `GET /gates/{name}/held` waits for what shall be held, in seconds.
LONGEST_WAIT = 60.0


class Gate:
    """One gate: how many are held at it, and whether it is open."""

    def __init__(self) -> None:
        self.held = 0
        self.passed = 0
        self.is_open = False
        self._changed = asyncio.Condition()

    async def arrive(self) -> None:
        """Stay until the gate is open."""
        async with self._changed:
            self.held += 1
            self._changed.notify_all()
            try:
                await self._changed.wait_for(lambda: self.is_open)
            finally:
                self.held -= 1
                self.passed += 1
                self._changed.notify_all()

    async def open(self, *, is_open: bool = True) -> None:
        """Let everything go on, or hold what comes from now on."""
        async with self._changed:
            self.is_open = is_open
            self._changed.notify_all()

    async def until_held(self, count: int) -> None:
        """Return as soon as so many are held.

        Raises:
            TimeoutError: it took longer than a minute.
        """
        async with asyncio.timeout(LONGEST_WAIT), self._changed:
            await self._changed.wait_for(lambda: self.held >= count)

    async def until_passed(self, count: int) -> None:
        """Return as soon as so many have gone on since the start.

        Raises:
            TimeoutError: it took longer than a minute.
        """
        async with asyncio.timeout(LONGEST_WAIT), self._changed:
            await self._changed.wait_for(lambda: self.passed >= count)


class Gates:
    """The gates of one simulator by name."""

    def __init__(self) -> None:
        self._gates: dict[str, Gate] = {}

    def __getitem__(self, name: str) -> Gate:
        return self._gates.setdefault(name, Gate())

    async def clear(self) -> None:
        """Let everything go on that is held, and forget the gates."""
        gates = list(self._gates.values())
        self._gates.clear()
        for gate in gates:
            await gate.open()

    def routes(self) -> list[web.RouteDef]:
        """Return the control API of the gates.

        GET  /gates               {name: {"open", "held", "passed"}}
        POST /gates/{name}/open   let go on what is held, and let pass what comes
        POST /gates/{name}/shut   hold what comes from now on
        GET  /gates/{name}/held   answers as soon as ?count= (1) are held; 504 after a minute
        GET  /gates/{name}/passed answers as soon as ?count= (1) have gone on; 504 after a minute
        """
        return [
            web.get("/gates", self._all),
            web.post("/gates/{name}/open", self._open),
            web.post("/gates/{name}/shut", self._shut),
            web.get("/gates/{name}/held", self._held),
            web.get("/gates/{name}/passed", self._passed),
        ]

    async def _all(self, _request: web.Request) -> web.Response:
        return web.json_response({name: _shown(gate) for name, gate in self._gates.items()})

    async def _open(self, request: web.Request) -> web.Response:
        gate = self[request.match_info["name"]]
        await gate.open()
        return web.json_response(_shown(gate))

    async def _shut(self, request: web.Request) -> web.Response:
        gate = self[request.match_info["name"]]
        await gate.open(is_open=False)
        return web.json_response(_shown(gate))

    async def _held(self, request: web.Request) -> web.Response:
        return await _awaited(request, self[request.match_info["name"]], Gate.until_held)

    async def _passed(self, request: web.Request) -> web.Response:
        return await _awaited(request, self[request.match_info["name"]], Gate.until_passed)


async def _awaited(request: web.Request, gate: Gate, wait: Callable[[Gate, int], Awaitable[None]]) -> web.Response:
    try:
        await wait(gate, int(request.query.get("count", "1")))
    except TimeoutError:
        return web.json_response(_shown(gate), status=504)
    return web.json_response(_shown(gate))


def _shown(gate: Gate) -> dict[str, Any]:
    return {"open": gate.is_open, "held": gate.held, "passed": gate.passed}
