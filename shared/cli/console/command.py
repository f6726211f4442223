"""`msisync console`: serves the console on this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
import errno
import socket
import webbrowser
from argparse import ArgumentTypeError, Namespace
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ...model.errors import MsiSyncError
from ..command import Command, Exit, Result, number, option, options
from ..context import Context
from ..operator import operator
from ..output import say

if TYPE_CHECKING:
    from uvicorn import Server

#: The address on this machine, and the port unless another one is named.
HOST, PORT = "127.0.0.1", 8400
#: Seconds that open connections have at the end.
CLOSE_SECONDS = 2

_MORE = """\
Serves pages on this machine alone, with your own credentials, and opens them in your browser. The address that is
printed works once, for the browser that comes first with it. All pages: docs/console.md

On a machine without a browser, forward the port (ssh -L 8400:127.0.0.1:8400 HOST), run the command with --no-browser
there, and open the address here.

Exit codes: 0 ended with Ctrl-C; 2 the port is taken, or settings cannot be used.
Next: msisync status"""


async def run(context: Context, given: Namespace, progress: Console) -> Result:
    """Serve until Ctrl-C. Raises MsiSyncError when settings cannot be used or the port is taken."""
    if given.json:
        given.refuse("the console is for people; other commands have --json")
    _ = context.settings, context.config  # what is wrong with them is said here, before any page
    # Web frameworks take a quarter of a second to import, and no other command needs them.
    from .app import console  # noqa: PLC0415
    from .local import LocalAccess  # noqa: PLC0415

    with bound(given.port) as listening:
        access = LocalAccess(operator(), listening.getsockname()[1])
        server = _server(console(context, access))
        # In one line at any width, so that it can be copied.
        progress.print(f"The console is at {access.address}", style="bold", markup=False, soft_wrap=True)
        say(progress, "The address works once. Ctrl-C ends the console.")
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        # A browser of the terminal would not return: nobody waits for it.
        opening = asyncio.create_task(asyncio.to_thread(webbrowser.open, access.address)) if given.browser else None
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:  # Ctrl-C
            server.should_exit = True
            await serving
            task = asyncio.current_task()
            if task:
                task.uncancel()
        finally:
            if opening:
                opening.cancel()
    return Result(Exit.OK, {}, lambda console: say(console, "The console has ended."))


def bound(port: int) -> socket.socket:
    """A socket of this machine alone, on a port; 0 takes a free one. Raises MsiSyncError."""
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        why = "another program uses it" if error.errno == errno.EADDRINUSE else error.strerror
        text = f"port {port} cannot be used: {why}; name another one: --port 0 takes a free one"
        raise MsiSyncError("PortTaken", text) from None
    return listening


def _server(app: object) -> Server:
    """Without a log of requests: their addresses may hold e-mail addresses, and one holds the token."""
    import uvicorn  # noqa: PLC0415  (as above)

    class Quiet(uvicorn.Server):
        """Leaves Ctrl-C to the command, which ends it."""

        def capture_signals(self) -> Any:
            """None."""
            return nullcontext()

    config = uvicorn.Config(
        app,  # type: ignore[arg-type]  # an ASGI application
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )
    return Quiet(config)


def port(text: str) -> int:
    """A port on the command line. Raises ArgumentTypeError."""
    found = number(text)
    if found > 65_535:
        raise ArgumentTypeError("a port is at most 65535")
    return found


COMMAND = Command(
    "console",
    "show in a browser what the commands show, and act there",
    _MORE,
    run,
    options(
        option("--port", type=port, default=PORT, metavar="N", help=f"default {PORT}; 0 takes a free one"),
        option("--no-browser", dest="browser", action="store_false", help="only print the address"),
    ),
)
