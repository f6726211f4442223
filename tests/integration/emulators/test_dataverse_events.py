"""Registration by the Web API, and what writes then post."""

from typing import Any

import pytest
from aiohttp import web

from emulators.dataverse.harness import Answer, RecordingQueues, Running, registration
from emulators.dataverse.notifications import CLAIMS
from emulators.functions.harness import until

TABLE = "@Microsoft.Dynamics.CRM.lookuplogicalname"
ANNA = "0a000000-0000-4000-a000-000000000001"
DEAL = "0d000000-0000-4000-a000-000000000001"
(REGISTERED,) = registration("contact")["serviceendpoint"]
ENDPOINT = {name: value for name, value in REGISTERED.items() if name != "serviceendpointid"}


ROWS = {
    "contact": [{"contactid": ANNA, "firstname": "Anna", "lastname": "Berg"}],
    "opportunity": [{"opportunityid": DEAL, "name": "Deal"}],
}


@pytest.fixture
def api(api: Running) -> Running:
    api.environment.switches.post_retry_seconds = [0.0, 0.0]
    return api


async def register(api: Running, endpoint: dict[str, Any] = ENDPOINT) -> str:
    answer = await api.call("POST", "serviceendpoints", endpoint)
    assert answer.status == 204, answer.body
    return answer.row_id


async def add_step(api: Running, endpoint: str, table: str, message: str, **more: Any) -> Answer:
    found = await api.call("GET", f"sdkmessages?$select=sdkmessageid&$filter=name eq '{message}'")
    message_id = found.json()["value"][0]["sdkmessageid"]
    body = {
        "name": f"Marketo sync: {table} {message}",
        "stage": 40,
        "mode": 1,
        "rank": 1,
        "supporteddeployment": 0,
        "asyncautodelete": True,
        "eventhandler_serviceendpoint@odata.bind": f"/serviceendpoints({endpoint})",
        "sdkmessageid@odata.bind": f"/sdkmessages({message_id})",
    }
    if table:
        flt = f"primaryobjecttypecode eq '{table}' and sdkmessageid/name eq '{message}'"
        found = await api.call("GET", f"sdkmessagefilters?$select=sdkmessagefilterid&$filter={flt}")
        filter_id = found.json()["value"][0]["sdkmessagefilterid"]
        body["sdkmessagefilterid@odata.bind"] = f"/sdkmessagefilters({filter_id})"
    return await api.call("POST", "sdkmessageprocessingsteps", {**body, **more})


async def posted(api: Running, queues: RecordingQueues) -> list[dict[str, Any]]:
    await until(lambda: api.simulator.delivery.pending == 0)
    return queues.bodies()


def attributes(body: dict[str, Any]) -> dict[str, Any]:
    (target,) = (entry["value"] for entry in body["InputParameters"] if entry["key"] == "Target")
    return {entry["key"]: entry["value"] for entry in target["Attributes"]}


async def test_the_sas_key_is_written_and_never_read(api: Running) -> None:
    endpoint = await register(api)
    row = (await api.call("GET", f"serviceendpoints({endpoint})")).json()
    assert row["issaskeyset"] is True
    assert "saskey" not in row
    assert (await api.call("GET", f"serviceendpoints({endpoint})?$select=saskey")).status == 400


@pytest.mark.parametrize(
    "change",
    [
        {"path": None}, {"saskey": None}, {"solutionnamespace": None}, {"contract": None}, {"contract": 11},
        {"authtype": 4}, {"messageformat": 9}, {"namespaceaddress": "https://contoso-sync.servicebus.windows.net/"},
        {"name": "x" * 257},
    ],
)  # fmt: skip
async def test_an_endpoint_that_cannot_post_is_refused(api: Running, change: dict[str, Any]) -> None:
    body = {key: value for key, value in {**ENDPOINT, **change}.items() if value is not None}
    assert (await api.call("POST", "serviceendpoints", body)).status == 400


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("Update", {"stage": 20}),
        ("Update", {"stage": 30}),
        ("Create", {"filteringattributes": "lastname"}),
        ("Update", {"filteringattributes": "lastname, firstname"}),
        ("Update", {"filteringattributes": "nosuchcolumn"}),
        ("Update", {"SdkMessageId@odata.bind": "/sdkmessages(20bebb1b-ea3e-db11-86a7-000a3a5473e8)"}),
    ],
)
async def test_a_step_that_breaks_a_rule_is_refused(api: Running, message: str, change: dict[str, Any]) -> None:
    assert (await add_step(api, await register(api), "contact", message, **change)).status == 400


