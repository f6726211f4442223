"""Registrations in Dataverse, damaged in each of their properties: read over TLS, planned, repaired, right again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from emulators.dataverse import constants
from emulators.dataverse.harness import RecordingQueues, Running, running
from emulators.dataverse.seeding import fixed_id, message_id
from emulators.dataverse.store import Row
from shared.cli.register.plan import Action, plan
from shared.cli.register.rows import Writer, read_columns, read_endpoints
from shared.cli.register.wanted import Target, Wanted, queue_target, wanted, webhook_target
from shared.config import sync_toml
from shared.dataverse.client import DataverseClient
from shared.dataverse.metadata import Metadata

QUEUE = queue_target(
    SecretStr("Endpoint=sb://contoso-sync.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=a2V5"),
    "changes",
)
HOOK = webhook_target("https://contoso-sync.azurewebsites.net/api/receive_webhook", SecretStr("function-key"))
RULES = sync_toml.load(Path(__file__).parents[2] / "sync.toml")
WRITTEN = {"versionnumber", "modifiedon"}


class Registrar:
    """Reads, plans and writes as the command does. It signs in by `token`."""

    def __init__(self, api: Running) -> None:
        self.api = api
        self.wanted: Wanted | None = None
        http = httpx.AsyncClient(base_url=constants.ORGANIZATION_URL, transport=api.transport())
        clock = asyncio.get_running_loop().time
        self.client = DataverseClient(http, self, clock=clock, sleep=asyncio.sleep)  # type: ignore[arg-type]  # only token() is called

    async def token(self) -> str:
        return self.api.access_token()

    async def want(self, target: Target) -> None:
        self.wanted = wanted(RULES, await read_columns(RULES, Metadata(self.client)), target)
        await self.repair()

    async def planned(self) -> tuple[Action, ...]:
        assert self.wanted
        found = await read_endpoints(self.client, self.wanted.name, self.wanted.places)
        return plan(self.wanted, found).actions

    async def repair(self) -> None:
        """Carry the plan out; afterwards there is nothing left to plan."""
        assert self.wanted
        actions = await self.planned()
        writer = Writer(self.client, self.wanted.target)
        await writer.prepare(actions)
        for action in actions:
            await writer.write(action)
        assert await self.planned() == ()

    def rows(self, table: str) -> list[Row]:
        """The rows as they are stored, but for what every write changes."""
        stored = self.api.environment.store.rows[table].values()
        return [{name: value for name, value in row.items() if name not in WRITTEN} for row in stored]

    def step(self, name: str) -> Row:
        return next(row for row in self.rows("sdkmessageprocessingstep") if row["name"] == f"msisync: {name}")

    async def call(self, method: str, path: str, body: Any = None) -> None:
        answer = await self.api.call(method, path, body)
        assert answer.status == 204, answer.body

    async def damage(self, table: str, row: Row, **values: Any) -> None:
        await self.call("PATCH", f"{table}s({row[f'{table}id']})", values)


@pytest.fixture
async def registrar() -> AsyncIterator[Registrar]:
    async with running(empty=True, queues=RecordingQueues()) as api:
        one = Registrar(api)
        await one.want(QUEUE)
        yield one
        await one.client.close()


ENDPOINT_DAMAGES = {
    "messageformat": 1, "messagecharset": 0, "namespaceaddress": "sb://old.servicebus.windows.net/", "path": "persons",
    "saskeyname": "RootManageSharedAccessKey", "authtype": 3, "connectionmode": 2, "namespaceformat": 1,
    "solutionnamespace": "old", "userclaim": 1,
}  # fmt: skip


async def test_an_endpoint_is_repaired_whatever_is_wrong_with_it(registrar: Registrar) -> None:
    await registrar.damage("serviceendpoint", registrar.rows("serviceendpoint")[0], sastoken="t")  # authtype 3 needs it
    (before,) = registrar.rows("serviceendpoint")
    for column, wrong in ENDPOINT_DAMAGES.items():
        await registrar.damage("serviceendpoint", before, **{column: wrong})
        (action,) = await registrar.planned()
        assert (action.verb, action.kind, list(action.values)) == ("update", "endpoint", [column])
        await registrar.repair()
        assert registrar.rows("serviceendpoint") == [before]


async def test_a_damaged_endpoint_gets_its_key_again_where_the_old_one_would_not_do(registrar: Registrar) -> None:
    (endpoint,) = registrar.rows("serviceendpoint")
    await registrar.damage("serviceendpoint", endpoint, saskeyname="old", saskey="b2xk")
    await registrar.repair()
    assert registrar.rows("serviceendpoint")[0]["saskey"] == "a2V5"


async def test_a_damaged_webhook_is_repaired_with_its_key(registrar: Registrar) -> None:
    await registrar.want(HOOK)
    (before,) = registrar.rows("serviceendpoint")
    moved = {"url": "https://old.example/hook", "authvalue": "old"}
    for damage in (moved, {"authtype": 5, "authvalue": "<settings/>"}):
        await registrar.damage("serviceendpoint", before, **damage)
        (action,) = await registrar.planned()
        assert action.verb == "update"
        await registrar.repair()
        assert registrar.rows("serviceendpoint") == [before]


STEP_DAMAGES: list[tuple[list[str], dict[str, Any]]] = [
    (["enable"], {"statecode": 1, "statuscode": 2}),
    (["update"], {"mode": 0, "stage": 20}),
    (["update"], {"asyncautodelete": False}),
    (["update"], {"supporteddeployment": 1}),
    (["update"], {"filteringattributes": None}),
    (["update", "enable"], {"statecode": 1, "filteringattributes": "firstname,new_priority", "mode": 0}),
]


async def test_a_step_is_repaired_whatever_is_wrong_with_it(registrar: Registrar) -> None:
    before = registrar.step("contact Update")
    for verbs, damage in STEP_DAMAGES:
        await registrar.damage("sdkmessageprocessingstep", before, **damage)
        actions = await registrar.planned()
        assert [(action.verb, action.key) for action in actions] == [(verb, ("contact", "Update")) for verb in verbs]
        await registrar.repair()
        assert registrar.step("contact Update") == before


async def test_steps_that_are_gone_are_made_again(registrar: Registrar) -> None:
    await registrar.call(
        "DELETE", f"sdkmessageprocessingsteps({registrar.step('lead Create')['sdkmessageprocessingstepid']})"
    )
    (action,) = await registrar.planned()
    assert (action.verb, action.key) == ("create", ("lead", "Create"))
    await registrar.repair()


SUPERFLUOUS = [
    ("Create", "contact", "the same table and message are registered twice"),
    ("Create", "relationshiprole", "sync.toml does not map relationshiprole"),
    ("Create", "team", "only updates of what decides about other rows are needed"),
    ("Assign", "contact", "Create, Update and Delete tell everything"),
    ("CreateMultiple", "contact", "Create, Update and Delete tell everything"),
    ("Create", "", "it posts changes of every table"),
]


async def test_superfluous_steps_are_removed(registrar: Registrar) -> None:
    endpoint = registrar.rows("serviceendpoint")[0]["serviceendpointid"]
    for message, table, _ in SUPERFLUOUS:
        body = {
            "name": "by hand",
            "stage": 40,
            "mode": 1,
            "eventhandler_serviceendpoint@odata.bind": f"/serviceendpoints({endpoint})",
            "sdkmessageid@odata.bind": f"/sdkmessages({message_id(message)})",
        }
        if table:
            chosen = fixed_id("sdkmessagefilter", message, table)
            body["sdkmessagefilterid@odata.bind"] = f"/sdkmessagefilters({chosen})"
        await registrar.call("POST", "sdkmessageprocessingsteps", body)
    planned = sorted((action.verb, action.key, action.why) for action in await registrar.planned())
    assert planned == sorted(("delete", (table, message), why) for message, table, why in SUPERFLUOUS)
    await registrar.repair()
    assert len(registrar.rows("sdkmessageprocessingstep")) == 20


async def test_an_image_is_repaired_whatever_is_wrong_with_it(registrar: Registrar) -> None:
    before = registrar.rows("sdkmessageprocessingstepimage")
    for damage in ({"attributes": None}, {"attributes": "record1id"}, {"entityalias": "PreImage"}):
        await registrar.damage("sdkmessageprocessingstepimage", before[0], **damage)
        (action,) = await registrar.planned()
        assert (action.verb, action.kind, action.values.keys()) == ("update", "image", damage.keys())
        await registrar.repair()
        assert registrar.rows("sdkmessageprocessingstepimage") == before


async def test_an_image_that_is_gone_is_made_again_and_one_that_nobody_needs_goes(registrar: Registrar) -> None:
    step = registrar.step("connection Delete")
    image, other = sorted(
        registrar.rows("sdkmessageprocessingstepimage"),
        key=lambda row: bool(row["_sdkmessageprocessingstepid_value"] != step["sdkmessageprocessingstepid"]),
    )
    await registrar.call("DELETE", f"sdkmessageprocessingstepimages({image['sdkmessageprocessingstepimageid']})")
    body = {
        "entityalias": "post",
        "imagetype": 1,
        "messagepropertyname": "Target",
        "sdkmessageprocessingstepid@odata.bind": (
            f"/sdkmessageprocessingsteps({registrar.step('contact Update')['sdkmessageprocessingstepid']})"
        ),
    }
    await registrar.call("POST", "sdkmessageprocessingstepimages", body)
    assert sorted((action.verb, action.key) for action in await registrar.planned()) == [
        ("create", ("connection", "Delete")),
        ("delete", ("contact", "Update")),
    ]
    await registrar.repair()
    (made,) = [row for row in registrar.rows("sdkmessageprocessingstepimage") if row != other]
    assert made["attributes"] == image["attributes"]
