"""Rows that are gone or were merged away, and a Marketo that deletes, merges and refuses as the real one does."""

import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from emulators.marketo.harness import Marketo, running
from emulators.marketo.identity import CLIENT_ID, CLIENT_SECRET
from emulators.marketo.instance import Instance
from emulators.marketo.objects import ROLES
from local.wiring import engine_between
from shared.config.sync_toml import SyncConfig
from shared.marketo.auth import MarketoAuth
from shared.marketo.client import MarketoClient
from shared.marketo.limiter import Pacer
from shared.model.entities import ENTITIES, Table
from shared.model.outcome import Failed, Merged, Outcome, Parent, Removed, Retry, Skipped, Synced
from shared.model.record import Record
from tests.support.values import NOON, guid, to
from tests.support.vendors import Vendors

FLAG = "dynamicsDeleted"
USER, ACCOUNT, PERSON, DEAL = guid(1), guid(2), guid(10), guid(20)


class Dataverse(Vendors):
    """Every row is gone but those that are `there`."""

    columns = ("name", "internalemailaddress")

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.values: dict[str, dict[str, Any]] = {}

    async def rows(self, table: Table, ids: list[str], *_: Any, **__: Any) -> dict[str, dict[str, Any]]:
        return {id_: {table.key: id_, **self.values.get(id_, {})} for id_ in ids if id_ in self.there}

    async def statuses(self, _table: Table, ids: list[str], **_: Any) -> list[int]:
        return [200 if id_ in self.there else 404 for id_ in ids]


class World:
    """An engine between nothing and a Marketo with a record of each kind that refer to one another."""

    def __init__(self, marketo: Marketo) -> None:
        self.marketo = marketo
        self.dataverse = Dataverse()

    async def deleted(self, table: str, id_: str, **lifecycle: Any) -> Outcome:
        return await self.sync(Record(table, id_, NOON, "delete"), **lifecycle)

    async def sync(self, record: Record, **lifecycle: Any) -> Outcome:
        tables: dict[str, Any] = {
            table: {"fields": {}} for table in ("systemuser", "account", "contact", "opportunity")
        }
        config = SyncConfig.model_validate({**tables, "filter_column": "", "lifecycle": lifecycle})

        async def sleep(_: float) -> None:
            raise AssertionError("nothing is tried again here")

        auth = MarketoAuth(self.marketo.rest, CLIENT_ID, SecretStr(CLIENT_SECRET), clock=time.monotonic, sleep=sleep)
        pacer = Pacer(100, 10, clock=time.monotonic, sleep=sleep)
        client = MarketoClient(self.marketo.rest, auth, pacer, clock=time.monotonic, sleep=sleep)
        engine = engine_between(self.dataverse, client, config, clock=time.monotonic, now=lambda: NOON)
        entity = next(entity for entity in ENTITIES.values() if record.table in {t.name for t in entity.tables})
        ((_, outcome),) = await engine.sync(entity, [record])
        return outcome

    async def records(self, name: str) -> list[dict[str, Any]]:
        found = (await self.marketo.control.get(f"/records/{name}")).json()
        return [dict(record) for record in found]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running(Instance()) as marketo:
        await marketo.switch(custom_fields={"leads": [{"name": FLAG, "dataType": "boolean"}]})
        linked = {"externalSalesPersonId": USER, "externalCompanyId": ACCOUNT}
        for name, record, how in (
            ("salespersons", {"externalSalesPersonId": USER, "email": "sam@x.com"}, {}),
            ("companies", {"externalCompanyId": ACCOUNT, "company": "Contoso"}, {}),
            ("leads", {"externalPersonId": PERSON, "email": "a@b.com", **linked}, {"lookupField": "externalPersonId"}),
            ("opportunities", {"externalOpportunityId": DEAL, "name": "Chairs", **linked}, {}),
        ):
            assert (await marketo.sync(name, [record], **how))["result"][0]["status"] == "created"
        (lead,) = (await marketo.get("leads", filterType="externalPersonId", filterValues=PERSON))["result"]
        roles = [{"externalOpportunityId": DEAL, "leadId": lead["id"], "role": role} for role in ("Buyer", "Judge")]
        await marketo.sync("opportunities/roles", roles)
        yield World(marketo)


async def test_a_person_is_deleted(world: World) -> None:
    assert await world.deleted("contact", PERSON, person="delete") == Removed("deleted", "Deleted")
    assert await world.records("leads") == []
    assert await world.deleted("contact", PERSON, person="delete") == Skipped("Deleted")


async def test_a_person_is_flagged_and_restored(world: World) -> None:
    assert await world.deleted("contact", PERSON, deleted_flag=FLAG) == Removed("flagged", "Deleted")
    (person,) = await world.records("leads")
    assert (person[FLAG], person["externalPersonId"]) == (True, PERSON)
    world.dataverse.there.add(PERSON)
    assert await world.sync(Record("contact", PERSON, NOON), deleted_flag=FLAG) == Synced("updated")
    assert (await world.records("leads"))[0][FLAG] is False


async def test_a_person_is_unlinked(world: World) -> None:
    assert await world.deleted("contact", PERSON, person="unlink") == Removed("unlinked", "Deleted")
    (person,) = await world.records("leads")
    assert (person.get("externalPersonId"), person.get("externalSalesPersonId")) == (None, None)
    assert (person["email"], person["externalCompanyId"]) == ("a@b.com", ACCOUNT)


async def test_a_person_is_merged_in_marketo_with_its_roles_and_a_second_time_nothing_happens(world: World) -> None:
    winner = guid(11)
    person = {"externalPersonId": winner, "email": "w@b.com"}
    await world.marketo.sync("leads", [person], lookupField="externalPersonId")
    world.dataverse.there |= {PERSON, winner}
    world.dataverse.values[PERSON] = {"merged": True, **to("_masterid_value", "contact", winner)}
    into = Parent("person", "contact", winner)
    loser = Record("contact", PERSON, NOON)
    assert await world.sync(loser, merged="merge") == Merged("Merged", into, "merged")
    (left,) = await world.records("leads")
    assert (left["externalPersonId"], left["email"], left["externalCompanyId"]) == (winner, "w@b.com", ACCOUNT)
    assert {role["leadId"] for role in await world.records(ROLES)} == {left["id"]}
    assert await world.sync(loser, merged="merge") == Merged("Merged", into)


async def test_an_opportunity_goes_with_its_roles(world: World) -> None:
    assert await world.deleted("opportunity", DEAL) == Removed("deleted", "Deleted")
    assert await world.records("opportunities") == await world.records(ROLES) == []


async def test_companies_and_sales_persons_go_when_no_person_refers_to_them(world: World) -> None:
    policy = {"person": "delete", "company": "delete", "sales_person": "delete"}
    for table, id_ in (("systemuser", USER), ("account", ACCOUNT)):
        waits = await world.deleted(table, id_, **policy)
        assert isinstance(waits, Retry)
        assert (waits.code, waits.counted) == ("1022", False)
    at_last = await world.sync(
        Record("account", ACCOUNT, NOON, "delete", parked_since=NOON - timedelta(days=2)), **policy
    )
    assert isinstance(at_last, Failed)
    assert f"used by leads {PERSON} and opportunities {DEAL}. Move" in at_last.message
    assert await world.deleted("contact", PERSON, **policy) == Removed("deleted", "Deleted")
    assert await world.deleted("account", ACCOUNT, **policy) == Removed("deleted", "Deleted")
    assert await world.records("companies") == []
