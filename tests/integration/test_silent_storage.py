"""A storage account that takes connections and never answers, as one behind a broken network does."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from shared.azure import table
from shared.azure.table import Account
from shared.cli import context
from shared.cli.context import Context
from shared.cli.doctor.bus import CHECKS
from shared.cli.doctor.runner import Subject, examine
from shared.cli.finding import Severity
from shared.config.settings import StorageSettings
from shared.model.errors import StorageUnavailableError

#: Seconds: the SDK's own patience is five minutes.
SOON = 0.1


@pytest.fixture
async def storage() -> AsyncIterator[StorageSettings]:
    ended = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = f"AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:{port}/a"
    yield StorageSettings.model_validate({"AzureWebJobsStorage": connection})
    ended.set()
    server.close()


async def test_a_request_of_the_app_ends(storage: StorageSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table.TIMES, "read_timeout", SOON)
    account = Account(storage, retry_total=0)
    async with asyncio.timeout(30):
        with pytest.raises(StorageUnavailableError):
            await account.table("t").get("p", "k")
    await account.close()


async def test_doctor_says_so_and_ends(storage: StorageSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(context.OPTIONS_OF_STORAGE, "read_timeout", SOON)
    made = Context({})
    settings: Any = SimpleNamespace(storage=storage)
    made.__dict__["settings"] = settings
    check = next(replace(each, needs=()) for each in CHECKS if each.id == "storage")
    async with asyncio.timeout(30):
        found = (await examine([check], Subject(made), done=lambda *_: None))["storage"]
    assert (found.severity, "does not answer" in found.text) == (Severity.FAILED, True)
    await made.close()
