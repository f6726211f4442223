"""Writes through the Dataverse Web API arrive in Marketo: endpoint and steps registered as an administrator does."""

import ssl
from collections.abc import AsyncIterator, Iterable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from local.harness import Made, Rows, System, eventually
from local.queues import DATAVERSE_KEY, DATAVERSE_POLICY

API = "/api/data/v9.2"
TABLES = {
    "contact": "emailaddress1,firstname,lastname,jobtitle,ownerid,parentcustomerid,statecode,statuscode",
    "account": "name,ownerid",
    "opportunity": "name,stepname,statecode,statuscode,ownerid,customerid,parentaccountid",
    "connection": "record1id,record2id,record1roleid,record2roleid,statecode",
}


class Organisation:
    """The Web API as an administrator of the organisation uses it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._made: list[str] = []

    async def get(self, path: str) -> Any:
        return (await self._http.get(f"{API}/{path}")).raise_for_status().json()["value"]

    async def create(self, path: str, content: dict[str, Any]) -> str:
        answer = (await self._http.post(f"{API}/{path}", json=content)).raise_for_status()
        return str(answer.headers["OData-EntityId"]).rpartition("(")[2].rstrip(")")

    async def post(self, path: str, content: dict[str, Any]) -> Any:
        return (await self._http.post(f"{API}/{path}", json=content)).raise_for_status().json()

    async def update(self, path: str, content: dict[str, Any]) -> None:
        (await self._http.patch(f"{API}/{path}", json=content)).raise_for_status()

    async def delete(self, path: str) -> None:
        (await self._http.delete(f"{API}/{path}")).raise_for_status()

    async def register(self, endpoint: dict[str, Any], tables: Iterable[str], messages: Iterable[str]) -> None:
        """A service endpoint, and a step for each message and table."""
        endpoint_id = await self.create("serviceendpoints", endpoint)
        self._made.append(f"serviceendpoints({endpoint_id})")
        for message in messages:
            (found,) = await self.get(f"sdkmessages?$select=sdkmessageid,name&$filter=name eq '{message}'")
            for table in tables:
                wanted = f"primaryobjecttypecode eq '{table}' and sdkmessageid/name eq '{message}'"
                (allowed,) = await self.get(f"sdkmessagefilters?$select=sdkmessagefilterid&$filter={wanted}")
                step = {
                    "name": f"Marketo sync: {table} {message}",
                    "stage": 40,
                    "mode": 1,
                    "rank": 1,
                    "supporteddeployment": 0,
                    "asyncautodelete": True,
                    "eventhandler_serviceendpoint@odata.bind": f"/serviceendpoints({endpoint_id})",
                    "sdkmessageid@odata.bind": f"/sdkmessages({found['sdkmessageid']})",
                    "sdkmessagefilterid@odata.bind": f"/sdkmessagefilters({allowed['sdkmessagefilterid']})",
                }
                if message == "Update":
                    step["filteringattributes"] = TABLES[table]
                step_id = await self.create("sdkmessageprocessingsteps", step)
                self._made.append(f"sdkmessageprocessingsteps({step_id})")

    async def unregister(self) -> None:
        for path in reversed(self._made):
            await self.delete(path)
        self._made.clear()


@pytest.fixture
async def organisation(system: System) -> AsyncIterator[Organisation]:
    given = system.endpoints["dataverse"]
    tls = ssl.create_default_context(cafile=system.endpoints["ca_bundle"])
    async with httpx.AsyncClient(
        base_url=given["url"], proxy=system.endpoints["https_proxy"], verify=tls, trust_env=False
    ) as http:
        form = {
            "grant_type": "password", "client_id": given["client_id"], "client_secret": given["client_secret"],
            "username": given["username"], "password": given["password"], "scope": f"{given['url']}/.default",
        }  # fmt: skip
        token = (await http.post(f"{given['authority']}/oauth2/v2.0/token", data=form)).raise_for_status().json()
        http.headers["Authorization"] = f"Bearer {token['access_token']}"
        http.headers["Prefer"] = 'odata.include-annotations="*"'
        administrator = Organisation(http)
        yield administrator
        await administrator.unregister()


QUEUE = {
    "name": "Marketo sync queue", "contract": 6, "authtype": 2, "connectionmode": 1, "messageformat": 2,
    "messagecharset": 1, "namespaceformat": 2, "namespaceaddress": "sb://contoso-sync.servicebus.windows.net/",
    "solutionnamespace": "contoso-sync", "path": "dynamics-changes", "saskeyname": DATAVERSE_POLICY,
    "saskey": DATAVERSE_KEY, "userclaim": 2,
}  # fmt: skip


async def sellers_and_accounts(system: System) -> tuple[Made, Made]:
    rows = Rows()
    account = rows.account(rows.user())
    await system.seed(rows)
    return rows.made[0], account


def owned_by(seller: Made) -> dict[str, str]:
    return {"ownerid@odata.bind": f"/systemusers({seller.id})"}


async def test_create_update_delete_through_the_queue(system: System, organisation: Organisation) -> None:
    seller, account = await sellers_and_accounts(system)
    await organisation.register(QUEUE, TABLES, ("Create", "Update", "Delete"))
    parent = {"parentcustomerid_account@odata.bind": f"/accounts({account.id})"}
    content = {"firstname": "Ada", "lastname": "Byron", "jobtitle": "Countess", **parent, **owned_by(seller)}
    contact = Made("contact", await organisation.create("contacts", content), {})
    related = {"externalCompanyId": account.id, "externalSalesPersonId": seller.id}
    await system.changed(contact, firstName="Ada", title="Countess", **related)
    await organisation.update(f"contacts({contact.id})", {"jobtitle": "Analyst"})
    await system.changed(contact, firstName="Ada", title="Analyst", **related)
    customer = {"customerid_account@odata.bind": f"/accounts({account.id})"}
    deal = Made(
        "opportunity",
        await organisation.create("opportunities", {"name": "Engine", **customer, **owned_by(seller)}),
        {},
    )
    await system.changed(deal, name="Engine", **related)
    ends = {
        "record1id_opportunity@odata.bind": f"/opportunities({deal.id})",
        "record2id_contact@odata.bind": f"/contacts({contact.id})",
    }
    await organisation.create("connections", ends)
    await system.has_roles(deal, (contact, "Stakeholder"))
    before = await system.record(contact)
    batches = (await system.host_stats())["functions"]["sync_persons"]["invocations"]
    await organisation.delete(f"contacts({contact.id})")

    async def batches_since() -> bool:
        stats = await system.host_stats()
        return bool(stats["functions"]["sync_persons"]["invocations"] > batches)

    await eventually(batches_since, what="a batch with the deletion")
    await system.broker.idle()
    assert await system.record(contact) == before  # a deleted row's record stays, until there is a policy
    assert not await system.broker.dead_letters()
    assert (await system.dataverse("/stats"))["failed_posts"] == 0


async def test_create_multiple_brings_all_of_its_rows(system: System, organisation: Organisation) -> None:
    seller, account = await sellers_and_accounts(system)
    await organisation.register(QUEUE, ["contact"], ("CreateMultiple",))
    target = {
        "@odata.type": "Microsoft.Dynamics.CRM.contact",
        "parentcustomerid_account@odata.bind": f"/accounts({account.id})",
        **owned_by(seller),
    }
    targets = [{**target, "lastname": f"Number {number}-{uuid4()}"} for number in range(40)]
    answer = await organisation.post("contacts/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets})
    made = [Made("contact", row_id, {}) for row_id in answer["Ids"]]
    assert len(made) == len(targets)
    records = await system.synced(*made)
    assert {record["lastName"] for record in records} == {target["lastname"] for target in targets}
    assert {record["externalCompanyId"] for record in records} == {account.id}
