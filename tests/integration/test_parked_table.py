"""The table of parked records in the real Azurite: pages, transactions, and rows that change under one's hands."""

import asyncio
import base64
import re
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from azure.data.tables.aio import TableServiceClient

from emulators.azurite import connection_string
from emulators.processes import free_ports
from shared.azure.parked_rows import Parked
from shared.azure.parked_table import Store
from shared.azure.table import PAGE, TRANSACTION, Account
from shared.config.settings import StorageSettings
from shared.model.errors import StorageUnavailableError
from shared.model.outcome import Parent
from tests.support.parked_table import NOON, asked, children, company, due, ids, keep, opened, pages, parked, request
from tests.support.values import guid


async def test_a_record_comes_back_as_it_was_parked(store: Store, parent: Parent) -> None:
    waits = replace(
        parked(parent).record, correlation_id="c é", attempt=3, requested=True, first_seen=NOON - timedelta(days=400)
    )
    await keep(store, [Parked(parent, "person", waits, trace="00-1-2-01")])
    (found,) = await children(store, parent)
    assert replace(found, etag="") == Parked(parent, "person", waits, trace="00-1-2-01")
    assert found.etag


async def test_what_a_record_is_released_for_is_not_kept(store: Store, parent: Parent) -> None:
    """Whoever parks again has to come back from parking again."""
    await keep(store, [Parked(parent, "person", replace(parked(parent).record, released=True, collected=True))])
    (found,) = await children(store, parent)
    assert not found.record.released


async def test_children_are_those_of_this_parent_and_of_every_table_and_entity(store: Store) -> None:
    one, other = company(), company()
    user = Parent("sales_person", "systemuser", one.id)
    mixed = [parked(one, 1), parked(one, 1, table="lead"), parked(one, 1, "opportunity", "opportunity")]
    await keep(store, [*mixed, parked(other, 2), parked(user, 3)])
    assert {(c.entity, c.record.table, c.record.id) for c in await children(store, one)} == {
        ("person", "contact", guid(1)), ("person", "lead", guid(1)), ("opportunity", "opportunity", guid(1)),
    }  # fmt: skip
    assert await ids(store, user) == [guid(3)]
    assert await children(store, company()) == []


async def test_a_record_that_parks_twice_waits_once_with_what_was_said_last(store: Store, parent: Parent) -> None:
    first = parked(parent)
    await keep(store, [first])
    await keep(store, [first, replace(first, record=replace(first.record, attempt=5))])
    (found,) = await children(store, parent)
    assert found.record.attempt == 5


async def test_who_is_asked_for_while_it_waits_still_has_its_children_follow(store: Store, parent: Parent) -> None:
    first = parked(parent)
    await keep(store, [replace(first, record=replace(first.record, deciding=True))])
    await keep(store, [replace(first, record=replace(first.record, requested=True))])
    (found,) = await children(store, parent)
    assert found.record.deciding


async def test_children_of_a_large_parent_come_in_pages_and_leave_in_transactions(store: Store, parent: Parent) -> None:
    count = PAGE + TRANSACTION + 7
    await keep(store, (parked(parent, n) for n in range(count)))
    assert [len(page) for page in await pages(store, parent) if page] == [PAGE, TRANSACTION + 7]
    seen: list[str] = []
    async for page in store.children(parent):  # as a release does: send, remove, next page
        seen += [child.record.id for child in page]
        await store.remove(page)
    assert len(seen) == len(set(seen)) == count
    assert await children(store, parent) == []


async def test_a_child_that_parks_anew_while_it_is_released_stays_alone(store: Store, parent: Parent) -> None:
    await keep(store, (parked(parent, n) for n in range(150)))
    found = await children(store, parent)
    await keep(store, [replace(parked(parent, 70), record=replace(parked(parent, 70).record, attempt=1))])
    await store.remove(found)
    (left,) = await children(store, parent)
    assert (left.record.id, left.record.attempt) == (guid(70), 1)


async def test_children_that_another_instance_has_removed_already_are_no_error(store: Store, parent: Parent) -> None:
    await keep(store, (parked(parent, n) for n in range(5)))
    found = await children(store, parent)
    await store.remove(found[:2])
    await asyncio.gather(store.remove(found), store.remove(found))
    await store.remove(found)
    assert await children(store, parent) == []


async def test_nothing_to_park_or_remove_is_no_error(store: Store) -> None:
    await keep(store, [])
    await store.remove([])
    await store.put([])
    await store.unmark([])
    assert await asked(store, []) == set()


async def test_instances_share_the_table_and_the_first_use_by_many_at_once_makes_it(azurite: str) -> None:
    table = f"t{uuid4().hex}"
    parents = [company() for _ in range(8)]
    async with opened(azurite, table) as one, opened(azurite, table) as other:
        await asyncio.gather(*(s.put([request(p)]) for s in (one, other) for p in parents))
        for store in (one, other):
            assert await asked(store, parents) == set(parents)


async def test_what_is_parked_is_there_after_the_process_that_parked_it_is_gone(azurite: str) -> None:
    table = f"t{uuid4().hex}"
    parent = company()
    for number in (1, 2):
        async with opened(azurite, table) as store:
            await keep(store, [parked(parent, number)])
            assert len(await children(store, parent)) == number


@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")  # the SDK's, of a refusal
async def test_storage_that_is_away_or_refuses_is_an_error_of_the_products_own(azurite: str) -> None:
    blob, queue, table = free_ports(3)
    key = base64.b64encode(b"another key").decode()
    nowhere = connection_string(blob_port=blob, queue_port=queue, table_port=table)
    strange = re.sub("AccountKey=[^;]*", f"AccountKey={key}", azurite)
    async with opened(nowhere, "parked") as away, opened(strange, "parked") as stranger:
        with pytest.raises(StorageUnavailableError) as error:
            await away.put([request(company())])
        assert (error.value.cause, error.value.status) == ("ServiceRequestError", None)
        for look in (lambda: stranger.put([request(company())]), lambda: asked(stranger, [company()])):
            with pytest.raises(StorageUnavailableError) as error:
                await look()
            assert error.value.status == 403


async def test_a_table_that_is_missing_holds_nothing_and_the_first_write_makes_it(azurite: str) -> None:
    table, parent = f"t{uuid4().hex}", company()
    async with opened(azurite, table) as store, TableServiceClient.from_connection_string(azurite) as service:
        assert (await children(store, parent), await due(store, NOON), await asked(store, [parent])) == ([], [], set())
        assert table not in [each.name async for each in service.list_tables()]
        await keep(store, [parked(parent)])
        assert table in [each.name async for each in service.list_tables()]


async def test_a_proxy_of_the_environment_is_used(azurite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose requests do not go through it gets an answer."""
    (nobody,) = free_ports(1)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{nobody}")
    settings = StorageSettings.model_validate({"AzureWebJobsStorage": azurite})
    account = Account(settings, retry_total=0)
    with pytest.raises(StorageUnavailableError):
        await account.table("parked").get("company", "x")
    await account.close()
    monkeypatch.delenv("http_proxy")
    account = Account(settings, retry_total=0)
    assert await account.table("parked").get("company", "x") is None
    await account.close()