async def test_an_endpoint_goes_after_its_steps(api: Running) -> None:
    endpoint = await register(api)
    step = (await add_step(api, endpoint, "contact", "Update")).row_id
    listed = await api.call(
        "GET",
        "sdkmessageprocessingsteps?$select=name,stage,mode,filteringattributes,statecode"
        "&$expand=sdkmessageid($select=name),sdkmessagefilterid($select=primaryobjecttypecode)"
        f"&$filter=_eventhandler_value eq {endpoint}",
    )
    (row,) = listed.json()["value"]
    assert (row["sdkmessageid"]["name"], row["sdkmessagefilterid"]["primaryobjecttypecode"]) == ("Update", "contact")
    assert (await api.call("DELETE", f"serviceendpoints({endpoint})")).status == 400
    await api.call("DELETE", f"sdkmessageprocessingsteps({step})")
    assert (await api.call("DELETE", f"serviceendpoints({endpoint})")).status == 204


async def test_an_update_posts_when_a_listed_column_is_included(api: Running, queues: RecordingQueues) -> None:
    endpoint = await register(api)
    step = (await add_step(api, endpoint, "contact", "Update", filteringattributes="emailaddress1,statecode")).row_id
    await api.call("PATCH", f"contacts({ANNA})", {"new_priority": 3})
    await api.call("PATCH", f"contacts({ANNA})?tag=mine", {"emailaddress1": "a@b.example", "jobtitle": "CFO"})
    (body,) = await posted(api, queues)
    assert (body["MessageName"], body["PrimaryEntityName"], body["PrimaryEntityId"]) == ("Update", "contact", ANNA)
    assert list(attributes(body))[:3] == ["contactid", "emailaddress1", "jobtitle"]
    assert body["OwningExtension"]["Id"] == step
    assert {"key": "tag", "value": "mine"} in body["SharedVariables"]
    path, notification = queues.sent[0]
    assert path == "changes"
    assert notification.properties()[f"{CLAIMS}EntityLogicalName"] == "contact"


async def test_a_name_part_brings_the_full_name_along(api: Running, queues: RecordingQueues) -> None:
    await add_step(api, await register(api), "contact", "Update")
    await api.call("PATCH", f"contacts({ANNA})", {"firstname": "Ann"})
    (body,) = await posted(api, queues)
    assert attributes(body)["fullname"] == "Ann Berg"


async def test_state_and_other_columns_together_post_twice(api: Running, queues: RecordingQueues) -> None:
    await add_step(api, await register(api), "contact", "Update")
    await api.call("PATCH", f"contacts({ANNA})", {"jobtitle": "CFO", "statecode": 1, "statuscode": 2})
    first, second = [set(attributes(body)) for body in await posted(api, queues)]
    assert "jobtitle" in first
    assert "statecode" not in first
    assert {"statecode", "statuscode"} <= second
    assert "jobtitle" not in second


