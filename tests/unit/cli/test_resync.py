"""`msisync resync`: which records it sends, in which messages, what it only shows, and what it refuses."""

from asyncio import CancelledError
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import pytest

from shared.azure.service_bus import Outgoing
from shared.cli.command import Result
from shared.cli.operator import acting_as
from shared.cli.output import Console
from shared.cli.parsing import UsageError
from shared.cli.progress import so_far
from shared.cli.resync import marketo_calls
from shared.model.codes import Kind
from shared.model.entities import Table
from shared.model.errors import BrokerUnavailableError, ConfigurationError, DataverseError, MsiSyncError
from shared.model.record import Record, decode
from tests.support.commands import typed
from tests.support.history import Kept
from tests.support.state import SharedState
from tests.support.values import guid


class World:
    """Dynamics, the bus and the settings of one command."""

    def __init__(self) -> None:
        self.rows_by_set: dict[str, list[str]] = {}
        self.urls: list[str] = []
        self.asked: list[int] = []
        self.sent: list[Outgoing] = []
        self.before_page: list[int] = []
        self.away = False
        self.refuses = ""
        self.state = SharedState()
        self.app_knew: list[bool] = []
        self.console = Console(quiet=True)
        self.stopped = False
        self.kept = Kept()
        self.tables = ["systemuser", "account", "lead", "contact", "opportunity", "connection"]

    async def rows(self, table: Table, ids: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
        assert not columns
        self.asked.append(len(ids))
        return {id_: {table.key: id_} for id_ in ids if id_ in self.rows_by_set.get(table.entity_set, [])}

    async def pages(self, url: str) -> AsyncIterator[list[dict[str, Any]]]:
        self.urls.append(url)
        if self.refuses:
            raise DataverseError(self.refuses, "Could not find a property named a field", kind=Kind.CONFIGURATION)
        entity_set = url.rsplit("/", maxsplit=1)[-1].partition("?")[0]
        rows = self.rows_by_set.get(entity_set, [])
        for start in range(0, len(rows), 5000):
            self.before_page.append(len(self.sent))
            yield [{"contactid": id_.upper()} for id_ in rows[start : start + 5000]]

    async def send(self, messages: Sequence[Outgoing]) -> None:
        if self.away:
            raise BrokerUnavailableError("ServiceBusConnectionError")
        if self.stopped and self.sent:
            raise CancelledError
        self.app_knew.append(self.state.stored == {("reference", "version"): {"rows": 1, "schema": 1}})
        self.sent += messages

    async def run(self, *words: str) -> tuple[Result, str]:
        queues = SimpleNamespace(of=lambda entity: f"{entity}s")
        context = SimpleNamespace(
            settings=SimpleNamespace(queues=queues, storage=None),
            config=SimpleNamespace(tables=dict.fromkeys(self.tables)),
            dataverse=self,
            outgoing=self,
            state=self.state,
            history=self.kept.history,
        )
        return await typed(context, "resync", *words, progress=self.console)

    def records(self) -> list[Record]:
        return [record for message in self.sent for record in decode(message.body, str(message.session))]


async def test_ids_are_sent_at_once_however_they_are_written(world: World) -> None:
    ids = [str(UUID(int=0xABCDEF0123456789ABCDEF0123456700 + number)) for number in range(4)]
    world.rows_by_set["contacts"] = ids
    before = datetime.now(UTC)
    spelt = [ids[0].upper(), f"{{{ids[1]}}}", ids[2].replace("-", ""), f"({ids[3]})", ids[0]]
    result, text = await world.run("contact", *spelt)
    assert (result.exit, [record.id for record in world.records()]) == (0, ids)
    assert all(record.forced and record.table == "contact" for record in world.records())
    assert abs(world.records()[0].first_seen - before).total_seconds() < 60
    assert [(message.queue, message.session, message.at) for message in world.sent] == [("persons", "person", None)]
    assert "contact: 4 sent" in text
    assert result.data == {
        "applied": True, "records": {"contact": 4}, "unknown": [], "marketo_calls": {"least": 1, "most": 3},
        "announced": True,
    }  # fmt: skip
    assert world.app_knew == [True], "to read everything anew, before the records are on their way"


async def test_who_stops_it_is_told_how_many_were_sent(world: World) -> None:
    world.rows_by_set["contacts"] = [guid(number) for number in range(1, 5200)]
    world.stopped = True
    with pytest.raises(CancelledError):
        await world.run("contact", "--query", "statecode eq 0", "--apply")
    assert [str(each) for each in so_far(world.console)] == ["5,000 records sent"]
    assert len(world.records()) == 5000


async def test_the_history_says_who_sent_them(world: World) -> None:
    world.rows_by_set["contacts"] = [guid(1)]
    with acting_as("ada"):
        await world.run("contact", guid(1))
    (event,) = await world.kept.events()
    assert (event.table, event.id, event.text, event.by) == ("contact", guid(1), "sent to be synced again", "ada")


async def test_storage_that_is_away_keeps_no_record_back_but_is_told(world: World) -> None:
    world.rows_by_set["contacts"] = [guid(1)]
    world.state.storage_away = True
    result, text = await world.run("contact", guid(1))
    assert (result.exit, len(world.records()), result.data["announced"]) == (0, 1, False)
    assert "could not be told" in text


async def test_an_entity_stands_for_all_its_tables(world: World) -> None:
    world.rows_by_set = {"leads": [guid(1)], "contacts": [guid(2)]}
    await world.run("person", guid(2), guid(1))
    assert {(record.table, record.id) for record in world.records()} == {("lead", guid(1)), ("contact", guid(2))}
    world.tables.remove("lead")
    result, _ = await world.run("person", guid(1))
    assert (result.exit, result.data["unknown"]) == (2, [guid(1)])


async def test_unknown_ids_are_told_and_the_others_sent(world: World) -> None:
    world.rows_by_set["contacts"] = [guid(1)]
    result, text = await world.run("contact", guid(1), guid(2))
    assert (result.exit, [record.id for record in world.records()]) == (1, [guid(1)])
    assert f"Not in Dynamics as contact: {guid(2)}" in text
    assert f"msisync show person {guid(2)}" in text
    world.sent.clear()
    result, _ = await world.run("contact", guid(3))
    assert (result.exit, world.sent) == (2, [])


async def test_many_ids_are_read_at_once_and_sent_by_100(world: World) -> None:
    ids = [guid(number) for number in range(1, 652)]
    world.rows_by_set["contacts"] = ids
    await world.run("contact", *ids)
    assert world.asked == [651]
    assert [len(decode(message.body, "person")) for message in world.sent] == [*[100] * 6, 51]


async def test_a_query_is_shown_before_it_is_sent_page_by_page(world: World) -> None:
    world.rows_by_set["contacts"] = [guid(number) for number in range(1, 12_002)]
    result, text = await world.run("contact", "--query", "statecode eq 0 and lastname eq 'O''Hara'")
    assert (result.exit, world.sent, world.state.stored) == (1, [], {})
    assert "contact: 12,001 to be sent" in text
    assert "About 41 to 123 Marketo calls" in text
    assert "--apply" in text
    (url,) = world.urls
    assert unquote(url).endswith("/contacts?$select=contactid&$filter=statecode eq 0 and lastname eq 'O''Hara'")
    result, text = await world.run("contact", "--query", "statecode eq 0", "--apply")
    assert (result.exit, len(world.records())) == (0, 12_001)
    assert world.before_page[-3:] == [0, 50, 100]  # a page is with the broker before the next one is read
    assert world.records()[0].id == guid(1)


async def test_a_filter_that_dynamics_does_not_understand_is_told_with_where_its_columns_are(world: World) -> None:
    world.refuses = "0x80060888"
    with pytest.raises(MsiSyncError, match=r"does not understand --query.*msisync fields list contact"):
        await world.run("contact", "--query", "nosuch eq 1", "--apply")
    world.refuses = "0x80040220"
    with pytest.raises(DataverseError, match="Could not find"):
        await world.run("contact", "--query", "statecode eq 0")


async def test_a_query_without_rows_needs_no_apply(world: World) -> None:
    result, text = await world.run("contact", "--query", "statecode eq 7")
    assert (result.exit, text) == (0, "No row matches.\n")


async def test_a_table_that_is_not_mapped_is_a_matter_of_the_settings(world: World) -> None:
    with pytest.raises(ConfigurationError, match="customeropportunityrole"):
        await world.run("customeropportunityrole", guid(1))


async def test_a_broker_that_is_away_is_an_error_with_a_remedy(world: World) -> None:
    world.rows_by_set["contacts"] = [guid(1)]
    world.away = True
    with pytest.raises(MsiSyncError, match="msisync doctor"):
        await world.run("contact", guid(1))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["contact"], "give ids, or --query, or --all-parked"),
        ([], "give ids"),
        (["contact", guid(1), "--query", "a eq 1"], "give ids, or --query"),
        (["contact", "--all-parked"], "takes no table"),
        (["person", "--query", "a eq 1"], "needs a table, not an entity: lead, contact"),
        (["contact", "nobody@contoso.example"], "is not a valid GUID"),
    ],
)
async def test_wrong_usage(world: World, words: list[str], why: str) -> None:
    with pytest.raises(UsageError) as stopped:
        await world.run(*words)
    assert stopped.value.code == 64
    assert why in stopped.value.message


@pytest.mark.parametrize(
    ("records", "least", "most"),
    [
        ({}, 0, 0), ({"systemuser": 300}, 1, 1), ({"systemuser": 301}, 2, 2), ({"lead": 200, "contact": 101}, 2, 6),
        ({"account": 1, "connection": 1}, 3, 8), ({"opportunity": 300}, 2, 9),
    ],
)  # fmt: skip
def test_the_estimate_of_marketo_calls(records: dict[str, int], least: int, most: int) -> None:
    assert marketo_calls(records) == (least, most)
