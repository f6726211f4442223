"""Rows that are to be tried again, as instances with different clocks see them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from local.virtual import MemoryState, MemoryTable
from shared.config.settings import QueueSettings
from shared.model.codes import Kind
from shared.model.errors import DataverseError
from shared.write_back.due import DueRows
from shared.write_back.rows import Update
from tests.support.plans import NOON
from tests.support.values import guid


@pytest.mark.parametrize(
    ("ahead", "waits"), [(timedelta(), True), (timedelta(minutes=30), True), (timedelta(days=1), False)]
)
async def test_a_clock_far_ahead_delays_none(ahead: timedelta, waits: bool, caplog: pytest.LogCaptureFixture) -> None:
    """One instance notes that a row was refused; another one, a moment later, looks whether it is time."""
    table, queues = MemoryTable(seconds=0), QueueSettings.model_construct(None, person="persons")
    sent: list[Any] = []

    async def send(messages: Sequence[Any]) -> None:
        sent.extend(messages)

    def instance(clock: datetime) -> DueRows:
        return DueRows(MemoryState(table), send, queues, now=lambda: clock, max_attempts=5)

    locked = DataverseError("0x80040265", "no", kind=Kind.TRANSIENT)
    update = Update("contact", guid(1), {"msi_type": "Email"})
    await instance(NOON + ahead).failed([(update, locked)])
    other = instance(NOON + timedelta(seconds=5))
    await other.load()
    assert bool(other.ready()) is not waits
    assert other.holds(update) is waits
    assert ("an instance's clock is wrong" in caplog.text) is not waits
    assert not sent