async def test_a_connection_posts_for_both_of_its_rows(api: Running, queues: RecordingQueues) -> None:
    endpoint = await register(api)
    for message in ("Create", "Delete"):
        step = (await add_step(api, endpoint, "connection", message)).row_id
    image = {
        "name": "pre",
        "entityalias": "pre",
        "imagetype": 0,
        "messagepropertyname": "Target",
        "attributes": "record1id,record2id",
        "sdkmessageprocessingstepid@odata.bind": f"/sdkmessageprocessingsteps({step})",
    }
    assert (await api.call("POST", "sdkmessageprocessingstepimages", image)).status == 204
    made = await api.call(
        "POST",
        "connections",
        {
            "record1id_opportunity@odata.bind": f"/opportunities({DEAL})",
            "record2id_contact@odata.bind": f"/contacts({ANNA})",
        },
    )
    await api.call("DELETE", f"connections({made.row_id})")
    bodies = await posted(api, queues)
    assert [body["MessageName"] for body in bodies] == ["Create", "Create", "Delete", "Delete"]
    assert bodies[0]["PrimaryEntityId"] == made.row_id
    ends = [attributes(body)["record1id"]["LogicalName"] for body in bodies[:2]]
    assert ends == ["opportunity", "contact"]
    (pre,) = [image for image in bodies[2]["PreEntityImages"] if image["key"] == "pre"]
    assert [entry["key"] for entry in pre["value"]["Attributes"]] == ["record1id", "record2id"]
    assert bodies[2]["InputParameters"][0]["value"]["__type"].startswith("EntityReference:")


@pytest.mark.parametrize(("message", "kind"), [("Create", 0), ("Delete", 1), ("Create", 2)])
async def test_images_that_cannot_exist_are_refused(api: Running, message: str, kind: int) -> None:
    step = (await add_step(api, await register(api), "contact", message)).row_id
    image = {
        "entityalias": "image",
        "imagetype": kind,
        "messagepropertyname": "Target",
        "sdkmessageprocessingstepid@odata.bind": f"/sdkmessageprocessingsteps({step})",
    }
    assert (await api.call("POST", "sdkmessageprocessingstepimages", image)).status == 400


async def test_nothing_is_posted_for_a_write_that_is_undone(api: Running, queues: RecordingQueues) -> None:
    await add_step(api, await register(api), "contact", "Update")
    kind = "Microsoft.Dynamics.CRM.contact"
    targets = [
        {"@odata.type": kind, "contactid": ANNA, "jobtitle": "CFO"},
        {"@odata.type": kind, "contactid": DEAL, "jobtitle": "CFO"},
    ]
    await api.call("POST", "contacts/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": targets})
    assert await posted(api, queues) == []


async def test_a_disabled_step_and_a_bypassed_one_post_nothing(api: Running, queues: RecordingQueues) -> None:
    step = (await add_step(api, await register(api), "contact", "Update")).row_id
    path = f"contacts({ANNA})"
    await api.call("PATCH", path, {"jobtitle": "A"}, **{"mscrm.bypassbusinesslogicexecutionstepids": step})
    await api.call("PATCH", path, {"jobtitle": "B"}, **{"mscrm.bypassbusinesslogicexecution": "CustomAsync"})
    await api.call("PATCH", f"sdkmessageprocessingsteps({step})", {"statecode": 1, "statuscode": 2})
    await api.call("PATCH", path, {"jobtitle": "C"})
    assert await posted(api, queues) == []
    await api.call("PATCH", f"sdkmessageprocessingsteps({step})", {"statecode": 0})
    await api.call("PATCH", path, {"jobtitle": "D"})
    assert len(await posted(api, queues)) == 1


async def test_a_step_on_the_bulk_message_sees_single_creates(api: Running, queues: RecordingQueues) -> None:
    await add_step(api, await register(api), "contact", "CreateMultiple")
    made = await api.call("POST", "contacts", {"lastname": "One"})
    (body,) = await posted(api, queues)
    assert body["InputParameters"][0]["key"] == "Targets"
    assert body["OutputParameters"][0]["value"] == [made.row_id]


async def test_a_failed_post_is_tried_again(api: Running, queues: RecordingQueues) -> None:
    await add_step(api, await register(api), "contact", "Update")
    queues.failures = 2
    await api.call("PATCH", f"contacts({ANNA})", {"jobtitle": "CFO"})
    assert len(await posted(api, queues)) == 1
    assert api.environment.store.rows["asyncoperation"] == {}


