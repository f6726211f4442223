"""Driving a running stack from another process: one small HTTP server in the stack, one call to it from the shell.

`POST /start/azurite`, `POST /kill-functions/b`, `POST /kill-functions/b/sync_persons`, and `GET /` for what
control.json holds.
"""

import http.client
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from emulators.processes import ChildError

LONGEST_COMMAND = 120.0


class StackError(Exception):
    """The stack cannot do what was asked. The message says why."""


class ControlServer:
    """Listens on 127.0.0.1 and runs commands, each of which gets the name of what it acts on.

    `parts` act on a part of the stack, `hosts` on a Functions host and, if one is named, one function of it.
    """

    def __init__(
        self,
        parts: Mapping[str, Callable[[str], Awaitable[None]]],
        hosts: Mapping[str, Callable[[str, str | None], Awaitable[None]]],
        state: Callable[[], dict[str, Any]],
    ) -> None:
        self.url: str | None = None
        self._parts = parts
        self._hosts = hosts
        self._state = state
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on a free port; `url` is set from then on."""
        app = web.Application()
        routes = [web.post(path, self._run) for path in ("/{command}/{name}", "/{command}/{name}/{function}")]
        app.add_routes([web.get("/", self._show), *routes])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _show(self, _: web.Request) -> web.Response:
        return web.json_response(self._state())

    async def _run(self, request: web.Request) -> web.Response:
        asked, name = request.match_info["command"], request.match_info["name"]
        try:
            if asked in self._hosts:
                await self._hosts[asked](name, request.match_info.get("function"))
            elif asked in self._parts:
                await self._parts[asked](name)
            else:
                known = ", ".join((*self._parts, *self._hosts))
                return web.json_response({"error": f"the commands are {known}"}, status=404)
        except (StackError, ChildError) as error:
            return web.json_response({"error": str(error)}, status=409)
        return web.json_response(self._state())


def send_command(control_file: Path, command: str, name: str, function: str | None = None) -> None:
    """Have the stack that wrote `control_file` run a command, and wait until it is done.

    Raises StackError when no stack is running there, or with what the stack answers.
    """
    try:
        address = json.loads(control_file.read_text())["stack"].removeprefix("http://")
        connection = http.client.HTTPConnection(address, timeout=LONGEST_COMMAND)
        connection.request("POST", "/".join(("", command, name, *([function] if function else ()))))
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
    except (OSError, KeyError, ValueError) as error:
        raise StackError(f"no stack is running in {control_file.parent} ({error})") from error
    if answer.status != http.client.OK:
        raise StackError(content["error"])
