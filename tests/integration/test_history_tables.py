"""The history in the real Azurite: tables of days, transactions, the range of one record, and storage that is away."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from emulators.azurite import connection_string
from emulators.processes import free_ports
from shared.azure.history_tables import HistoryTables, Row
from shared.azure.table import Account
from shared.config.settings import StorageSettings
from shared.model.errors import StorageUnavailableError
from tests.support.values import guid

NOON = datetime(2026, 3, 4, 12, 0, 0, 123_000, tzinfo=UTC)
TODAY, YESTERDAY = date(2026, 3, 4), date(2026, 3, 3)


class Opened:
    """Tables of one test, and the methods and paths of the requests that they make."""

    def __init__(self, connection: str) -> None:
        given = {"AzureWebJobsStorage": connection, "HISTORY_TABLES": f"h{uuid4().hex}"}
        settings = StorageSettings.model_validate(given)
        self.requests: list[str] = []
        self.account = Account(settings, raw_request_hook=self._note, retry_total=0)
        self.tables = HistoryTables(self.account)

    def _note(self, request: Any) -> None:
        self.requests.append(f"{request.http_request.method} {request.http_request.url.rpartition('/')[2]}")


@pytest.fixture
async def opened(azurite: str) -> AsyncIterator[Opened]:
    opened = Opened(azurite)
    yield opened
    await opened.account.close()


def row(number: int = 1, text: str = "{}", **before: float) -> Row:
    return Row(guid(number), NOON - timedelta(**before), text)


async def test_a_record_s_lines_are_read_back_the_newest_first_and_nobody_else_s(opened: Opened) -> None:
    tables = opened.tables
    await tables.write([row(1, "old", seconds=2), row(1, "new"), row(2, "other"), row(1, "yesterday", days=1)])
    found = await tables.read(guid(1), [YESTERDAY, TODAY])
    assert [each.text for each in found] == ["new", "old", "yesterday"]
    assert [each.at for each in found] == [NOON, NOON - timedelta(seconds=2), NOON - timedelta(days=1)]
    assert await tables.days() == [YESTERDAY, TODAY]


async def test_few_records_are_a_request_and_three_hundred_as_well(opened: Opened) -> None:
    await opened.tables.write([row(0)])
    opened.requests.clear()
    await opened.tables.write([row(number) for number in range(1, 101)])
    await opened.tables.write([row(number) for number in range(1, 301)])
    assert opened.requests == ["POST $batch"] * 2
    assert len(await opened.tables.read(guid(7), [TODAY])) == 2


async def test_a_look_up_is_two_requests_a_day(opened: Opened) -> None:
    await opened.tables.write([row(), row(days=1)])
    opened.requests.clear()
    await opened.tables.read(guid(1), [YESTERDAY, TODAY])
    assert len(opened.requests) == 4


async def test_a_record_that_changes_hundreds_of_times_in_a_burst(opened: Opened) -> None:
    """Its lines do not fit into one row of the table."""
    changes = [row(1, f'{{"n":{n},"long":"{"x" * 300}"}}', seconds=n) for n in range(350)]
    await opened.tables.write([*changes, *(row(number) for number in range(2, 300))])
    found = await opened.tables.read(guid(1), [TODAY])
    assert [each.text for each in found] == [change.text for change in changes]
    assert len(await opened.tables.read(guid(2), [TODAY])) == 1


async def test_a_line_as_long_as_a_row_of_the_table_takes(opened: Opened) -> None:
    await opened.tables.write([*(row(number) for number in range(1, 200)), row(7, "x" * 29_000), row(7)])
    assert [len(each.text) for each in await opened.tables.read(guid(7), [TODAY])] == [2, 29_000, 2]


@pytest.mark.parametrize("others", [0, 200])
async def test_a_write_that_is_repeated_is_read_once(opened: Opened, others: int) -> None:
    lines = [row(), row(), *(row(number) for number in range(2, 2 + others))]
    await opened.tables.write(lines)
    await opened.tables.write(lines)
    assert len(await opened.tables.read(guid(1), [TODAY])) == 2


async def test_days_without_a_table_hold_nothing(opened: Opened) -> None:
    assert await opened.tables.read(guid(1), [TODAY]) == []
    assert await opened.tables.days() == []


async def test_old_days_go_as_tables_and_come_again_when_somebody_writes(opened: Opened) -> None:
    await opened.tables.write([row(), row(days=1)])
    await opened.tables.drop([YESTERDAY, date(2026, 1, 1)])
    assert await opened.tables.days() == [TODAY]
    await opened.tables.write([row(days=1)])
    assert await opened.tables.days() == [YESTERDAY, TODAY]


async def test_other_tables_of_the_account_are_none_of_its_days(azurite: str) -> None:
    first, second = Opened(azurite), Opened(azurite)
    await first.tables.write([row()])
    assert await second.tables.days() == []
    await first.account.close()
    await second.account.close()


async def test_storage_that_is_away_says_so() -> None:
    blob, queue, table = free_ports(3)
    opened = Opened(connection_string(blob_port=blob, queue_port=queue, table_port=table))
    for work in (opened.tables.write([row()]), opened.tables.days(), opened.tables.read(guid(1), [TODAY])):
        with pytest.raises(StorageUnavailableError):
            await work
    await opened.account.close()