async def test_a_post_that_fails_for_good_stays_as_a_failed_job(api: Running, queues: RecordingQueues) -> None:
    step = (await add_step(api, await register(api), "contact", "Update")).row_id
    queues.failures = 100
    await api.call("PATCH", f"contacts({ANNA})", {"jobtitle": "CFO"})
    assert await posted(api, queues) == []
    flt = f"statuscode eq 31 and _owningextensionid_value eq {step}"
    found = await api.call("GET", f"asyncoperations?$select=name,statuscode,errorcode,friendlymessage&$filter={flt}")
    (job,) = found.json()["value"]
    assert job["friendlymessage"] == "The queue is not available."
    assert api.environment.stats.failed_posts == 1


class Webhook:
    """A receiver that answers with the given statuses, then with 200."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.received: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.url = ""

    async def __aenter__(self) -> "Webhook":
        app = web.Application()
        app.router.add_post("/hook", self._receive)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        self.received.append((request.raw_path.partition("?")[2], dict(request.headers), await request.json()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


def webhook(url: str, authtype: int = 4, authvalue: str = "key") -> dict[str, Any]:
    return {"name": "hook", "url": url, "contract": 8, "authtype": authtype, "authvalue": authvalue}


SETTINGS = '<settings><setting name="x-functions-key" value="abc" /></settings>'


@pytest.mark.parametrize(
    ("authtype", "authvalue", "query", "header"),
    [(4, "k==", "code=k%3D%3D", None), (5, SETTINGS, "", "abc"), (6, SETTINGS, "x-functions-key=abc", None)],
)
async def test_what_a_webhook_gets(api: Running, authtype: int, authvalue: str, query: str, header: str | None) -> None:
    async with Webhook() as receiver:
        endpoint = await register(api, webhook(receiver.url, authtype, authvalue))
        await add_step(api, endpoint, "contact", "Update")
        await api.call("PATCH", f"contacts({ANNA})", {"jobtitle": "CFO"})
        await until(lambda: api.simulator.delivery.pending == 0)
        ((got_query, headers, body),) = receiver.received
    assert got_query == query
    assert headers.get("x-functions-key") == header
    assert headers["x-ms-dynamics-organization"] == "contoso.crm4.dynamics.com"
    assert (headers["x-ms-dynamics-entity-name"], headers["x-ms-dynamics-request-name"]) == ("contact", "Update")
    assert attributes(body)["jobtitle"] == "CFO"


@pytest.mark.parametrize(
    ("statuses", "attempts", "failed"), [([503], 2, 0), ([503, 503], 2, 1), ([500], 1, 1), ([404], 1, 1)]
)
async def test_gateway_errors_alone_are_tried_again(
    api: Running, statuses: list[int], attempts: int, failed: int
) -> None:
    async with Webhook(*statuses) as receiver:
        await add_step(api, await register(api, webhook(receiver.url)), "contact", "Update")
        await api.call("PATCH", f"contacts({ANNA})", {"jobtitle": "CFO"})
        await until(lambda: api.simulator.delivery.pending == 0)
        assert len(receiver.received) == attempts
    assert api.environment.stats.failed_posts == failed


async def test_a_failing_synchronous_webhook_aborts_the_operation(api: Running) -> None:
    async with Webhook(500) as receiver:
        await add_step(api, await register(api, webhook(receiver.url)), "contact", "Update", mode=0)
        refused = await api.call("PATCH", f"contacts({ANNA})", {"jobtitle": "CFO"})
        assert refused.status == 400
        assert api.environment.store.rows["contact"][ANNA].get("jobtitle") is None
        assert (await api.call("PATCH", f"contacts({ANNA})", {"jobtitle": "CFO"})).status == 204
        assert [body["Mode"] for _, _, body in receiver.received] == [0, 0]
