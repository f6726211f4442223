"""What instances share, in the real Azurite: rows that several write at once, and Marketo's limits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from local.instances import settings_with
from shared.azure.shared_state import State
from shared.azure.table import Account
from shared.config.settings import StorageSettings
from shared.marketo.quota import Budget


@pytest.fixture
def storage(azurite: str) -> StorageSettings:
    """Settings with a table of its own."""
    return StorageSettings.model_validate({"AzureWebJobsStorage": azurite, "STATE_TABLE": f"t{uuid4().hex}"})


@asynccontextmanager
async def opened(storage: StorageSettings, **options: Any) -> AsyncIterator[State]:
    account = Account(storage, **options)
    try:
        yield State(account.table(storage.state_table))
    finally:
        await account.close()


@pytest.fixture
async def state(storage: StorageSettings) -> AsyncIterator[State]:
    async with opened(storage) as state:
        yield state


@pytest.fixture
async def other(storage: StorageSettings) -> AsyncIterator[State]:
    async with opened(storage) as state:
        yield state


def plus_one(value: dict[str, Any]) -> dict[str, Any]:
    return {"count": value.get("count", 0) + 1}


async def test_a_row_is_read_changed_left_and_removed(state: State) -> None:
    assert await state.read("kind", "name") == {}
    assert await state.change("kind", "name", plus_one) == {"count": 1}
    assert await state.change("kind", "name", lambda _: None) == {"count": 1}
    assert await state.change("kind", "name", plus_one) == {"count": 2}
    assert await state.read("kind", "name") == {"count": 2}
    assert {name: value async for name, value in state.all("kind")} == {"name": {"count": 2}}
    await state.remove("kind", "name")
    await state.remove("kind", "name")
    assert await state.read("kind", "name") == {}


@pytest.mark.parametrize("alone", [False, True])
async def test_concurrent_writes_lose_no_change(state: State, other: State, alone: bool) -> None:
    async def count(writer: State) -> None:
        for _ in range(10):
            await writer.change("kind", "name", plus_one, alone=alone)

    await asyncio.gather(count(state), count(state), count(other))
    assert await other.read("kind", "name") == {"count": 30}


async def test_every_answer_of_storage_tells_the_time_also_one_that_refuses(storage: StorageSettings) -> None:
    heard: list[datetime] = []
    async with opened(storage, heard=heard.append) as state:
        await state.put("kind", "name", {"count": 1})
        await state.read("kind", "name")
        before = len(heard)
        assert await state.read("kind", "nobody") == {}
        assert len(heard) > before >= 2
        assert all(abs((moment - datetime.now(UTC)).total_seconds()) < 600 for moment in heard)


async def test_who_believes_to_be_alone_is_put_right(state: State, other: State) -> None:
    await state.change("kind", "name", plus_one, alone=True)
    await other.change("kind", "name", plus_one)
    assert await state.change("kind", "name", lambda _: None, alone=True) == {"count": 2}
    assert await state.change("kind", "name", plus_one, alone=True) == {"count": 3}
    await other.remove("kind", "name")
    assert await state.change("kind", "name", plus_one, alone=True) == {"count": 1}


async def test_a_block_of_calls_costs_one_request(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = settings_with(calls=1000, concurrency=4, daily=50_000, allowed=30_000)
    budget = Budget(state, limits, instance_id="i0", now=lambda: datetime.now(UTC))
    requests = 0

    def counted(name: str) -> None:
        original = getattr(State, name)

        async def count(*given: Any) -> Any:
            nonlocal requests
            requests += 1
            return await original(*given)

        monkeypatch.setattr(State, name, count)

    counted("_read")
    counted("_write")
    for _ in range(104):  # blocks of 2, 4, 8 and nine of 10
        assert await budget.take(1) == 0
    assert requests == 1 + 3 + 9
