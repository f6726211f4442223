"""`msisync console`: what it listens on, what it prints, and how it ends."""

import asyncio
import io
import socket
import subprocess
import sys
import webbrowser
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from rich.console import Console

from shared.cli.command import Exit
from shared.cli.console import app, command
from shared.cli.console.command import COMMAND, bound
from shared.cli.main import parser
from shared.cli.parsing import UsageError
from shared.model.errors import ConfigurationError, MsiSyncError
from tests.support.commands import shown
from tests.support.console import World
from tests.support.values import ROOT


def given(*words: str) -> Any:
    return parser((COMMAND,)).parse_args(["console", *words])


async def test_it_serves_until_the_keyboard_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def open_(address: str) -> None:
        loop.call_soon_threadsafe(opened.set_result, address)

    monkeypatch.setattr(webbrowser, "open", open_)
    world, printed = World(), io.StringIO()
    world.context.config = None
    monkeypatch.setattr(app, "look", lambda _: world.look())
    console = Console(file=printed, width=40)
    run: Any = COMMAND.run(world.context, given("--port", "0"), console)
    task = asyncio.create_task(run)
    await asyncio.wait((task, opened), return_when=asyncio.FIRST_COMPLETED)
    address = opened.result()
    assert address in printed.getvalue().splitlines()[0], "in one line at any width"
    async with httpx.AsyncClient(follow_redirects=True) as browser:
        answer = await browser.get(address)
        assert answer.status_code == 200
        assert "server" not in answer.headers
    task.cancel()
    result = await task
    assert result.exit == Exit.OK
    assert "has ended" in shown(result)


async def test_no_browser_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "open", pytest.fail)
    world = World()
    world.context.config = None
    printed = io.StringIO()
    started = asyncio.Event()
    monkeypatch.setattr(command, "say", lambda *_: started.set())
    run: Any = COMMAND.run(world.context, given("--port", "0", "--no-browser"), Console(file=printed))
    task = asyncio.create_task(run)
    starting = asyncio.create_task(started.wait())
    await asyncio.wait((task, starting), return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
    await task
    assert "http://127.0.0.1:" in printed.getvalue()


def test_it_listens_on_this_machine_alone() -> None:
    with bound(0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_named_with_what_to_do() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(MsiSyncError, match="another program uses it; name another one: --port 0"):
            bound(other.getsockname()[1])


async def test_settings_that_cannot_be_used_are_told_before_it_serves() -> None:
    class Context:
        @property
        def settings(self) -> Any:
            raise ConfigurationError("BadSettings", "MARKETO_URL: is missing")

    context: Any = Context()
    with pytest.raises(ConfigurationError):
        await COMMAND.run(context, given(), Console(quiet=True))


async def test_it_has_no_json() -> None:
    context: Any = SimpleNamespace()
    with pytest.raises(UsageError) as refused:
        await COMMAND.run(context, given("--json"), Console(quiet=True))
    assert "for people" in refused.value.message


@pytest.mark.parametrize("module", ["shared.cli.main", "function_app"])
def test_who_does_not_serve_the_console_does_not_wait_for_a_web_framework(module: str) -> None:
    code = f"import sys, {module}; print([name for name in ('starlette', 'uvicorn', 'jinja2') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603  (fixed)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_is_a_port(port: str) -> None:
    with pytest.raises(UsageError, match="64"):
        given("--port", port)
