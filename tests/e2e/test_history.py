"""`msisync history` of records that have really gone their way, with every part running."""

from collections.abc import Iterator
from typing import Any

import pytest
from azure.data.tables.aio import TableServiceClient

from local.harness import Made, Rows, System, commands, eventually
from local.harness.showing import way_to
from shared.cli.operator import operator


@pytest.fixture(autouse=True)
def _network(system: System) -> Iterator[None]:
    with way_to(system):
        yield


async def history(system: System, made: Made, *last: str, query: str = "") -> list[dict[str, Any]]:
    """The events of a row, as soon as the last ones are these."""

    async def look() -> list[dict[str, Any]]:
        ended = await commands.run_here(system.stack.settings_file, "history", query or made.id, "--json")
        return [event for event in ended.json["events"] if event["id"] == made.id]

    def is_complete(events: list[dict[str, Any]]) -> bool:
        return [event["what"] for event in events][-len(last) :] == list(last)

    return await eventually(look, is_complete, what=f"a history that ends with {last}")


async def test_a_person_that_was_parked_released_sent_refused_and_replayed(system: System, rows: Rows) -> None:
    seller = rows.user()
    account = rows.account(seller)
    contact = rows.contact(account, seller)
    await system.save(rows, contact)
    (record,) = await system.synced(contact)
    events = await history(system, contact, "released", "created")
    assert [event["what"] for event in events] == ["received", "parked", "released", "created"]
    received, parked, _, created = events
    assert parked["facts"]["waits_for"] == [f"systemuser {seller.id}", f"account {account.id}"]
    assert created["facts"]["marketo_id"] == record["id"]
    assert created["request_id"]
    assert received["correlation_id"] == created["correlation_id"] != ""

    fault = {"path": "/rest/v1/leads.json", "field": "externalPersonId", "value": contact.id}
    await system.fault("record", **fault, code="1007", message="several")
    await system.notify(contact)
    await system.broker.dead_letter_of(contact.id)
    refused = (await history(system, contact, "received", "dead_lettered"))[-1]
    assert (refused["facts"]["code"], refused["facts"]["system"]) == ("1007", "marketo")

    await system.forget_faults()
    replay = ("dead-letters", "replay", "--id", contact.id, "--apply")
    assert (await commands.run_here(system.stack.settings_file, *replay)).code == 0
    replayed, again = (await history(system, contact, "replay", "updated"))[-2:]
    assert replayed["by"] == operator()
    assert again["facts"]["replays"] == 1

    printed = await commands.run(system.stack.settings_file, "history", str(contact.values["emailaddress1"]))
    assert printed.code == 0
    assert printed.out.index("parked: waits for") < printed.out.index("became a dead letter: 1007")
    mail = str(contact.values["emailaddress1"])
    assert mail not in printed.out


async def test_no_value_of_a_row_is_kept(system: System, rows: Rows) -> None:
    contact = rows.contact(rows.account(), emailaddress1="jürgen@example.com")  # no address for Marketo
    await system.save(rows, contact)
    await system.synced(contact)
    events = await history(system, contact, "created")
    assert events[-1]["facts"]["left_out"] == ["email (NotAnAddress)"]
    lines = "".join(await kept_lines(system))
    assert contact.id in lines
    names = ("emailaddress1", "firstname", "lastname", "name")
    told = [str(made.values[name]) for made in rows.made for name in names if made.values.get(name)]
    assert len(told) > 2
    assert [value for value in told if value in lines] == []


async def kept_lines(system: System) -> list[str]:
    """Everything that the tables of the history hold."""
    connection = system.endpoints["storage"]["connection_string"]
    async with TableServiceClient.from_connection_string(connection) as service:
        names = [table.name async for table in service.list_tables() if table.name.startswith("history")]
        tables = [service.get_table_client(name) for name in names]
        return [str(dict(row)) for table in tables async for row in table.list_entities()]


async def test_who_has_no_history_reads_why(system: System, rows: Rows) -> None:
    known, stranger = rows.user(), rows.user()
    await system.save(rows, known)
    await system.synced(known)
    await history(system, known, "created")
    ended = await commands.run(system.stack.settings_file, "history", stranger.id)
    assert ended.code == 1
    assert ended.out.startswith("Nothing has happened to it since ")
