"""A Functions host in a process of its own, for tests."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from emulators.processes import Child
from emulators.waiting import eventually

#: The keys of a host that a test runs.
KEYS = {"FUNCTIONS_WEBHOOK_KEY": "function key", "FUNCTIONS_ADMIN_KEY": "master"}
ADMIN = {"x-functions-key": KEYS["FUNCTIONS_ADMIN_KEY"]}


def write_app(folder: Path, source: str, **host_json: Any) -> Path:
    """Write a function app of one module, with these parts of host.json. Gives its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "function_app.py").write_text(source)
    (folder / "host.json").write_text(json.dumps({"version": "2.0", **host_json}))
    return folder


def host_child(app_dir: Path, *options: str, name: str = "host", **settings: str) -> Child:
    """A host for this app on a free port, with these application settings. It is not started yet."""
    command = [sys.executable, "-m", "emulators.functions", "--port", "0", "--app-dir", str(app_dir), "--name", name]
    return Child(
        name,
        [*command, *options],
        log=app_dir / f"{name}.log",
        environment={**os.environ, **KEYS, **settings},
    )


def client_of(child: Child) -> httpx.AsyncClient:
    """A client for the HTTP side of a host that runs."""
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{child.announced()['port']}", trust_env=False)


async def until(condition: Callable[[], bool], within: float = 15.0) -> None:
    """Wait until this holds. Raises AssertionError when it does not within so many seconds."""

    async def look() -> bool:
        return condition()

    await eventually(look, seconds=within)
